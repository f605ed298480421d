"""`ensemble-…`: the servers of the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.ensemble_access import sasl_line, sasl_state
from fabric.cli.output import output_option, print_records
from fabric.cli.waiting import MS_PER_S, progress
from fabric.errors import FabricError

if TYPE_CHECKING:
    from fabric.ensembles import Ensemble


@command("ensemble-list", examples=["fabric ensemble-list", "fabric ensemble-list --output json"])
@output_option
def ensemble_list(context: CommandContext, output: str) -> None:
    """List the containers that run a server of the ensemble."""
    from fabric.ensembles import ensemble_records, ensemble_table  # noqa: PLC0415 - starts faster

    with _quorum_explained(context):
        ensemble = _ensemble(context)
        members = ensemble.members()
        if output == "table":
            click.echo(str(ensemble_table(members)))
            return
        print_records(output, ensemble_records(ensemble), lambda: ensemble_table(members))


@command("ensemble-summary", examples=["fabric ensemble-summary"])
@output_option
def ensemble_summary(context: CommandContext, output: str) -> None:
    """Show where the ensemble is and who runs it, and how each of its servers is."""
    from fabric.ensemble_health import look_at  # noqa: PLC0415 - starts faster

    with _quorum_explained(context):
        ensemble = _ensemble(context)
        url, members = ensemble.url, ensemble.members()
        sasl = sasl_state(context.session, members)
        channel = context.session.channel
    servers = look_at(url, channel)
    record = {
        "url": url,
        "tls": channel.tls,
        "sasl_user": channel.sasl_user,
        "containers": members,
        "sasl": sasl,
        "servers": [{"address": one.address, "mode": one.mode, "problem": one.problem} for one in servers],
    }

    def text() -> str:
        secured = f"TLS: {'yes' if channel.tls else 'no'}, SASL: {channel.sasl_user or 'no'}"
        lines = [
            f"Ensemble URL: {url}",
            f"Connection: {secured}",
            f"Ensemble containers: {' '.join(members) or 'none of this fabric'}",
        ]
        lines += [f"Server {one.address}: {one.mode or one.problem}" for one in servers]
        lines.append(sasl_line(sasl))
        return "\n".join(lines)

    print_records(output, record, text)


_force = click.option("-f", "--force", is_flag=True, help="Do not ask.")
_timeout = click.option(
    "--migration-timeout",
    type=click.IntRange(1000),
    default=120_000,
    show_default=True,
    help="How long the change may take, ms; what did not work by then is undone.",
)


@command(
    "ensemble-add",
    examples=["fabric ensemble-add east west", "fabric ensemble-add --force --migration-timeout 30000 a b"],
)
@click.argument("containers", nargs=-1, required=True)
@_force
@_timeout
def ensemble_add(
    context: CommandContext, containers: tuple[str, ...], force: bool, migration_timeout: int
) -> None:
    """Have containers run a server of the ensemble each.

    Nobody is disturbed: the servers copy the registry and follow, and then get their votes in one step.
    """
    _change(context, containers, (), force, migration_timeout)


@command("ensemble-create", examples=["fabric ensemble-create root east west"])
@click.argument("containers", nargs=-1, required=True)
@_force
@_timeout
def ensemble_create(
    context: CommandContext, containers: tuple[str, ...], force: bool, migration_timeout: int
) -> None:
    """Have exactly these containers run the ensemble: servers are added and removed as needed."""
    with _quorum_explained(context):
        members = _ensemble(context).members()
    joining = tuple(name for name in containers if name not in members)
    leaving = tuple(name for name in members if name not in containers)
    if not joining and not leaving:
        click.echo(f"These containers are the ensemble already: {', '.join(members)}.")
        return
    _change(context, joining, leaving, force, migration_timeout)


@command("ensemble-remove", examples=["fabric ensemble-remove east west"])
@click.argument("containers", nargs=-1, required=True)
@_force
@_timeout
def ensemble_remove(
    context: CommandContext, containers: tuple[str, ...], force: bool, migration_timeout: int
) -> None:
    """Have containers run no server of the ensemble any more.

    Clients are told first where the others are; sessions move there and live on.
    """
    _change(context, (), containers, force, migration_timeout)


def _change(
    context: CommandContext, joining: tuple[str, ...], leaving: tuple[str, ...], force: bool, timeout_ms: int
) -> None:
    with _quorum_explained(context):
        ensemble = _ensemble(context)
        ensemble.check(joining, leaving)
        _confirm(force)
        try:
            url = ensemble.change(joining, leaving, timeout_ms / MS_PER_S)
        except KeyboardInterrupt:
            click.echo("\nThe change is not complete. Give the same command again to complete it.", err=True)
            raise
    click.echo(f"Updated Zookeeper connection string: {url}")
    context.note_registry_url(url)


def _confirm(force: bool) -> None:
    if force:
        return
    click.echo("This will change of the zookeeper connection string.")
    while True:
        answer = str(click.prompt("Are you sure want to proceed(yes/no)", prompt_suffix=": ")).strip().lower()
        if answer in ("yes", "y"):
            return
        if answer in ("no", "n"):
            raise click.Abort


def _ensemble(context: CommandContext) -> Ensemble:
    from fabric.ensembles import Ensemble  # noqa: PLC0415 - starts faster

    return Ensemble(
        context.session, context.zookeeper_password, context.containers, context.profiles, progress
    )


@contextlib.contextmanager
def _quorum_explained(context: CommandContext) -> Iterator[None]:
    """Say which servers answer when the ensemble does not."""
    from registry.errors import RegistryUnavailable  # noqa: PLC0415 - starts faster

    try:
        yield
    except RegistryUnavailable as error:
        from fabric.ensemble_health import look_at  # noqa: PLC0415 - as above

        servers = look_at(context.zookeeper_url, context.channel)
        well = [one.address for one in servers if one.mode]
        if len(servers) < 2:
            raise
        down = ", ".join(one.address for one in servers if not one.mode)
        raise FabricError(
            f"The ensemble has no quorum: {len(well)} of its {len(servers)} servers serve, "
            f"more than half are needed. Not there: {down}.",
            "Start their containers; the servers' data is kept, and brokers that run go on meanwhile.",
        ) from error
