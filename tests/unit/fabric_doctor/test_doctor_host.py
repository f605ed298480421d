"""Planted faults of a host, each found by its check: limits, disks, files, ports, software, certificates."""

import datetime
import errno
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.certificates import HOST, Keys
from support.doctor import GIB, SERVER, healthy_machine, only, raising, scene, states

from fabric.certificates import Authority
from fabric.doctor import certificates, disk, files, limits, ports, software
from fabric.doctor.examine import ALL_CHECKS, UnknownCheck, chosen, examine, is_healthy
from fabric.doctor.model import Check, State, ok, problem
from fabric.doctor.scene import Machine, Scene, Space, space_of, sync_ms
from fabric.ensemble_health import ServerHealth
from fabric.home import Home, ManagedZooKeeper, RegistryAddress
from fabric.processes import identify
from registry.channel import PLAIN, ChannelSettings
from registry.quorum import EnsembleServer
from registry.server_files import ServerFiles, read_material

OK, WARNING, PROBLEM, NOT_CHECKED = State.OK, State.WARNING, State.PROBLEM, State.NOT_CHECKED


@pytest.mark.parametrize(("hard", "state"), [(-1, OK), (524_288, OK), (4096, WARNING), (1024, PROBLEM)])
def test_open_files(tmp_path: Path, hard: int, state: State) -> None:
    """The hard limit counts, since a container raises its own to it."""
    assert states(limits.open_files(scene(tmp_path, open_files=lambda pid: (256, hard)))) == [state]


def test_open_files_of_a_container_that_runs(tmp_path: Path) -> None:
    """It may have been started from another shell, with another limit."""
    host = scene(tmp_path, open_files=lambda pid: (256, 1024 if pid else 524_288))
    container = host.home.container("root")
    container.make()
    process = identify(os.getpid())
    assert process is not None
    container.write_process(process)
    assert "Container root may have 1024" in only(limits.open_files(host), PROBLEM).what


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("MemAvailable: 4000000 kB", OK),
        ("MemAvailable: 400000 kB", WARNING),
        ("MemAvailable: 60000 kB", PROBLEM),
        ("MemFree: 1 kB", NOT_CHECKED),
    ],
)
def test_memory(tmp_path: Path, text: str, state: State) -> None:
    """What is available counts, not what is free."""
    assert states(limits.memory(scene(tmp_path, meminfo=lambda: text))) == [state]


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (("acpi_idle", 0), OK),
        (("haltpoll", 200_000), OK),
        (("haltpoll", 0), WARNING),
    ],
)
def test_halting(tmp_path: Path, found: tuple[str, int], state: State) -> None:
    """Only a virtual machine can halt too soon."""
    assert states(limits.halting(scene(tmp_path, halting=lambda: found))) == [state]


def test_halting_where_the_system_does_not_say(tmp_path: Path) -> None:
    """As in many containers."""
    machine = scene(tmp_path, halting=raising(FileNotFoundError()))
    assert states(limits.halting(machine)) == [NOT_CHECKED]


