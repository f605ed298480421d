"""What every command of `fabric` starts from: the home, the connection to the registry, the stores.

A command is written as

```python
@command("container-stop", examples=["fabric container-stop brokercontainer"])
@click.argument("names", nargs=-1, required=True)
def container_stop(context: CommandContext, names: tuple[str, ...]) -> None:
    …
```

(its docstring is its help) and gets the options `--home`, `--zookeeper-url` and `--zookeeper-password`
besides its own, and, without showing them in its help, those that say how ZooKeeper is talked to.
A command that has an option of one of these names itself keeps its own.
"""

import contextlib
import os
import pwd
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabric.cli import audited
from fabric.cli.asking import ask_secret
from fabric.cli.channel import channel_of, channel_options
from fabric.errors import NoFabric
from fabric.home import Home, default_home, master_key_file
from registry.channel import PLAIN, ChannelSettings

if TYPE_CHECKING:
    from fabric.home import RegistryAddress
    from fabric.store import ContainerStore, ProfileStore
    from registry.session import Session

CONNECT_TIMEOUT_S = 10.0
"""How long a command waits for ZooKeeper: long enough for an ensemble that is electing its leader."""


ONLY_TLS = ChannelSettings(tls=True)

CONNECT_NOTICE_S = 1.0
"""After this time a command says what it waits for."""


class CommandContext:
    """One run of one command: where its fabric is, and the session to it, made when it is first used."""

    def __init__(
        self,
        home: Path,
        zookeeper_url: str | None = None,
        zookeeper_password: str | None = None,
        channel: Mapping[str, Any] | None = None,
    ) -> None:
        self.home_path = home
        self._given_channel = channel or {}
        self._url = zookeeper_url
        self._password = zookeeper_password
        self._connect_timeout_s = CONNECT_TIMEOUT_S
        self._opened: Session | None = None

    def join(self, zookeeper_url: str, zookeeper_password: str | None, timeout_s: float) -> None:
        """Talk to the fabric there, and wait so long for it; before the first use of `session`."""
        self._url, self._password = zookeeper_url, zookeeper_password
        self._connect_timeout_s = timeout_s

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the command."""
        return os.environ

    @cached_property
    def home(self) -> Home:
        """The fabric's files on this host."""
        return Home(self.home_path, master_key_file(os.environ))

    @cached_property
    def _address(self) -> "RegistryAddress | None":
        return self.home.read_registry_address() if self.home.has_fabric() else None

    @property
    def zookeeper_url(self) -> str:
        """The ensemble's address.

        Raises:
            NoFabric: none is given and none is written in the home.
        """
        if self._url:
            return self._url
        if self._address is None:
            raise NoFabric(self.home_path)
        return self._address.zookeeper_url

    @property
    def zookeeper_password(self) -> str:
        """The ensemble's password: as given, as written in the home, or asked for on the terminal."""
        if self._password is None and self._address is not None:
            return self._address.zookeeper_password
        return self.given_password()

    def given_password(self) -> str:
        """The ensemble's password as given or asked for on the terminal, whatever is written in the home."""
        if self._password is not None:
            return self._password
        self._password = ask_secret(
            "Ensemble password",
            "The password of ZooKeeper is missing: give it with --zookeeper-password "
            "or in the environment as ZOOKEEPER_PASSWORD.",
        )
        return self._password

    @cached_property
    def given_channel(self) -> ChannelSettings | None:
        """How the ensemble is to be talked to, as the command line says it; None if it says nothing."""
        return channel_of(self._given_channel, self._kept_password)

    def _kept_password(self, user: str) -> str:
        """What the home knows of a user's login to the same ensemble; empty: nothing."""
        address = self.home.read_registry_address() if self.home.has_fabric() else None
        if address is None or self._url not in (None, address.zookeeper_url):
            return ""
        return address.channel.sasl_password if address.channel.sasl_user == user else ""

    @property
    def channel(self) -> ChannelSettings:
        """How the ensemble is talked to: as given, or as written in the home for that ensemble."""
        given, address = self.given_channel, self._address
        if address is None or self.zookeeper_url != address.zookeeper_url:
            return given or PLAIN
        if given is None or (given == ONLY_TLS and address.channel.tls):
            return address.channel  # which says more
        return given

    @property
    def current_container(self) -> str | None:
        """The container commands mean when none is named: this host's root container, if it has one."""
        return self.home.read_root_name()

    @cached_property
    def session(self) -> "Session":
        """The session to the registry; it is closed when the command ends.

        Raises:
            NoFabric: there is no fabric to connect to.
            RegistryDown: this host would have to run its ZooKeeper and does not.
            RegistryError: ZooKeeper cannot be reached, or refuses the password.
        """
        url, password = self.zookeeper_url, self.zookeeper_password
        if self._address is not None and url == self._address.zookeeper_url:
            from fabric.local import check_own_registry  # noqa: PLC0415 - only those that connect need it

            check_own_registry(self.home, url)
        from registry.session import Session  # noqa: PLC0415 - kazoo takes long to import

        session = Session(url, password, channel=self.channel)
        self._opened = session
        timeout_s = self._connect_timeout_s
        with _notice(f"Connecting to ZooKeeper at {url}; this takes {timeout_s:g} s at most."):
            session.start(timeout_s=timeout_s)
        session.follow_password()
        if session.password != password:  # it is being changed
            self.note_registry_password(session.password)
        return session

    @property
    def opened_session(self) -> "Session | None":
        """The session, if the command has opened it."""
        return self._opened

    def note_registry_url(self, url: str) -> None:
        """The ensemble is found there now: what this host knows of the same fabric is brought up to date."""
        if self._address is not None and self.zookeeper_url == self._address.zookeeper_url:
            self.home.change_registry_address(zookeeper_url=url)

    def note_registry_password(self, password: str) -> None:
        """This is the ensemble's password now: this host notes it, if the command has used what it knew."""
        noted = self._address
        if (
            noted is not None
            and noted.zookeeper_url == self.zookeeper_url
            and noted.zookeeper_password == self.zookeeper_password
        ):
            self.home.change_registry_address(zookeeper_password=password)

    @cached_property
    def profiles(self) -> "ProfileStore":
        """Profiles, versions and requirements."""
        from fabric.store import ProfileStore  # noqa: PLC0415 - see session

        return ProfileStore(self.session, author=_login_name())

    @cached_property
    def containers(self) -> "ContainerStore":
        """Containers: what they are asked to be and what they are."""
        from fabric.store import ContainerStore  # noqa: PLC0415 - see session

        return ContainerStore(self.session)

    def version_or_default(self, version: str | None) -> str:
        """The version a command works on: the one named, which must exist, or the default one."""
        return self.profiles.known_version(version) if version else self.profiles.default_version()

    def close(self) -> None:
        """End the session, if there is one."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _login_name() -> str:
    """Who the history of profiles says changed them: the user of this host."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


