"""Containers on hosts that are reached by ssh: this software is installed there, and the host joins.

::

    PATH/                            as --path says; ~/containers/ otherwise
      fabric-mq-0.1.0-<digest>/        this software in a virtual environment, shared by the containers
      <name>/                  0700    FABRIC_HOME of one container
        fabric                 0700    runs the command for it: `PATH/<name>/fabric container-start <name>`

What the registry keeps of it (`options` of the container's record) is where the host is and which key opens
it, never a password.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fabric.errors import FabricError
from fabric.records import ContainerRecord
from fabric.ssh import Address, Login, Remote, RemoteFailed, SshAccess, SshError, Trust, exported
from fabric.wheel import Wheel
from registry.channel import PLAIN, ChannelSettings

TYPE = "ssh"
PATH = "~/containers/"
"""Source: fabric8 `CreateSshContainerOptions`."""

PYTHON_MIN = (3, 11)
_NO_PYTHON, _OLD_PYTHON, _NO_VENV = 41, 42, 43
_LACKS: Mapping[int, str] = {
    _NO_PYTHON: "The host has no python3.",
    _OLD_PYTHON: "The host's python3 is older than 3.11.",
    _NO_VENV: "The host's python3 cannot make virtual environments.",
}
_INSTALL_PYTHON = "Install it there, on Debian with: apt-get install python3 python3-venv"
START_TIMEOUT_S = 120.0
_INSTALLED = ".installed"
"""File that says that a virtual environment is complete."""


@dataclass(frozen=True, slots=True)
class SshContainer:
    """What the registry keeps of a container that was made by ssh."""

    host: str
    user: str
    port: int
    home: str
    """FABRIC_HOME on the host."""
    private_key: str = ""
    """Path of the key on the host from which it is reached."""
    proxy: str = ""
    """Address of the host to go through."""

    @property
    def launcher(self) -> str:
        """The program on the host that runs the command for this container."""
        return f"{self.home}/fabric"

    def serialize(self) -> str:
        """Make the field `options`."""
        return json.dumps({"type": TYPE, **asdict(self)})

    @classmethod
    def of(cls, record: ContainerRecord) -> SshContainer | None:
        """Read it from a container's record; None for a container that was made otherwise."""
        options = record.options
        if options.get("type") != TYPE:
            return None
        texts = {key: str(options.get(key, "")) for key in ("host", "user", "home", "private_key", "proxy")}
        return cls(port=int(options.get("port", 22)), **texts)

    def access(self, user: str | None, login: Login, trust: Trust) -> SshAccess:
        """Return how the host is reached; what is given goes before what was kept."""
        if self.private_key and login.private_key is None and login.password is None:
            login = Login(None, self.private_key, login.pass_phrase)
        proxy = Address.parse(self.proxy, self.user) if self.proxy else None
        return SshAccess(Address(self.host, user or self.user, self.port), login, proxy, trust)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted on a host."""

    path: str
    wheel: Wheel | None
    """What is installed there; None: it is installed already."""
    zookeeper_url: str
    zookeeper_password: str = field(repr=False)
    join: Sequence[str] = ()
    """Options of `fabric join` for each container."""
    environment: Mapping[str, str] = field(default_factory=dict)
    repositories: Sequence[str] = ()
    """Where pip looks besides the host's own index: URLs and folders."""
    channel: ChannelSettings = PLAIN
    """How ZooKeeper is talked to; its files are brought to the host."""


class InstallationFailed(SshError):
    """A container could not be made on a host."""