@pytest.mark.parametrize(
    ("space", "state"),
    [
        (Space(100 * GIB, 50 * GIB), OK),
        (Space(100 * GIB, 3 * GIB), WARNING),
        (Space(GIB, GIB // 2), WARNING),
        (Space(100 * GIB, GIB // 10), PROBLEM),
        (Space(100 * GIB, 50 * GIB, files_free_percent=1.0), WARNING),
    ],
)
def test_space(tmp_path: Path, space: Space, state: State) -> None:
    """Bytes and files, absolutely and of the whole."""
    assert set(states(disk.space(scene(tmp_path, space=lambda path: space)))) == {state}


def test_a_disk_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """A stale mount is a problem, and the others are looked at all the same."""
    found = list(disk.space(scene(tmp_path, space=raising(OSError(errno.ESTALE, "Stale file handle")))))
    assert states(found) == [PROBLEM] * len(found)
    assert "Stale file handle" in found[0].what


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (lambda path: 1.0, OK, "takes 1.0 ms"),
        (lambda path: 40.0, WARNING, "40.0 ms"),
        (lambda path: 900.0, PROBLEM, "900.0 ms"),
        (raising(OSError(errno.EROFS, "ro")), PROBLEM, "read-only"),
        (raising(OSError(errno.ENOSPC, "full")), PROBLEM, "is full"),
        (raising(OSError(errno.EACCES, "no")), NOT_CHECKED, "cannot be written by this user"),
        (raising(OSError(errno.EIO, "Input/output error")), PROBLEM, "Input/output error"),
    ],
)
def test_sync(tmp_path: Path, answer: Any, state: State, text: str) -> None:
    """How long a sync takes, and why there is none."""
    found = list(disk.sync_latency(scene(tmp_path, sync_ms=answer)))
    assert set(states(found)) == {state}
    assert text in found[0].what


def test_a_real_disk_is_measured_and_nothing_is_left(tmp_path: Path) -> None:
    """The questions a real host is asked work."""
    assert sync_ms(tmp_path) >= 0
    assert list(tmp_path.iterdir()) == []
    assert space_of(tmp_path).total > 0


def test_secrets_that_others_can_read(tmp_path: Path) -> None:
    """Each is named with the command that mends it; the authority's certificate is public."""
    host = scene(tmp_path)
    host.home.write_registry_address(RegistryAddress("zk:2181", "secret"))
    folder = host.home.certificates
    folder.mkdir(mode=0o700)
    for name in ("ca.pem", "ca-key.pem"):
        (folder / name).write_text("x")
        (folder / name).chmod(0o644)
    assert only(files.secret_files(host), PROBLEM).do_next == f"chmod 600 {folder / 'ca-key.pem'}"
    (folder / "ca-key.pem").chmod(0o600)
    assert states(files.secret_files(host)) == [OK]
    host.home.path.chmod(0o755)
    assert only(files.secret_files(host), PROBLEM).do_next == f"chmod 700 {host.home.path}"


def test_files_of_another_user(tmp_path: Path) -> None:
    """A home that root and a user have both written to is said to be so."""
    assert set(states(files.owners(scene(tmp_path, user=4711)))) == {WARNING}
    assert states(files.owners(scene(tmp_path))) == [OK]


def test_no_home_yet(tmp_path: Path) -> None:
    """Before `create` nothing is wrong with files that are not there."""
    host = Scene(Home(tmp_path / "none"), healthy_machine())
    assert states(files.secret_files(host)) == []
    assert states(files.owners(host)) == [OK]


def managed(host: Scene, server: str = "") -> Scene:
    """The host's root container runs ZooKeeper on port 2181, perhaps as a member of an ensemble."""
    container = host.home.container("root")
    container.make()
    settings = ManagedZooKeeper(2181, "0.0.0.0", str(host.home.zookeeper), 100, server)
    container.write_managed_zookeeper(settings)
    return host


def test_zookeepers_port(tmp_path: Path) -> None:
    """Free, taken by a ZooKeeper, or by something else."""
    mute = ServerHealth("127.0.0.1:2181", problem="It does not answer.")
    assert states(ports.zookeeper_ports(managed(scene(tmp_path)))) == [OK]
    taken: dict[str, Any] = {"port_is_free": lambda host, port: False}
    assert states(ports.zookeeper_ports(managed(scene(tmp_path, **taken)))) == [OK]
    found = list(
        ports.zookeeper_ports(managed(scene(tmp_path, **taken, servers=lambda url, channel: [mute])))
    )
    assert "no ZooKeeper" in only(found, PROBLEM).what


def test_zookeeper_that_shows_an_old_certificate(tmp_path: Path) -> None:
    """What it shows counts; what its container will not give it is a problem before the old one ends."""
    shown: list[bytes | None] = [None]
    host = managed(scene(tmp_path, shown=lambda address: shown[0]))
    assert states(certificates.shown_by_zookeeper(host)) == []
    keys = Keys(tmp_path / "keys")
    own = EnsembleServer(1, HOST, 2888, 3888, "127.0.0.1", 2181)
    settings = ManagedZooKeeper(2281, "0.0.0.0", str(host.home.zookeeper), 100, own.line(), plain_port=2181)
    made = replace(settings, certificate=str(keys.server), authority=str(keys.trust))
    host.home.container("root").write_managed_zookeeper(made)
    assert states(certificates.shown_by_zookeeper(host)) == []
    shown[0] = read_material(keys.server, keys.trust).leaf
    assert states(certificates.shown_by_zookeeper(host)) == [OK]
    keys.sign("server", HOST)
    told = only(certificates.shown_by_zookeeper(host), WARNING)
    assert "container-logs root" in told.do_next
    files = ServerFiles(host.home.zookeeper / "tls")
    files.prepare(keys.server, keys.trust, HOST)
    keys.sign("server", HOST)
    files.prepare(keys.server, keys.trust, HOST)
    assert files.take_back(keys.server, HOST, read_material(keys.server, keys.trust).trusted)
    told = only(certificates.shown_by_zookeeper(host), PROBLEM)
    assert "did not serve with" in told.what
    assert "server.log" in told.do_next
    keys.sign("server", "elsewhere")
    told = only(certificates.shown_by_zookeeper(host), PROBLEM)
    assert "Hostname mismatch" in told.what
    assert "fabric certificate-create --container root" in told.do_next


def test_certificates_for_zookeeper(tmp_path: Path) -> None:
    """Files that connections with it are given are looked at wherever they lie."""
    host = scene(tmp_path)
    channel = ChannelSettings(tls=True, ca=str(tmp_path / "zk-ca.pem"))
    host.home.write_registry_address(RegistryAddress("zk:2281", "secret", channel))
    assert "zk-ca.pem" in only(certificates.expiry(host), PROBLEM).what


@pytest.mark.parametrize(
    ("mode", "taken", "said"),
    [
        ("", (), ""),
        ("", (2888,), "Port 2888"),
        ("", (3888,), "it cannot start"),
        ("leader", (2181, 2888, 3888), ""),
        ("follower", (2181, 3888), ""),
        ("follower", (2181, 2888, 3888), "it can follow, and not lead"),
    ],
)
def test_ports_between_zookeepers(tmp_path: Path, mode: str, taken: tuple[int, ...], said: str) -> None:
    """A server that does not lead leaves its quorum port to whoever takes it, and needs it one day."""
    host = scene(
        tmp_path,
        port_is_free=lambda host, port: port not in taken,
        servers=lambda url, channel: [replace(SERVER, mode=mode)],
    )
    own = EnsembleServer(1, "127.0.0.1", 2888, 3888, "127.0.0.1", 2181).line()
    found = list(ports.zookeeper_ports(managed(host, own)))
    assert states(found).count(PROBLEM) == bool(said)
    assert not said or said in only(found, PROBLEM).what


def test_first_ports_before_there_is_a_fabric(tmp_path: Path) -> None:
    """Taken ones are warned of; with a fabric they are not looked at."""
    host = scene(tmp_path, port_is_free=lambda host, port: port != 2181)
    assert states(ports.first_ports(host)) == [WARNING, OK]
    host.home.write_registry_address(RegistryAddress("zk:2181", "secret"))
    assert states(ports.first_ports(host)) == []


def test_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found, too old, mute, or broken."""
    (tmp_path / "zk" / "lib").mkdir(parents=True)
    (tmp_path / "zk" / "lib" / "zookeeper.jar").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    environment = {"ZOOKEEPER_HOME": str(tmp_path / "zk"), "PATH": str(tmp_path / "bin")}

    def said(answer: Any) -> list[State]:
        return states(software.java_and_zookeeper(scene(tmp_path, environment=environment, program=answer)))

    assert said(lambda command: 'openjdk version "17.0.9"') == [OK, OK]
    assert said(lambda command: 'java version "1.8.0_292"') == [OK, OK]
    assert said(lambda command: 'java version "1.7.0"') == [OK, PROBLEM]
    assert said(lambda command: "") == [OK, PROBLEM]
    assert said(raising(OSError("no such file"))) == [OK, PROBLEM]
    without = {"ZOOKEEPER_HOME": str(tmp_path / "bin"), "PATH": str(tmp_path / "bin")}
    assert states(software.java_and_zookeeper(scene(tmp_path, environment=without))) == [PROBLEM]
    host = scene(tmp_path, environment=without)
    host.home.write_registry_address(RegistryAddress("elsewhere:2181", "secret"))
    assert states(software.java_and_zookeeper(host)) == [OK]


def test_python(tmp_path: Path) -> None:
    """This one will do."""
    assert states(software.python(scene(tmp_path))) == [OK]


def test_certificates_near_their_end(tmp_path: Path) -> None:
    """Fine, soon over, over, not yet valid, and no certificate at all; by the host's clock."""
    host = scene(tmp_path)
    assert states(certificates.expiry(host)) == [OK]
    made = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    authority = Authority(host.home.certificates, made)
    authority.create()
    authority.sign_container("root", ["localhost"], host.home.container_certificate("root"), days=100)

    def after(days: int) -> list[State]:
        now_s = (made + datetime.timedelta(days=days)).timestamp()
        return states(certificates.expiry(Scene(host.home, healthy_machine(now_s=lambda: now_s))))

    assert after(1) == [OK, OK]
    assert after(80) == [OK, WARNING]
    assert after(101) == [OK, PROBLEM]
    assert after(-2) == [PROBLEM, PROBLEM]
    host.home.container_certificate("root").write_text("-----BEGIN nothing")
    assert after(1) == [OK, PROBLEM]
    host.home.container_certificate("root").write_text("pkcs12")
    assert after(1) == [OK, NOT_CHECKED]


# All checks together


def test_every_check_has_a_name_of_its_own_and_a_summary() -> None:
    """`--only` takes a check or a family."""
    names = [check.name for check in ALL_CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.summary and check.family for check in ALL_CHECKS)
    assert [check.name for check in chosen(["disk", "limit.memory"])] == [
        "limit.memory",
        "disk.space",
        "disk.sync",
    ]
    with pytest.raises(UnknownCheck, match="no check nonsense"):
        chosen(["disk", "nonsense"])


def test_the_reference_explains_every_check() -> None:
    """And no check that there is not."""
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "doctor.md").read_text()
    explained = re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", reference, re.MULTILINE)
    assert explained == [check.name for check in ALL_CHECKS]


def test_a_healthy_host_without_a_fabric_has_no_problem(tmp_path: Path) -> None:
    """What needs a registry is not checked, and is no problem."""
    results = list(
        examine(scene(tmp_path, no_registry="No fabric found"), chosen(["limit", "disk", "clock"]))
    )
    assert is_healthy(results)
    assert {result.check for result in results if result.verdict.state is NOT_CHECKED} == {
        "clock.zookeeper",
        "clock.hosts",
    }


def test_a_check_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    """Its error is its result."""
    checks = (
        Check("a.broken", "fails", raising(OSError("broken"))),
        Check("a.sound", "works", lambda scene: iter([ok("It works."), problem("It is bad.", "Mend it.")])),
    )
    results = list(examine(scene(tmp_path), checks))
    assert [result.verdict.state for result in results] == [NOT_CHECKED, OK, PROBLEM]
    assert "broken" in results[0].verdict.what
    assert not is_healthy(results)
    assert results[2].to_json() == {
        "check": "a.sound",
        "state": "problem",
        "what": "It is bad.",
        "do_next": "Mend it.",
    }


def test_a_real_host_can_be_asked_everything(tmp_path: Path) -> None:
    """No check without a registry fails on the host that runs the tests."""
    results = list(examine(Scene(Home(tmp_path), Machine(), no_registry="none")))
    assert not [result for result in results if "could not be checked" in result.verdict.what]


def test_server_is_named() -> None:
    """The machine of these tests has one server."""
    assert healthy_machine().servers("zk:2181", PLAIN) == [SERVER]
