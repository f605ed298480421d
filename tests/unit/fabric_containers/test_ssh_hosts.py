"""What is done on a host by ssh, against a host that notes what it is told and answers what it should."""

import asyncio
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from fabric.errors import FabricError
from fabric.records import ContainerRecord
from fabric.ssh import Address, Login, Remote, RemoteFailed, SshError, Trust, exported
from fabric.ssh_hosts import HostWork, InstallationFailed, Plan, SshContainer, environment_of
from fabric.wheel import Wheel, build_wheel
from registry.channel import PLAIN, ChannelSettings

WHEEL = Wheel("fabric_mq-1.0-py3-none-any.whl", b"software")


class FakeRemote:
    """A host: `answer` gets each command, and returns what it prints or raises."""

    address = Address("east", "mq")

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        self.commands: list[str] = []
        self.sent: list[bytes] = []

    async def run(self, command: str, *, send: bytes = b"", timeout_s: float = 0) -> str:
        """Run a command."""
        del timeout_s
        self.commands.append(command)
        self.sent.append(send)
        return self.answer(command)


def work(
    answer: Callable[[str], str], *, wheel: Wheel | None = WHEEL, channel: ChannelSettings = PLAIN
) -> tuple[HostWork, FakeRemote, list[str]]:
    """Return the work on a host, the host, and what is said."""
    remote = FakeRemote(answer)
    said: list[str] = []
    repositories = ("https://i/", "/w")
    plan = Plan("~/a b", wheel, "zk:2181", "secret", ("--profile", "p"), {"X": "1 2"}, repositories, channel)
    return HostWork(cast("Remote", remote), plan, said.append), remote, said


def refuses(part: str, status: int = 1, answer: str = "/srv/c\n") -> Callable[[str], str]:
    """A host on which the commands with this part fail."""

    def run(command: str) -> str:
        if part in command:
            raise RemoteFailed("A command on mq@east ended with exit code 1.", "what it wrote", status)
        return answer

    return run


def test_the_software_is_installed_once() -> None:
    """It is uploaded into a folder of its version and content; a folder that is complete is used as it is."""
    job, remote, said = work(refuses("test -e"))
    folder = f"/srv/c/fabric-mq-1.0-{WHEEL.digest}"
    assert asyncio.run(job.prepare()) == ("/srv/c", f"{folder}/bin/fabric")
    assert WHEEL.content in remote.sent
    pip = next(command for command in remote.commands if "pip install" in command)
    assert "--extra-index-url https://i/ --find-links /w" in pip
    assert "export X=" in pip
    assert said[0] == "east: looking at ~/a b"
    assert job.left == []
    job, remote, said = work(refuses("nothing"))
    asyncio.run(job.prepare())
    assert said[-1] == f"east: fabric-mq-1.0-{WHEEL.digest} is installed already"
    assert WHEEL.content not in remote.sent


@pytest.mark.parametrize(
    ("status", "lack"), [(41, "no python3"), (42, "older than"), (43, "virtual environments")]
)
def test_a_host_that_lacks_something_is_told(status: int, lack: str) -> None:
    """What it lacks, and how it is installed; nothing was changed there."""
    job, _, _ = work(refuses("command -v python3", status))
    with pytest.raises(InstallationFailed, match=lack) as failed:
        asyncio.run(job.prepare())
    assert "apt-get install python3 python3-venv" in failed.value.do_next


def test_what_is_left_on_a_host_is_said() -> None:
    """An installation that fails says at what, shows what was written, and names what is there."""

    def answer(command: str) -> str:
        refuses("test -e")(command)
        return refuses("-m venv")(command)

    job, _, _ = work(answer)
    with pytest.raises(InstallationFailed) as failed:
        asyncio.run(job.prepare())
    assert failed.value.what.startswith("Host east: making a virtual environment failed.")
    assert failed.value.do_next.splitlines() == [
        "what it wrote",
        f"Left on the host: /srv/c/fabric-mq-1.0-{WHEEL.digest}; the next attempt goes on with it.",
    ]
    job, _, _ = work(refuses("command -v fabric"), wheel=None)
    with pytest.raises(InstallationFailed, match="not installed on east"):
        asyncio.run(job.prepare())


