"""`ensemble-password` and `ensemble-security`: what the registry asks of who comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.cli.waiting import MS_PER_S, progress
from fabric.errors import FabricError
from fabric.names import enumerated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabric.password_change import PasswordChange, Standing
    from registry.session import Session

NOTE_TIMEOUT_S = 10.0
FROM_INPUT = "-"
COMMIT = "fabric ensemble-password --commit"


@command(
    "ensemble-password",
    examples=[
        "fabric ensemble-password",
        "fabric ensemble-password correct-horse-battery",
        "fabric ensemble-password - < file-with-the-new-password",
        "fabric ensemble-password --commit",
        "fabric ensemble-password --note",
    ],
)
@click.argument("new_password", metavar="[NEW]", default="")
@click.option("-c", "--commit", is_flag=True, help="Let the new password be the only one.")
@click.option("-f", "--force", is_flag=True, help="With --commit: shut out containers that do not know it.")
@click.option("--note", is_flag=True, help="Note the password for this host, which was away meanwhile.")
@click.option(
    "--timeout",
    type=click.IntRange(0),
    default=60_000,
    show_default=True,
    metavar="MS",
    help="How long containers are waited for, in milliseconds.",
)
@output_option
def ensemble_password(context: CommandContext, /, **given: Any) -> None:  # noqa: ANN401 - the options above
    """Show the password of the registry, or change it in two steps.

    With NEW both passwords open the registry from then on, and the containers change to the new one; nobody
    is disturbed. Give it to your clients, too; then --commit ends the earlier one. NEW may be - to be
    asked for it, or to read it from the standard input.
    """
    new, commit, timeout_s = given["new_password"], given["commit"], given["timeout"] / MS_PER_S
    if sum((bool(new), commit, given["note"])) > 1:
        raise click.UsageError("NEW, --commit and --note are given one at a time.")
    if given["force"] and not commit:
        raise click.UsageError("--force goes with --commit.")
    if given["note"]:
        _note(context)
    elif commit:
        _commit(context, given["force"], timeout_s)
    elif new:
        _begin(context, _asked() if new == FROM_INPUT else new, timeout_s)
    else:
        _show(context, given["output"])


def _change(context: CommandContext) -> PasswordChange:
    from fabric.password_change import PasswordChange  # noqa: PLC0415 - starts faster

    return PasswordChange(context.session, context.containers, progress)


def _asked() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("New password of the ensemble", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _show(context: CommandContext, output: str) -> None:
    change = _change(context)
    password, is_open, standing = context.session.password, change.is_open, change.standing()
    record = {
        "password": password,
        "is_changing": is_open,
        "taken": list(standing.taken),
        "waiting": list(standing.waiting),
        "away": list(standing.away),
    }

    def text() -> str:
        if is_open:
            _say_open(standing)
        return password

    print_records(output, record, text)


def _say_open(standing: Standing) -> None:
    click.echo("The earlier password is accepted too, until it is ended.", err=True)
    if standing.waiting:
        click.echo(
            f"Connected containers that do not know the new one yet: {enumerated(standing.waiting)}", err=True
        )
    if standing.away:
        click.echo(f"Containers on hosts that do not know it: {enumerated(standing.away)}", err=True)


def _begin(context: CommandContext, new: str, timeout_s: float) -> None:
    change = _change(context)
    click.echo("Updating the password...")
    try:
        standing = change.begin(new, timeout_s)
    except KeyboardInterrupt:
        click.echo("\nThe change is not complete. Give the same command again to complete it.", err=True)
        raise
    context.note_registry_password(new)
    if standing.waiting:
        raise FabricError(
            f"Both passwords are accepted, but these containers do not know the new one yet: "
            f"{enumerated(standing.waiting)}.",
            "They take it over by themselves when they can: see `fabric container-logs NAME`, "
            "then give the same command again.",
        )
    click.echo(f"Both passwords are accepted. The new one is used by: {enumerated(standing.taken)}.")
    if standing.away:
        click.echo(
            f"Not connected, on hosts that do not know it: {enumerated(standing.away)}. "
            "Start them before the next step, or type there after it: fabric ensemble-password --note"
        )
    click.echo(f"Once all containers and clients use the new one: {COMMIT}")


def _commit(context: CommandContext, force: bool, timeout_s: float) -> None:
    change = _change(context)
    was_open = change.is_open
    try:
        standing = change.commit(force=force, timeout_s=timeout_s)
    except KeyboardInterrupt:
        click.echo(f"\nThe change is not complete. Give the command again: {COMMIT}", err=True)
        raise
    context.note_registry_password(context.session.password)
    if standing.waiting and not force:
        raise FabricError(
            "The earlier password is not accepted any more, but these containers did not say that they know: "
            f"{enumerated(standing.waiting)}. What they made meanwhile may open to it.",
            f"See `fabric container-logs NAME`, then give the command again: {COMMIT}",
        )
    click.echo(
        "The earlier password is not accepted any more."
        if was_open
        else "No change is under way any more: every znode opens to the present password alone."
    )


def _note(context: CommandContext) -> None:
    password = context.given_password()
    context.join(context.zookeeper_url, password, NOTE_TIMEOUT_S)
    used = context.session.password
    context.home.change_registry_address(zookeeper_password=used)
    click.echo("The password is noted for this host. Its containers go on within some seconds.")


@command("ensemble-security", examples=["fabric ensemble-security", "fabric ensemble-security --enable-sasl"])
@click.option("--enable-sasl", is_flag=True, help="Have the servers prove to each other who they are.")
@click.option("--disable-sasl", is_flag=True, help="Have them do without.")
@output_option
def ensemble_security(context: CommandContext, enable_sasl: bool, disable_sasl: bool, output: str) -> None:
    """Show whether the servers of the ensemble prove to each other who they are (SASL).

    The servers that a fabric runs always do.
    """
    if enable_sasl and disable_sasl:
        raise click.UsageError("--enable-sasl and --disable-sasl are given one at a time.")
    members = context.containers.ensemble_members()
    if not members and (enable_sasl or disable_sasl):
        raise FabricError(
            "The fabric does not run its ensemble itself.",
            f"How the servers of {context.session.url} know each other is set where they are looked after.",
        )
    if disable_sasl:
        raise FabricError(
            "SASL stays enabled: without it whoever reaches the servers' own ports could become one of them.",
            "Nothing has to be configured for it: the fabric makes and keeps the servers' secret.",
        )
    sasl = sasl_state(context.session, members)
    adverb = "already" if enable_sasl else "currently"
    text = f"SASL/DIGEST-MD5 mutual peer authentication is {adverb} {sasl}"
    print_records(output, {"sasl": sasl, "containers": members}, lambda: text)


def sasl_state(session: Session, members: Sequence[str]) -> str:
    """Whether the servers of an ensemble prove to each other who they are: `enabled`, `disabled`, `unknown`.

    Args:
        session: With the registry.
        members: The containers that run its servers; none for an ensemble that is others'.
    """
    from registry.ensemble import servers_of  # noqa: PLC0415 - starts faster

    if not members:
        return "unknown"
    return "enabled" if servers_of(session) else "disabled"


def sasl_line(state: str) -> str:
    """Return what people read of it."""
    why = {
        "unknown": " (the ensemble is not this fabric's own)",
        "disabled": " (the one server stands alone: an earlier release has started it)",
    }
    return f"SASL between servers: {state}{why.get(state, '')}"