class HostWork:
    """The steps on one host; what they have left there is known when one fails."""

    def __init__(self, remote: Remote, plan: Plan, say: Callable[[str], None]) -> None:
        """Make it of an open connection; `say` is told each step."""
        self._remote = remote
        self._plan = plan
        self._tell = say
        self.left: list[str] = []

    def _say(self, text: str) -> None:
        self._tell(f"{self._remote.address.host}: {text}")

    async def prepare(self) -> tuple[str, str]:
        """Make sure that the software is there; return the path as the host knows it, and the program.

        Raises:
            InstallationFailed, SshError: as they say; with what was left.
        """
        plan = self._plan
        base = await self._probe()
        if plan.wheel is None:
            return base, await self._find_installed(base)
        return base, await self._install(base, plan.wheel)

    async def join(self, base: str, program: str, name: str) -> str:
        """Make one container, and wait until it is connected; return its FABRIC_HOME.

        Raises:
            InstallationFailed, SshError: as they say.
        """
        plan, home = self._plan, f"{base}/{name}"
        launcher = (
            "#!/bin/sh\n# Runs fabric for this container, as the one who made it by ssh wanted.\n"
            + exported({**plan.environment, "FABRIC_HOME": home})
            + f'exec {shlex.quote(program)} "$@"\n'
        )
        self._say(f"joining container {name}")
        at = shlex.quote(home)
        await self._sh(
            "installing the program",
            f"umask 077; mkdir -p {at} && cat > {at}/fabric && chmod 700 {at}/fabric",
            launcher.encode(),
        )
        try:
            secured = await self._bring_channel(home)
            command = [f"{home}/fabric", "join", plan.zookeeper_url, name, *secured, *plan.join]
            passwords = {"ZOOKEEPER_PASSWORD": plan.zookeeper_password}
            if plan.channel.sasl_user:
                passwords["ZOOKEEPER_SASL_PASSWORD"] = plan.channel.sasl_password
            reads = "".join(f"IFS= read -r {variable}; export {variable}; " for variable in passwords)
            await self._sh(
                f"joining container {name}",
                f"{reads}exec {shlex.join(command)}",
                "".join(f"{password}\n" for password in passwords.values()).encode(),
            )
        except SshError:
            await remove_home(self._remote, home)
            raise
        return home

    async def _bring_channel(self, home: str) -> list[str]:
        """Bring the files that connections with ZooKeeper need, and return the options that name them."""
        channel = self._plan.channel
        options = []
        for option, source in (
            ("ca", channel.ca),
            ("certificate", channel.certificate),
            ("key", channel.key),
        ):
            if source:
                path = f"{home}/zookeeper-{option}.pem"
                await self._sh(
                    f"bringing {source}", f"umask 077; cat > {shlex.quote(path)}", _read(Path(source))
                )
                options += [f"--zookeeper-{option}", path]
        if channel.tls:
            options.append("--zookeeper-tls")
        if channel.any_host_name:
            options.append("--zookeeper-any-host-name")
        if channel.sasl_user:
            options += ["--zookeeper-sasl-user", channel.sasl_user]
        return options

    async def _probe(self) -> str:
        path = _expanded(self._plan.path)
        version = ", ".join(map(str, PYTHON_MIN))
        script = (
            f"mkdir -p {path} && cd {path} || exit 1\n"
            f"command -v python3 >/dev/null || exit {_NO_PYTHON}\n"
            f"python3 -c 'import sys; sys.exit(sys.version_info < ({version}))' || exit {_OLD_PYTHON}\n"
            f"python3 -c 'import ensurepip, venv' 2>/dev/null || exit {_NO_VENV}\n"
            "pwd"
        )
        self._say(f"looking at {self._plan.path}")
        try:
            return (await self._remote.run(_sh(script))).strip()
        except RemoteFailed as error:
            if error.status in _LACKS:
                raise InstallationFailed(_LACKS[error.status], _INSTALL_PYTHON) from error
            raise self._failed(f"making {self._plan.path}", error) from error

    async def _find_installed(self, base: str) -> str:
        places = [f"{base}/bin/fabric", f"{base}/venv/bin/fabric"]
        tests = " ".join(
            f"if [ -x {place} ]; then echo {place}; exit; fi;" for place in map(shlex.quote, places)
        )
        try:
            return (await self._remote.run(_sh(f"{tests} command -v fabric"))).strip()
        except RemoteFailed as error:
            raise InstallationFailed(
                f"The software is not installed on {self._remote.address.host}.",
                f"It was looked for in {places[0]}, {places[1]} and on the PATH. "
                "Without --disable-distribution-upload it is installed.",
            ) from error

    async def _install(self, base: str, wheel: Wheel) -> str:
        folder = f"{base}/{wheel.folder}"
        at, program = shlex.quote(folder), f"{folder}/bin/fabric"
        if await self._succeeds(f"test -e {at}/{_INSTALLED}"):
            self._say(f"{wheel.folder} is installed already")
            return program
        self._say(f"uploading {wheel.name} ({len(wheel.content) / 1e6:.1f} MB)")
        self.left.append(folder)
        file = f"{at}/{shlex.quote(wheel.name)}"
        await self._sh("uploading the software", f"mkdir -p {at} && cat > {file}", wheel.content)
        self._say("making a virtual environment")
        await self._sh("making a virtual environment", f"python3 -m venv {at}")
        self._say("installing, with what it needs; this takes a minute or so")
        pip = "pip install --quiet --disable-pip-version-check --no-input"
        sources = " ".join(
            f"--extra-index-url {shlex.quote(one)}" if "://" in one else f"--find-links {shlex.quote(one)}"
            for one in self._plan.repositories
        )
        await self._sh(
            "installing the software",
            f"{exported(self._plan.environment)}{at}/bin/python -m {pip} {sources} {file} "
            f"&& rm {file} && touch {at}/{_INSTALLED}",
        )
        self.left.remove(folder)
        return program

    async def _succeeds(self, script: str) -> bool:
        try:
            await self._remote.run(_sh(script))
        except RemoteFailed:
            return False
        return True

    async def _sh(self, doing: str, script: str, send: bytes = b"") -> str:
        try:
            return await self._remote.run(_sh(script), send=send)
        except SshError as error:
            raise self._failed(doing, error) from error

    def _failed(self, doing: str, error: SshError) -> InstallationFailed:
        left = (
            f"Left on the host: {', '.join(self.left)}; the next attempt goes on with it."
            if self.left
            else ""
        )
        return InstallationFailed(
            f"Host {self._remote.address.host}: {doing} failed. {error.what}",
            "\n".join(line for line in (error.do_next, left) if line),
        )