def test_a_container_joins_with_the_password_out_of_sight() -> None:
    """The password goes through the connection and stands in no command line; a failure leaves no home."""
    job, remote, _ = work(refuses("nothing"))
    assert asyncio.run(job.join("/srv/c", "/srv/c/bin/fabric", "east")) == "/srv/c/east"
    joining = remote.commands[-1]
    assert "join zk:2181 east --profile p" in joining
    assert "secret" not in "".join(remote.commands)
    assert remote.sent[-1] == b"secret\n"
    launcher = next(sent.decode() for sent in remote.sent if sent.startswith(b"#!/bin/sh"))
    assert launcher.splitlines()[2:] == [
        "export FABRIC_HOME=/srv/c/east",
        "export X='1 2'",
        'exec /srv/c/bin/fabric "$@"',
    ]
    job, remote, _ = work(refuses("join zk:2181"))
    with pytest.raises(InstallationFailed, match="joining container east failed"):
        asyncio.run(job.join("/srv/c", "/srv/c/bin/fabric", "east"))
    assert "rmdir" in remote.commands[-1]


def test_what_zookeeper_asks_for_is_brought_along(tmp_path: Path) -> None:
    """The files go to the host, for its owner only; the login's password stands in no command line either."""
    certificate = tmp_path / "me.pem"
    certificate.write_bytes(b"certificate and key")
    channel = ChannelSettings(
        tls=True, certificate=str(certificate), sasl_user="shop", sasl_password="hidden"
    )
    job, remote, _ = work(refuses("nothing"), channel=channel)
    asyncio.run(job.join("/srv/c", "/srv/c/bin/fabric", "east"))
    brought = remote.sent.index(b"certificate and key")
    assert "umask 077; cat > /srv/c/east/zookeeper-certificate.pem" in remote.commands[brought]
    options = "--zookeeper-tls --zookeeper-sasl-user shop"
    joining = f"join zk:2181 east --zookeeper-certificate /srv/c/east/zookeeper-certificate.pem {options}"
    assert f"{joining} --profile p" in remote.commands[-1]
    assert remote.sent[-1] == b"secret\nhidden\n"
    assert "hidden" not in "".join(remote.commands)
    certificate.unlink()
    with pytest.raises(InstallationFailed, match="cannot be read: No such file"):
        asyncio.run(job.join("/srv/c", "/srv/c/bin/fabric", "east"))
    assert "rmdir" in remote.commands[-1]


def test_what_the_registry_keeps_holds_no_secret() -> None:
    """The record leads back to the host; what is given now goes before what was kept."""
    kept = SshContainer("east", "mq", 2222, "/srv/c/east", "/k", "ssh://mq@gate:22")
    record = ContainerRecord("east", fields={"options": kept.serialize()})
    assert SshContainer.of(record) == kept
    assert record.is_by_ssh
    assert set(json.loads(kept.serialize())) == {
        "type",
        "host",
        "user",
        "port",
        "home",
        "private_key",
        "proxy",
    }
    assert SshContainer.of(ContainerRecord("root", fields={"options": '{"type": "root"}'})) is None
    access = kept.access(None, Login(), Trust())
    assert (access.login.private_key, access.proxy) == ("/k", Address("gate", "mq"))
    access = kept.access("ann", Login("pw"), Trust())
    assert (access.address.user, access.login.private_key) == ("ann", None)
    assert "pw" not in repr(access)


def test_addresses_and_variables_are_read() -> None:
    """What is neither is refused with how it should be."""
    assert Address.parse("ssh://a@b:7", "c") == Address("b", "a", 7)
    assert str(Address.parse("b", "c")) == "c@b"
    for wrong in ("http://b", "ssh://", "ssh://b:x"):
        with pytest.raises(SshError):
            Address.parse(wrong, "c")
    assert environment_of(["A=1=2", "B="]) == {"A": "1=2", "B": ""}
    for wrong in ("A", "1A=2", "=x"):
        with pytest.raises(FabricError, match="does not set a variable"):
            environment_of([wrong])
    assert exported({"B": "it's", "A": "1"}) == "export A=1\nexport B='it'\"'\"'s'\n"


def test_a_wheel_holds_what_is_installed() -> None:
    """All packages with their files, what they need and what they offer; the same bytes each time."""
    wheel = build_wheel()
    assert wheel.digest == build_wheel().digest
    assert wheel.folder == f"fabric-mq-0.1.0-{wheel.digest}"
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        names = archive.namelist()
        assert {"fabric/cli/main.py", "fabric/shipped/fabric.yaml", "registry/paths.py"} <= set(names)
        assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
        assert b"Requires-Dist: Twisted" in archive.read("fabric_mq-0.1.0.dist-info/METADATA")
        assert b"fabric = fabric.cli.main:main" in archive.read("fabric_mq-0.1.0.dist-info/entry_points.txt")
        record = archive.read("fabric_mq-0.1.0.dist-info/RECORD").decode().splitlines()
        assert [line.split(",")[0] for line in record] == names