@contextlib.contextmanager
def _notice(text: str) -> Iterator[None]:
    """Say what takes so long, if it takes long."""
    timer = threading.Timer(CONNECT_NOTICE_S, click.echo, (text,), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


CommandFunction = Callable[..., None]


def connection_options() -> list[click.Option]:
    """The options that say which fabric a command talks to; each command and `fabric` itself take them."""
    return [
        click.Option(
            ["--home", "home"],
            envvar="FABRIC_HOME",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the fabric on this host; default ~/.local/share/fabric.",
        ),
        click.Option(
            ["--zookeeper-url", "zookeeper_url"],
            envvar="ZOOKEEPER_URL",
            metavar="HOST:PORT,…",
            help="ZooKeeper of a fabric on another host; default: as written in the home.",
        ),
        click.Option(
            ["--zookeeper-password", "zookeeper_password"],
            envvar="ZOOKEEPER_PASSWORD",
            metavar="PASSWORD",
            help="Its password; default: as written in the home, else asked for.",
        ),
    ]


def console_options() -> list[click.Option]:
    """The options of `fabric` itself that have a console elsewhere run the command."""
    return [
        click.Option(
            ["--url", "url"],
            envvar="FABRIC_URL",
            metavar="URL",
            help="Console that runs the command, https://host:8181; default: it runs here.",
        ),
        click.Option(
            ["--token", "token"],
            envvar="FABRIC_TOKEN",
            metavar="TOKEN",
            help="Token for that console, made on its page Account.",
        ),
        click.Option(["--user", "user"], envvar="FABRIC_USER", help="User of that console, without a token."),
        click.Option(
            ["--password", "password"],
            envvar="FABRIC_PASSWORD",
            metavar="PASSWORD",
            help="His password; default: asked for.",
        ),
        click.Option(
            ["--ca", "ca"],
            envvar="FABRIC_CA",
            metavar="FILE",
            help="PEM file of who signs that console's certificate; default: whom this system trusts.",
        ),
    ]


def command(
    name: str, *, examples: Sequence[str], shows_channel: bool = False
) -> Callable[[CommandFunction], click.Command]:
    """Make a command of a function that takes a `CommandContext` first.

    Args:
        name: As typed by the user.
        examples: Complete command lines, shown under the help text.
        shows_channel: Whether its help shows how ZooKeeper may be talked to.
    """

    def decorate(function: CommandFunction) -> click.Command:
        own: set[str | None] = {option.name for option in getattr(function, "__click_params__", [])}
        common = [*connection_options(), *channel_options(hidden=not shows_channel)]
        added = [option for option in common if option.name not in own]

        def run(**arguments: Any) -> None:  # noqa: ANN401 - click hands over what it parsed
            given = {str(option.name): arguments.pop(str(option.name)) for option in added}
            context = _command_context(given)
            try:
                function(context, **arguments)
            except BaseException as error:
                audited.write_down(context, name, _login_name(), error)
                raise
            else:
                audited.write_down(context, name, _login_name(), None)
            finally:
                context.close()

        update_wrapper(run, function)
        made = click.command(name, epilog=_epilog(examples))(run)
        made.params.extend(added)
        return made

    return decorate


def _command_context(given: dict[str, Any]) -> CommandContext:
    """What was given behind the command's name goes before what was given to `fabric` or the environment."""
    root = click.get_current_context().find_root()
    common: dict[str, Any] = root.obj if isinstance(root.obj, dict) else {}
    chosen = {**common, **{name: value for name, value in given.items() if value is not None}}
    home = chosen.get("home")
    return CommandContext(
        home if home is not None else default_home(os.environ),
        chosen.get("zookeeper_url"),
        chosen.get("zookeeper_password"),
        chosen,
    )


def _epilog(examples: Sequence[str]) -> str:
    lines = "\n".join(f"  {example}" for example in examples)
    return f"\b\nExamples:\n{lines}"
