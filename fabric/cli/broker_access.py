"""What commands that ask a broker have in common: which one, as whom, and how they wait.

A command is written as

```python
@command("queue-list", examples=["fabric queue-list"])
@broker_options
def queue_list(context: CommandContext, broker: BrokerAccess, …) -> None:
    for queue in broker.items("queues"):
        …
```
"""

from __future__ import annotations

import datetime
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from fabric.cli.asking import ask_secret
from fabric.cli.context import CommandContext
from fabric.cli.output import print_drawing, render
from fabric.errors import BrokerError
from fabric.table import Table
from registry.errors import RegistryUnavailable

if TYPE_CHECKING:
    from fabric.brokers import BrokerClient

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_GROUP: Final = "default"
DEFAULT_USER: Final = "admin"
WATCH_S: Final = 2.0
"""How often `--watch` asks a broker again."""
_CLEAR_LINE: Final = "\r\x1b[K"


class BrokerAccess:
    """The broker that a command talks to; connected to when it is first asked.

    Attributes:
        group: of the broker.
    """

    def __init__(
        self,
        context: CommandContext,
        group: str,
        name: str | None,
        *,
        user: str,
        password: str | None,
        timeout_s: float,
    ) -> None:
        self.group = group
        self._context = context
        self._name = name
        self._user = user
        self._password = password
        self._timeout_s = timeout_s
        self._client: BrokerClient | None = None

    @property
    def password(self) -> str:
        """The user's password: as given, or asked for on the terminal."""
        if self._password is None:
            self._password = ask_secret(
                f"Password of {self._user}",
                f"The password of user {self._user} is missing: give it with --password or in the "
                "environment as FABRIC_PASSWORD.",
            )
        return self._password

    @property
    def client(self) -> BrokerClient:
        """The connection to the broker's master.

        Raises:
            BrokerError: there is none, or it does not let us in.
        """
        if self._client is None:
            from fabric import brokers  # noqa: PLC0415 - only those that ask

            row = brokers.find_broker(
                brokers.broker_rows(self._context.session, self.group), self.group, self._name
            )
            login = brokers.Login(self._user, self.password)
            authority = self._context.home.authority_certificate
            self._client = brokers.BrokerClient(
                row.id,
                brokers.url_of(row),
                login,
                answer_s=self._timeout_s,
                trust_store=str(authority) if authority.exists() else "",
            )
        return self._client

    def ask(self, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """See `BrokerClient.ask`."""
        return self.client.ask(operation, **arguments)

    def items(self, operation: str, count: int = 0, **arguments: object) -> Iterator[dict[str, Any]]:
        """See `BrokerClient.items`."""
        return self.client.items(operation, count, **arguments)

    def change(self, doing: str, operation: str, **arguments: object) -> dict[str, Any]:
        """Have something changed, and show people how far it is.

        Args:
            doing: what, such as `purged`.
            operation: its name.
            arguments: of the operation; those that are None are left out.

        Returns:
            The job.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        shown = False

        def show(job: dict[str, Any]) -> None:
            nonlocal shown
            shown = True
            text = f"{job['changed']:,} {doing}, {job['looked_at']:,} of {job['total']:,} looked at"
            click.echo(f"{_CLEAR_LINE}{text}", err=True, nl=False)

        try:
            job = self.client.change(operation, show if sys.stderr.isatty() else None, None, **given)
        finally:
            if shown:
                click.echo(_CLEAR_LINE, err=True, nl=False)
        return job

    def close(self) -> None:
        """Leave the broker; the next question connects again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def show(self, draw: Callable[[], str], *, watch: bool) -> None:
        """Print what `draw` asks the broker for, once or, with `watch`, whenever it is something else."""
        show(draw, watch=watch, when_lost=self.close)

    def show_records(
        self,
        records: Callable[[], Iterable[dict[str, Any]]],
        table: Callable[[list[dict[str, Any]]], Table],
        *,
        output: str,
        watch: bool,
    ) -> None:
        """Print what `records` asks the broker for, as `output` says; see `show`."""

        def draw() -> str:
            found = list(records())
            return render(output, found, lambda: table(found))

        self.show(draw, watch=watch)


def show(draw: Callable[[], str], *, watch: bool, when_lost: Callable[[], None] = lambda: None) -> None:
    """Print what `draw` returns, once or, with `watch`, now and whenever it is something else, until Ctrl-C.

    While it is watched, what cannot be asked since the master is changing is said, and asked again.
    """
    if not watch:
        click.echo(draw())
        return
    pause = threading.Event()
    shown: str | None = None
    while True:
        try:
            text = draw()
        except BrokerError as error:
            when_lost()
            text = f"{error.what} Waiting for it."
        except RegistryUnavailable as error:
            text = f"{error} Waiting for it."
        if text != shown:
            print_drawing(text)
            shown = text
        pause.wait(WATCH_S)


def login_options(function: F) -> F:
    """Add `--user`, `--password` and `--timeout`."""
    for option in (
        click.option(
            "--timeout",
            type=click.FloatRange(min=0.1),
            default=30.0,
            show_default=True,
            metavar="S",
            help="How long the broker may be silent.",
        ),
        click.option(
            "--password",
            envvar="FABRIC_PASSWORD",
            metavar="PASSWORD",
            help="His password; default: asked for.",
        ),
        click.option(
            "--user",
            envvar="FABRIC_USER",
            default=DEFAULT_USER,
            show_default=True,
            help="User with the role admin.",
        ),
    ):
        function = option(function)
    return function


def broker_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which broker and as whom; hand over a `BrokerAccess` behind the context."""

    @functools.wraps(function)
    def run(
        context: CommandContext,
        *,
        group: str,
        broker: str | None,
        user: str,
        password: str | None,
        timeout: float,
        **arguments: Any,  # noqa: ANN401 - the command's own
    ) -> None:
        access = BrokerAccess(context, group, broker, user=user, password=password, timeout_s=timeout)
        try:
            function(context, access, **arguments)
        finally:
            access.close()

    found: Callable[..., None] = login_options(run)
    found = click.option(
        "--broker", metavar="NAME", help="Broker of the group; default: the only one it has."
    )(found)
    return click.option("--group", default=DEFAULT_GROUP, show_default=True, help="Group of the broker.")(
        found
    )


limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many."
)


def yes_option(function: F) -> F:
    """Add `--yes`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask whether that is meant.")(function)


def confirm(question: str, *, yes: bool) -> None:
    """Ask whether something that cannot be undone is meant; without a terminal `--yes` must say so."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say that this is meant with --yes.")
    click.confirm(question, abort=True)


def moment(milliseconds: int) -> str:
    """A time as people here read it; empty for none."""
    if not milliseconds:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(milliseconds / 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
