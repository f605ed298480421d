"""What the audit log says of a command: who typed it, what it was without its secrets, how it ended."""

from __future__ import annotations

import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from fabric.cli.context import CommandContext
    from registry.session import Session

READS: Final = frozenset(
    {
        "audit-list", "broker-list", "cluster-list", "connection-list", "container-info", "container-list",
        "container-logs", "container-resolver-list", "crypt-list", "doctor", "encrypt-message",
        "ensemble-list", "ensemble-security", "ensemble-summary", "gateway-list", "info", "log-get",
        "profile-display", "profile-list", "queue-browse", "queue-list", "require-profile-list",
        "schedule-list", "status", "subscription-list", "takeover-list", "token-list", "topic-list",
        "transaction-list", "user-list", "version-list", "wait-for-provisioning", "zk-get", "zk-list",
    }
)  # fmt: skip
"""Commands that change nothing: they are not written down. Every other one is."""
HIDDEN: Final = frozenset({"message", "data", "passphrase", "token_secret"})
"""Arguments and options whose values may be secret, beside those that are called so."""
HIDDEN_VALUE: Final = "…"


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a console runs a command.

    Attributes:
        user, role: his.
        source: his address, and the token he has shown.
    """

    user: str
    role: str
    source: str


ASKER: Final[ContextVar[Asker | None]] = ContextVar("asker", default=None)
"""Set by `fabric.cli.served`; None: somebody has typed the command on this host."""


def described(context: click.Context) -> str:
    """A command line without its secrets."""
    from fabric.encrypted import is_secret_name  # noqa: PLC0415 - commands that only look do without
    from fabric.web.secret_znodes import without_secrets  # noqa: PLC0415 - likewise

    said = [str(context.info_name)]
    for param in context.command.params:
        name = str(param.name)
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        option = max(param.opts, key=len) if isinstance(param, click.Option) else ""
        hidden = name in HIDDEN or is_secret_name(name)
        for value in _values(context.params.get(name, HIDDEN_VALUE if hidden else ())):
            shown = HIDDEN_VALUE if hidden and value is not True else without_secrets(str(value))
            said.append(option if value is True else f"{option}={shown}" if option else shown)
    return " ".join(said)


def _values(value: Any) -> list[Any]:  # noqa: ANN401 - click's
    return list(value) if isinstance(value, list | tuple) else [value]


def outcome(error: BaseException | None) -> str:
    """How a command ended, in words."""
    if error is None:
        return "done"
    if isinstance(error, click.exceptions.Exit):
        return "done" if error.exit_code == 0 else f"exit code {error.exit_code}"
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "stopped"
    what = getattr(error, "what", "") or getattr(error, "message", "") or str(error) or type(error).__name__
    return f"failed: {what}"


def write_down(context: CommandContext, name: str, login: str, error: BaseException | None) -> None:
    """Write a command to the audit log, unless it changes nothing; says so if that is not possible."""
    if name in READS:
        return
    from fabric.audit import AuditEntry, write_entry  # noqa: PLC0415 - commands that only look do without

    host = socket.gethostname()
    asker = ASKER.get() or Asker(login, "ensemble", f"{login}@{host}")
    action = described(click.get_current_context())
    entry = AuditEntry(
        at_ms=int(time.time() * 1000),
        user=asker.user,
        role=asker.role,
        origin="command",
        source=asker.source,
        action=action,
        result=outcome(error),
        host=host,
    )
    home = context.home
    has_log = home.has_fabric() or home.audit_log.exists()  # a host without a fabric is left as it is
    for problem in write_entry(_session_with_fabric(context), home.audit_log if has_log else None, entry):
        click.echo(problem, err=True)


def _session_with_fabric(context: CommandContext) -> Session | None:
    """The command's session, unless it has found no fabric: nothing is written into others' ensembles."""
    from registry import paths  # noqa: PLC0415 - commands that only look do without
    from registry.errors import RegistryError  # noqa: PLC0415 - likewise

    session = context.opened_session
    if session is None or session.state.value != "connected":
        return None  # nobody waits for a ZooKeeper that is away
    try:
        return session if session.exists(paths.ROOT) else None
    except RegistryError:
        return None
