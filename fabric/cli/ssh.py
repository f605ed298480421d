"""Other hosts by ssh: `container-create-ssh`, `-update-ssh-credentials` and `-connect`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fabric.cli.addressing import address_options, check_ports
from fabric.cli.context import CommandContext, command
from fabric.cli.creation import profile_options, say_created
from fabric.cli.waiting import progress
from fabric.errors import FabricError
from fabric.names import numbered_names

if TYPE_CHECKING:
    from fabric.records import ContainerRecord
    from fabric.ssh import Login, Remote, SshAccess, Trust
    from fabric.ssh_hosts import Plan, SshContainer

F = TypeVar("F", bound=Callable[..., Any])


class HostNotReached(FabricError):
    """The registry is where only this host reaches it."""

    def __init__(self, url: str, host: str) -> None:
        super().__init__(
            f"The registry is at {url}, which host {host} does not reach.",
            "Name it as that host reaches it with --zookeeper-url. "
            "A fabric that other hosts reach is created with --bind-address.",
        )


class NotBySsh(FabricError):
    """A container was not made by ssh."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Container {name} was not made by ssh.", "`fabric container-create-ssh` makes such containers."
        )


def login_options(*, short: bool = False) -> Callable[[F], F]:
    """Add the options with which one logs in to a host; handed over as a `GivenLogin`, `login`."""

    def decorate(function: F) -> F:
        def run(*arguments: Any, **given: Any) -> Any:  # noqa: ANN401 - click hands over what it parsed
            names = ("user", "password", "private_key", "pass_phrase", "known_hosts", "accept_host_key")
            login = GivenLogin(*(given.pop(f"ssh_{name}") for name in names))
            return function(*arguments, login=login, **given)

        run.__doc__, run.__name__ = function.__doc__, function.__name__
        user = ["-u", "--username"] if short else []
        password = ["-p"] if short else []
        options = [
            click.option(*user, "--user", "ssh_user", help="Who logs in; default: as kept, else this user."),
            click.option(
                *password,
                "--password",
                "ssh_password",
                envvar="FABRIC_SSH_PASSWORD",
                metavar="PASSWORD",
                help="The password; without one a private key counts.",
            ),
            click.option("--private-key", "ssh_private_key", metavar="FILE", help="Default: those of ssh."),
            click.option(
                "--pass-phrase", "ssh_pass_phrase", envvar="FABRIC_SSH_PASS_PHRASE", help="Of the key."
            ),
            click.option("--known-hosts", "ssh_known_hosts", metavar="FILE", help="Default: those of ssh."),
            click.option(
                "--accept-host-key",
                "ssh_accept_host_key",
                is_flag=True,
                help="Take the key of a host that is not known, and know it from now on.",
            ),
        ]
        wrapped: Any = run
        wrapped.__click_params__ = getattr(function, "__click_params__", [])
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]  # what decorates it returns it

    return decorate


@dataclass(frozen=True, slots=True)
class GivenLogin:
    """What the options of `login_options` gave."""

    user: str | None
    password: str | None
    private_key: str | None
    pass_phrase: str | None
    known_hosts: str | None
    accept_host_key: bool

    def login(self) -> Login:
        """Return how one logs in."""
        from fabric.ssh import Login  # noqa: PLC0415 - only when it is needed

        return Login(self.password, self.private_key, self.pass_phrase)

    def trust(self) -> Trust:
        """Return which hosts are known."""
        from pathlib import Path  # noqa: PLC0415 - only when it is needed

        from fabric.ssh import Trust  # noqa: PLC0415 - likewise

        if self.known_hosts:
            return Trust(Path(self.known_hosts).expanduser(), self.accept_host_key)
        return Trust(accept_new=self.accept_host_key)

    def access(self, container: SshContainer) -> SshAccess:
        """Return how the host of a container is reached."""
        return container.access(self.user, self.login(), self.trust())