async def remove_home(remote: Remote, home: str) -> None:
    """Remove what a container has left on its host, except the stores of its brokers."""
    at = shlex.quote(home)
    await remote.run(
        _sh(f"rm -f {at}/fabric {at}/zookeeper-*.pem; rmdir {at}/data {at}/containers {at} 2>/dev/null; true")
    )


async def start_there(remote: Remote, container: SshContainer, name: str) -> None:
    """Start a root container on its host. Raises SshError."""
    await remote.run(shlex.join([container.launcher, "container-start", name]), timeout_s=START_TIMEOUT_S)


async def leave_there(remote: Remote, container: SshContainer) -> str:
    """Have a host leave the fabric with its children; return what was said. Raises SshError."""
    said = await remote.run(shlex.join([container.launcher, "leave", "--force"]), timeout_s=START_TIMEOUT_S)
    await remove_home(remote, container.home)
    return said


def environment_of(entries: Sequence[str]) -> dict[str, str]:
    """Read what `--env NAME=VALUE` gave. Raises FabricError."""
    found = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name.isidentifier():
            raise FabricError(f"{entry!r} does not set a variable.", "Give it as --env NAME=VALUE.")
        found[name] = value
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InstallationFailed(
            f"{path}, which connections with ZooKeeper need, cannot be read: {error.strerror}.",
            "Is it where fabric.json says? A host joined with --zookeeper-ca and the like has it.",
        ) from error


def _expanded(path: str) -> str:
    """Return a path for sh in which `~` stands for the home of the one who logs in."""
    rest = path.removeprefix("~")
    if rest != path and (not rest or rest.startswith("/")):
        return f'"$HOME"{shlex.quote(rest) if rest else ""}'
    return shlex.quote(path)


def _sh(script: str) -> str:
    return f"sh -c {shlex.quote(script)}"
