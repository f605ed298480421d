"""Connections to hosts by ssh: whom they belong to, how one logs in, what is run there.

A host's key is compared with the known hosts' of ssh before anything is sent; a key that is not known is
taken only if that is asked for, and a key that has changed never is. Everything here is the edge to
asyncssh, which is imported when a connection is opened.
"""

from __future__ import annotations

import asyncio
import getpass
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fabric.errors import FabricError

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

PORT = 22
RETRIES = 1
"""As the original: one more attempt."""

RETRY_DELAY_S = 1.0
CONNECT_TIMEOUT_S = 20.0
"""For one attempt, login included: a name server and a slow host may each take some seconds."""

RUN_TIMEOUT_S = 600.0
"""For one command: an installation may have to load and compile what it needs."""


class SshError(FabricError):
    """A host could not be reached by ssh, or a command there failed."""


class SshUnreachable(SshError):
    """Nobody answers there."""


class SshRefused(SshError):
    """The host does not let us in."""


class HostKeyUnknown(SshError):
    """The host has not been seen before."""


class HostKeyChanged(SshError):
    """The host shows another key than the one that is known."""


class RemoteFailed(SshError):
    """A command on the host failed.

    Attributes:
        status: its exit code.
    """

    def __init__(self, what: str, do_next: str, status: int) -> None:
        super().__init__(what, do_next)
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """Where a host takes ssh, and as whom one logs in there."""

    host: str
    user: str
    port: int = PORT

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != PORT else "")

    @classmethod
    def parse(cls, url: str, user: str) -> Address:
        """Read ``ssh://[user@]host[:port]``, the scheme may be missing. Raises SshError."""
        try:
            parts = urlsplit(url if "://" in url else f"ssh://{url}")
            port = parts.port or PORT
        except ValueError as error:
            raise SshError(f"{url!r} is not an address: {error}.") from error
        if parts.scheme != "ssh" or not parts.hostname:
            raise SshError(
                f"{url!r} is not the address of a host to go through.", "Give ssh://user@host:port."
            )
        return cls(parts.hostname, parts.username or user, port)


@dataclass(frozen=True, slots=True)
class Login:
    """How one logs in: a password, or a key; neither: the agent's and this user's own keys."""

    password: str | None = field(default=None, repr=False)
    private_key: str | None = None
    pass_phrase: str | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """What asyncssh is told."""
        told: dict[str, Any] = {"password": self.password, "passphrase": self.pass_phrase}
        if self.private_key:
            told |= {"client_keys": [str(Path(self.private_key).expanduser())], "agent_path": None}
        elif self.password is not None:
            told |= {"client_keys": None, "agent_path": None}
        return told


@dataclass(frozen=True, slots=True)
class Trust:
    """Which hosts are known, and whether one that is not becomes so."""

    known_hosts: Path = field(default_factory=lambda: Path("~/.ssh/known_hosts").expanduser())
    accept_new: bool = False


@dataclass(frozen=True, slots=True)
class SshAccess:
    """All that is needed to get to a host."""

    address: Address
    login: Login = field(default_factory=Login)
    proxy: Address | None = None
    trust: Trust = field(default_factory=Trust)
    retries: int = RETRIES


def own_name() -> str:
    """Return who logs in if nobody is named: the user of this process."""
    return getpass.getuser()