@command(
    "container-create-ssh",
    examples=[
        "fabric container-create-ssh --host east.example.org --user mq --private-key ~/.ssh/id_ed25519 east",
        "fabric container-create-ssh --host 10.0.0.8 --accept-host-key --path /srv/fabric east",
        "fabric container-create-ssh --host 10.1.0.8 --proxy-uri ssh://mq@gate.example.org east",
    ],
)
@click.argument("name")
@click.argument("number", type=int, default=1)
@click.option("--host", required=True, help="Name or address of the host.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=22, show_default=True, help="Where it takes ssh."
)
@click.option("--path", default="~/containers/", show_default=True, help="Folder on the host.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="Variable of the container.")
@profile_options
@address_options(resolver="the fabric's, else the host's name", bind_address="on all addresses", ports="all")
@click.option(
    "--ssh-retries", type=click.IntRange(0), default=1, show_default=True, help="Attempts more than one."
)
@click.option("--proxy-uri", metavar="ssh://USER@HOST:PORT", default="", help="Host to go through.")
@click.option(
    "--disable-distribution-upload", is_flag=True, help="This software is installed there: upload nothing."
)
@click.option(
    "--fallback-repos",
    multiple=True,
    metavar="URL|FOLDER",
    help="Where pip on the host looks, too, for what this software needs.",
)
@login_options()
def container_create_ssh(
    context: CommandContext,
    name: str,
    number: int,
    login: GivenLogin,
    **given: Any,  # noqa: ANN401 - the options above
) -> None:
    """Make containers on another host, which is reached by ssh: the host joins the fabric.

    This software is uploaded and installed there, into a virtual environment of its own; the host needs
    Python 3.11. Each container is a root container. Several are called NAME, NAME2, NAME3 and so on.
    """
    from fabric.ssh import Address, SshAccess, own_name, run_remotely  # noqa: PLC0415 - only when it is needed

    check_ports(given["min_port"], given["max_port"])
    names = numbered_names(name, number, context.containers.names())
    plan = _plan(context, given)
    user = login.user or own_name()
    proxy = Address.parse(given["proxy_uri"], user) if given["proxy_uri"] else None
    address = Address(given["host"], user, given["port"])
    access = SshAccess(address, login.login(), proxy, login.trust(), given["ssh_retries"])
    made, failed = run_remotely(access, progress, lambda remote: _make(remote, plan, names))
    key = login.private_key or ""
    for one, home in made.items():
        kept = _kept(access, home, key)
        _note_made(context, one, kept)
    say_created(made, failed)


def _plan(context: CommandContext, given: dict[str, Any]) -> Plan:
    """What is wanted on the host; checked as far as that can be done here."""
    from fabric.addresses import first_server, is_loopback  # noqa: PLC0415 - only when it is needed
    from fabric.ssh_hosts import Plan, environment_of  # noqa: PLC0415 - likewise
    from fabric.wheel import build_wheel  # noqa: PLC0415 - likewise

    version = context.version_or_default(given["version"])
    profiles = given["profiles"] or ("default",)
    context.profiles.check_assignable(profiles, version)
    url = context.zookeeper_url
    if is_loopback(first_server(url)[0]) and not is_loopback(given["host"]):
        raise HostNotReached(url, given["host"])
    join = ["--version", version]
    for profile in profiles:
        join += ["--profile", profile]
    for option in ("resolver", "manual_ip", "bind_address", "min_port", "max_port"):
        if given[option] is not None:
            join += [f"--{option.replace('_', '-')}", str(given[option])]
    return Plan(
        path=given["path"],
        wheel=None if given["disable_distribution_upload"] else build_wheel(),
        zookeeper_url=url,
        zookeeper_password=context.zookeeper_password,
        channel=context.channel,
        join=join,
        environment=environment_of(given["environment"]),
        repositories=given["fallback_repos"],
    )


async def _make(remote: Remote, plan: Plan, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Make the containers; return their homes, and why others could not be made."""
    from fabric.ssh_hosts import HostWork  # noqa: PLC0415 - only when it is needed

    work = HostWork(remote, plan, progress)
    base, program = await work.prepare()
    made: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            made[name] = await work.join(base, program, name)
        except FabricError as error:
            failed[name] = str(error)
    return made, failed


def _kept(access: SshAccess, home: str, private_key: str) -> SshContainer:
    from pathlib import Path  # noqa: PLC0415 - only when it is needed

    from fabric.ssh_hosts import SshContainer  # noqa: PLC0415 - likewise

    address, proxy = access.address, access.proxy
    return SshContainer(
        host=address.host,
        user=address.user,
        port=address.port,
        home=home,
        private_key=str(Path(private_key).expanduser().absolute()) if private_key else "",
        proxy=f"ssh://{proxy.user}@{proxy.host}:{proxy.port}" if proxy else "",
    )


def _note_made(context: CommandContext, name: str, kept: SshContainer) -> None:
    """Write how the container was made, and by which address its host is reached from here."""
    from fabric.addresses import is_address, is_loopback  # noqa: PLC0415 - only when it is needed

    context.containers.set_field(name, "options", kept.serialize())
    if not is_loopback(kept.host):
        field = "publicip" if is_address(kept.host) else "publichostname"
        context.containers.set_field(name, field, kept.host)


@command(
    "container-update-ssh-credentials",
    examples=["fabric container-update-ssh-credentials --user mq --private-key ~/.ssh/id_ed25519 east"],
)
@click.argument("names", nargs=-1, required=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Where the host takes ssh; default: as before.")
@login_options()
def container_update_ssh_credentials(
    context: CommandContext, names: tuple[str, ...], port: int | None, login: GivenLogin
) -> None:
    """Say how the hosts of containers that were made by ssh are logged in to from now on.

    It is tried first. A user and the path of a private key are kept; passwords are not.
    """
    from fabric.ssh import run_remotely  # noqa: PLC0415 - only when it is needed

    for name in names:
        kept = ssh_container(context.containers.get(name))
        if port is not None:
            kept = replace(kept, port=port)
        access = login.access(kept)
        run_remotely(access, progress, lambda remote: remote.run("true"))
        changed = _kept(access, kept.home, login.private_key or kept.private_key)
        context.containers.set_field(name, "options", changed.serialize())
        click.echo(f"Container {name}: {access.address} lets us in.")
    if login.password is not None:
        click.echo("The password is not kept: give it with --password, or a private key.", err=True)


def ssh_container(record: ContainerRecord) -> SshContainer:
    """Return what is kept of a container that was made by ssh. Raises NotBySsh."""
    from fabric.ssh_hosts import SshContainer  # noqa: PLC0415 - only when it is needed

    kept = SshContainer.of(record)
    if kept is None:
        raise NotBySsh(record.id)
    return kept


def start_by_ssh(record: ContainerRecord, login: GivenLogin) -> bool:
    """Start a root container that is down on its host, if it was made by ssh; return whether it was.

    Raises:
        SshError: the host cannot be reached, or the container does not start.
    """
    from fabric.ssh import run_remotely  # noqa: PLC0415 - only when it is needed
    from fabric.ssh_hosts import SshContainer, start_there  # noqa: PLC0415 - likewise

    kept = SshContainer.of(record)
    if kept is None or record.connected:
        return False
    run_remotely(login.access(kept), progress, lambda remote: start_there(remote, kept, record.id))
    return True


def delete_by_ssh(record: ContainerRecord, login: GivenLogin) -> bool:
    """Have the host of a container that was made by ssh leave the fabric; return whether it was made so.

    Raises:
        SshError: the host cannot be reached, or does not leave.
    """
    from fabric.ssh import run_remotely  # noqa: PLC0415 - only when it is needed
    from fabric.ssh_hosts import SshContainer, leave_there  # noqa: PLC0415 - likewise

    kept = SshContainer.of(record)
    if kept is None:
        return False
    run_remotely(login.access(kept), progress, lambda remote: leave_there(remote, kept))
    return True


@command(
    "container-connect",
    examples=[
        "fabric container-connect east",
        "fabric container-connect east fabric container-logs broker2",
        "fabric container-connect east -- fabric container-logs broker2 -n 20",
    ],
)
@click.argument("name", metavar="CONTAINER")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@login_options(short=True)
def container_connect(context: CommandContext, name: str, words: tuple[str, ...], login: GivenLogin) -> None:
    """Open a shell on a container's host by ssh, or run COMMAND there; its exit code is this command's.

    On a host that was made by ssh, `fabric` is on the PATH and talks for the host's own container.
    """
    record = context.containers.get(name)
    root = record if record.parent is None else context.containers.get(record.parent)
    access, setting = _connection(root, login)
    if not words:
        _open_shell(access, setting)
    script = f"{setting}{shlex.join(words)}"
    sys.exit(_pass_through(access, f"sh -c {shlex.quote(script)}"))


def _connection(root: ContainerRecord, login: GivenLogin) -> tuple[SshAccess, str]:
    """How the host of a root container is reached, and what is set there first."""
    from fabric.ssh import Address, SshAccess, exported, own_name  # noqa: PLC0415 - only when it is needed
    from fabric.ssh_hosts import SshContainer  # noqa: PLC0415 - likewise

    kept = SshContainer.of(root)
    if kept is not None:
        setting = (
            exported({"FABRIC_HOME": kept.home}) + f'PATH={shlex.quote(kept.home)}:"$PATH"; export PATH\n'
        )
        return login.access(kept), setting
    address = Address(root.host or "localhost", login.user or own_name())
    return SshAccess(address, login.login(), None, login.trust()), ""


def _pass_through(access: SshAccess, script: str) -> int:
    from fabric.ssh import run_remotely  # noqa: PLC0415 - only when it is needed

    def write(chunk: bytes, is_error: bool) -> None:
        click.echo(chunk, nl=False, err=is_error)

    return int(run_remotely(access, progress, lambda remote: remote.pass_through(script, write)))


def _open_shell(access: SshAccess, setting: str) -> None:
    """Become the ssh of this host, which knows terminals."""
    program = shutil.which("ssh")
    if program is None:
        raise FabricError("There is no ssh on this host.", "Install it, or name a command to be run there.")
    address, trust = access.address, access.trust
    arguments = [program, "-t", "-p", str(address.port), "-o", f"UserKnownHostsFile={trust.known_hosts}"]
    if trust.accept_new:
        arguments += ["-o", "StrictHostKeyChecking=accept-new"]
    if access.login.private_key:
        arguments += ["-i", access.login.private_key]
    if access.proxy is not None:
        arguments += ["-J", f"{access.proxy.user}@{access.proxy.host}:{access.proxy.port}"]
    shell = f'{setting}exec "${{SHELL:-sh}}" -i'
    sys.stdout.flush()
    os.execv(program, [*arguments, f"{address.user}@{address.host}", f"sh -c {shlex.quote(shell)}"])  # nosec B606  # noqa: S606 - no shell here
