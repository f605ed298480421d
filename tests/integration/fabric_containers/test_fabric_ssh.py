"""Containers on a host that is reached by ssh: a real sshd, a real installation, a real fabric."""

import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fabric import FabricForTests
from support.sshd import Sshd, make_key, running_sshd
from support.waiting import wait_until

from fabric.home import Home
from fabric.local import stop_process
from fabric.processes import running_process

pytestmark = pytest.mark.integration


@dataclass
class Scene:
    """A fabric, and a host that takes ssh."""

    fabric: FabricForTests
    sshd: Sshd
    path: Path

    def login(self, *without: str) -> list[str]:
        """The options that let one in."""
        options = {
            "--user": self.sshd.user,
            "--private-key": str(self.sshd.key),
            "--known-hosts": str(self.sshd.known_hosts()),
        }
        return [f"{name}={value}" for name, value in options.items() if name not in without]

    def make(self, *arguments: str, login: list[str] | None = None, code: int = 0) -> str:
        """Make containers on the host; it need not load what the software needs."""
        return self.fabric.run(
            "container-create-ssh",
            f"--host={self.sshd.address}",
            f"--port={self.sshd.port}",
            f"--path={self.path}",
            f"--min-port={self.fabric.port_min}",
            f"--max-port={self.fabric.port_max}",
            "--env=PIP_NO_DEPS=1",
            "--env=PIP_NO_COMPILE=1",
            f"--env=PYTHONPATH={sysconfig.get_path('purelib')}",
            *(self.login() if login is None else login),
            *arguments,
            code=code,
        )

    def home(self, name: str) -> Home:
        """The home of a container on the host."""
        return Home(self.path / name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A fabric, and a host on which nothing is installed."""
    folder = tmp_path_factory.mktemp("ssh")
    fabric = FabricForTests(folder / "home")
    path = folder / "containers"
    with running_sshd(folder / "sshd", "127.0.0.2") as sshd:
        try:
            fabric.create("--profile=default")
            yield Scene(fabric, sshd, path)
        finally:
            for name in ("east", "west", "west2"):
                stop_process(Home(path / name).container(name))
            fabric.end()


def test_who_is_not_let_in(scene: Scene, tmp_path: Path) -> None:
    """A host that is unknown, or shows another key; a key it does not know; a port nobody listens on."""
    nobody = tmp_path / "known_hosts"
    unknown = scene.make("east", login=[*scene.login("--known-hosts"), f"--known-hosts={nobody}"], code=1)
    assert "Host 127.0.0.2 is not known; its key is SHA256:" in unknown
    assert "--accept-host-key" in unknown
    assert not nobody.exists()

    make_key(tmp_path / "other")
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    nobody.write_text(f"[127.0.0.2]:{scene.sshd.port} {kind} {key}\n")
    options = [*scene.login("--known-hosts"), f"--known-hosts={nobody}", "--accept-host-key"]
    assert "shows another key" in scene.make("east", login=options, code=1), "also if any is to be taken"

    options = [*scene.login("--private-key"), f"--private-key={tmp_path / 'other'}"]
    assert f"{scene.sshd.user}@127.0.0.2:{scene.sshd.port} refuses the login" in scene.make(
        "east", login=options, code=1
    )
    options = [*scene.login("--private-key"), f"--private-key={scene.sshd.locked_key}", "--pass-phrase=wrong"]
    assert "The private key cannot be used" in scene.make("east", login=options, code=1)
    assert "cannot be reached on port 1" in scene.make("--port=1", "--ssh-retries=0", "east", code=1)
    assert [record["id"] for record in scene.fabric.json("container-list")] == ["root"]
    assert not scene.path.exists()


def test_what_is_expected_there_and_is_not(scene: Scene) -> None:
    """The error says where the software was looked for; a registry on loopback is nobody else's."""
    said = scene.make("--disable-distribution-upload", "east", code=1)
    assert "The software is not installed on 127.0.0.2." in said
    said = scene.fabric.run("container-create-ssh", "--host=192.0.2.7", "east", code=1)
    assert "The registry is at 127.0.0.1:" in said
    assert "which host 192.0.2.7 does not reach" in said
    assert "does not set a variable" in scene.make("--env=nonsense", "east", code=1)


def test_a_host_gets_the_software_and_joins(scene: Scene, tmp_path: Path) -> None:
    """What runs here is installed there; the container is a root with children; no secret is kept."""
    known = tmp_path / "known_hosts"
    options = [*scene.login("--known-hosts", "--private-key"), f"--known-hosts={known}", "--accept-host-key"]
    key = [f"--private-key={scene.sshd.locked_key}", "--pass-phrase=open sesame"]
    said = scene.make("--env=COLOUR=blue", "east", login=[*options, *key])
    assert "\tContainer: east." in said
    assert f"[127.0.0.2]:{scene.sshd.port} ssh-ed25519 " in known.read_text()
    record = scene.fabric.container("east")
    assert record["connected"]
    assert record["parent"] is None
    kept = json.loads(scene.fabric.run("zk-get", "/fabric/registry/containers/config/east/options"))
    assert kept["type"] == "ssh"
    assert kept["private_key"] == str(scene.sshd.locked_key)
    assert "sesame" not in json.dumps(kept)
    (installed,) = scene.path.glob("fabric-mq-*")
    assert (installed / "bin" / "fabric").exists()
    assert not list(installed.glob("*.whl"))
    environment = Path(f"/proc/{record['pid']}/environ").read_bytes().split(b"\0")
    assert b"COLOUR=blue" in environment
    command = Path(f"/proc/{record['pid']}/cmdline").read_bytes().split(b"\0")
    assert command[0].decode().startswith(f"{installed}/bin/python"), "it runs what was installed there"
    scene.fabric.run("container-create-child", "east", "child")
    assert scene.fabric.container("child")["connected"]


def test_its_command_line_is_at_hand(scene: Scene) -> None:
    """Commands run there with its exit code and its output; a child leads to its host."""
    login = [*scene.login("--private-key"), f"--private-key={scene.sshd.key}"]
    said = scene.fabric.run("container-connect", *login, "child", "--", "fabric", "container-list")
    assert "east*" in said
    assert "registered" in scene.fabric.run(
        "container-connect", *login, "east", "fabric", "container-logs", "child"
    )
    assert scene.fabric.run("container-connect", *login, "east", "--", "sh", "-c", "exit 7", code=7) == ""


def test_it_is_stopped_and_started_from_here(scene: Scene, tmp_path: Path) -> None:
    """It stops as any other; its start goes by ssh, with what is kept and what is given; a child goes on."""
    fabric = scene.fabric
    pid = fabric.container("child")["pid"]
    fabric.run("container-stop", "east")
    assert not fabric.container("east")["connected"]
    known = f"--known-hosts={scene.sshd.known_hosts()}"
    said = fabric.run("container-start", known, "east", code=1)
    assert "The private key cannot be used" in said, "its pass phrase is not kept"
    assert "was not made by ssh" in fabric.run("container-update-ssh-credentials", known, "root", code=1)
    key = f"--private-key={scene.sshd.key}"
    assert "lets us in" in fabric.run("container-update-ssh-credentials", known, key, "east")
    fabric.run("container-start", known, "east")
    assert fabric.container("east")["connected"]
    assert fabric.container("child")["pid"] == pid
    fabric.run("container-stop", "child")
    assert running_process(scene.home("east").container("child")) is None, "its agent looks after it"
    fabric.run("container-start", "child")


def test_further_containers_share_the_software(scene: Scene, tmp_path: Path) -> None:
    """Nothing is installed twice; several have names and homes of their own; a failed one leaves nothing."""
    before = sorted(path.name for path in scene.path.iterdir())
    with running_sshd(tmp_path / "gate", "127.0.0.3") as gate:
        known = scene.sshd.known_hosts("both")
        known.write_text(known.read_text() + gate.known_hosts().read_text())
        gate.folder.joinpath("authorized_keys").write_bytes(scene.sshd.key.with_suffix(".pub").read_bytes())
        through = f"--proxy-uri=ssh://{gate.user}@{gate.address}:{gate.port}"
        options = [*scene.login("--known-hosts"), f"--known-hosts={known}"]
        said = scene.make(through, "west", "2", login=options)
        assert said.count("Container: ") == 2
        assert "Accepted publickey" in gate.log
    after = sorted(path.name for path in scene.path.iterdir())
    assert set(after) - set(before) == {"west", "west2"}
    said = scene.make("--resolver=manualip", "north", code=1)
    assert "north: Host 127.0.0.2: joining container north failed." in said
    assert "The resolver manualip needs an address." in said
    assert not (scene.path / "north").exists()


def test_it_is_deleted_there_too(scene: Scene) -> None:
    """Its host leaves the fabric with its children; stores and audit log stay. A lost host is forgotten."""
    fabric, login = scene.fabric, scene.login()
    assert "has one or more child containers" in fabric.run("container-delete", *login, "east", code=1)
    store = scene.home("east").data / "kept"
    store.mkdir()
    fabric.run("container-delete", "-r", *login, "east")
    assert not scene.home("east").has_fabric()
    assert {path.name for path in (scene.path / "east").iterdir()} == {"data", "audit.log"}
    assert store.exists()
    said = fabric.run("container-delete", *login, "west", code=1)
    assert "Host 127.0.0.3 cannot be reached" in said, "the host that was gone through is gone"
    assert fabric.container("west")["connected"]
    said = fabric.run("container-delete", "--force", *login, "west", "west2")
    assert "The host is left as it is; only the registry forgets it." in said
    wait_until(lambda: running_process(scene.home("west").container("west")) is None, 30, fabric.logs)
    assert [record["id"] for record in fabric.json("container-list")] == ["root"]