class Remote:
    """An open connection to a host."""

    def __init__(self, address: Address, connection: SSHClientConnection) -> None:
        self.address = address
        self._connection = connection

    async def run(self, command: str, *, send: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> str:
        """Run a command of the shell; return what it printed.

        Args:
            command: As sh understands it.
            send: What it reads.
            timeout_s: How long it may take.

        Raises:
            RemoteFailed: it ended with another exit code than 0; with the last lines it wrote.
            SshUnreachable: the connection broke, or it took too long.
        """
        import asyncssh  # noqa: PLC0415 - see the module

        try:
            done = await self._connection.run(command, input=send, encoding=None, timeout=timeout_s)
        except asyncssh.TimeoutError as error:
            raise SshUnreachable(f"{self.address}: a command took longer than {timeout_s:g} s.") from error
        except (asyncssh.Error, OSError) as error:
            raise SshUnreachable(f"The connection to {self.address} broke: {error}.") from error
        output = [_text(part) for part in (done.stdout, done.stderr)]
        if done.exit_status != 0:
            lines = "\n".join("".join(output).strip().splitlines()[-LINES_SHOWN:])
            raise RemoteFailed(
                f"A command on {self.address} ended with exit code {done.exit_status}.",
                lines,
                -1 if done.exit_status is None else done.exit_status,
            )
        return output[0]

    async def pass_through(self, command: str, write: Callable[[bytes, bool], None]) -> int:
        """Run a command, and hand over what it writes as it comes, with whether it is an error's.

        Returns:
            Its exit code.
        """
        process = await self._connection.create_process(command, encoding=None)

        async def hand_over(reader: Any, is_error: bool) -> None:  # noqa: ANN401 - bytes of either stream
            while chunk := await reader.read(CHUNK_BYTES):
                write(chunk, is_error)

        process.stdin.write_eof()
        await asyncio.gather(hand_over(process.stdout, False), hand_over(process.stderr, True))
        done = await process.wait()
        return -1 if done.exit_status is None else done.exit_status


def _text(part: bytes | str | None) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else part or ""


LINES_SHOWN = 12
"""Last lines of a command that failed."""
CHUNK_BYTES = 64 * 1024


@asynccontextmanager
async def connected(access: SshAccess, say: Callable[[str], None]) -> AsyncIterator[Remote]:
    """Open a connection to a host, through its jump host if it has one, and close it at the end.

    Args:
        access: Whereto and how.
        say: Called when it has to be tried again, and when a key becomes known.

    Raises:
        SshUnreachable, SshRefused, HostKeyUnknown, HostKeyChanged: as they say.
    """
    jump = None
    try:
        if access.proxy is not None:
            jump = await _retried(access, access.proxy, None, say)
        connection = await _retried(access, access.address, jump, say)
        try:
            yield Remote(access.address, connection)
        finally:
            connection.close()
            await connection.wait_closed()
    finally:
        if jump is not None:
            jump.close()
            await jump.wait_closed()


def run_remotely(
    access: SshAccess, say: Callable[[str], None], do: Callable[[Remote], Awaitable[Any]]
) -> Any:  # noqa: ANN401 - what `do` returns
    """Do something on a host, from code that is not asynchronous."""

    async def all_of_it() -> Any:  # noqa: ANN401 - likewise
        async with connected(access, say) as remote:
            return await do(remote)

    return asyncio.run(all_of_it())


async def _retried(
    access: SshAccess, address: Address, jump: SSHClientConnection | None, say: Callable[[str], None]
) -> SSHClientConnection:
    for attempt in range(access.retries + 1):
        try:
            return await _open(access, address, jump, say)
        except SshUnreachable as error:
            if attempt == access.retries:
                raise
            say(f"{error.what} Trying again.")
            await asyncio.sleep(RETRY_DELAY_S)
    raise AssertionError("the last attempt returns or raises")


async def _open(
    access: SshAccess, address: Address, jump: SSHClientConnection | None, say: Callable[[str], None]
) -> SSHClientConnection:
    import asyncssh  # noqa: PLC0415 - see the module

    known = _known_hosts(access.trust.known_hosts)
    try:
        if not _entries(known, address):
            await _meet(access.trust, address, jump, say)
            known = _known_hosts(access.trust.known_hosts)
        return await asyncio.wait_for(
            asyncssh.connect(
                address.host,
                address.port,
                username=address.user,
                known_hosts=known,
                tunnel=jump,
                config=None,
                keepalive_interval=15,
                **access.login.options(),
            ),
            CONNECT_TIMEOUT_S,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyChanged(
            f"Host {address.host} shows another key than {access.trust.known_hosts} knows: nothing was sent.",
            "Somebody may be listening in. If the host was set up anew, remove its old key: "
            f"ssh-keygen -R {_pattern(address)}",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise SshRefused(
            f"{address} refuses the login.",
            "Give another --user, its --password, or a --private-key that the host knows.",
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, FileNotFoundError) as error:
        raise SshRefused(
            f"The private key cannot be used: {error}.", "Is it there, and its --pass-phrase right?"
        ) from error
    except (asyncssh.Error, OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {CONNECT_TIMEOUT_S:g} s"
        raise SshUnreachable(
            f"Host {address.host} cannot be reached on port {address.port}: {reason}.",
            "Does it run sshd, and is the port another one (--port)?",
        ) from error


async def _meet(
    trust: Trust, address: Address, jump: SSHClientConnection | None, say: Callable[[str], None]
) -> None:
    """Make a host's key known, if that is asked for. Raises HostKeyUnknown."""
    import asyncssh  # noqa: PLC0415 - see the module

    key = await asyncio.wait_for(
        asyncssh.get_server_host_key(address.host, address.port, tunnel=jump, config=None), CONNECT_TIMEOUT_S
    )
    if key is None:
        raise SshUnreachable(f"Host {address.host} shows no key.")
    if not trust.accept_new:
        raise HostKeyUnknown(
            f"Host {address.host} is not known; its key is {key.get_fingerprint()}.",
            "If that is right, take it with --accept-host-key, or connect to it once with ssh.",
        )
    line = f"{_pattern(address)} {key.export_public_key('openssh').decode().strip()}\n"
    try:
        trust.known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with trust.known_hosts.open("a") as file:
            file.write(line)
    except OSError as error:
        raise SshError(f"{trust.known_hosts} cannot be written: {error.strerror}.") from error
    say(f"Host {address.host} is known from now on by its key {key.get_fingerprint()}")


def _known_hosts(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SshError(f"{path} cannot be read: {error.strerror}.") from error


def _entries(known: bytes, address: Address) -> Sequence[object]:
    import asyncssh  # noqa: PLC0415 - see the module

    keys, authorities, *_ = asyncssh.match_known_hosts(known, address.host, "", address.port)
    return [*keys, *authorities]


def _pattern(address: Address) -> str:
    return address.host if address.port == PORT else f"[{address.host}]:{address.port}"


def exported(environment: Mapping[str, str]) -> str:
    """Return lines of sh that set variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items()))
