"""The `version-…` commands, and those that move containers between versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.cli.rolling import rolling_options, run_rolling
from fabric.names import expand
from fabric.table import Table
from fabric.versions import Direction, VersionRecord, VersionStore


@command("version-list", examples=["fabric version-list", "fabric version-list --output json"])
@output_option
def version_list(context: CommandContext, output: str) -> None:
    """List the versions."""
    versions = VersionStore(context.session).all()
    records = [
        {
            "version": one.id,
            "default": one.is_default,
            "containers": len(one.containers),
            "description": one.description,
        }
        for one in versions
    ]
    print_records(output, records, lambda: _table(versions))


def _table(versions: Sequence[VersionRecord]) -> Table:
    table = Table("version", "default", "# containers", "description")
    for one in versions:
        count = str(len(one.containers)) if one.containers else ""
        table.add_row(one.id, "true" if one.is_default else "", count, one.description)
    return table


@command(
    "version-create",
    examples=["fabric version-create", "fabric version-create --parent 1.0 --default 2.0"],
)
@click.argument("version", required=False, default="")
@click.option("--parent", default="", help="What is copied; default: the last version.")
@click.option("--default", "make_default", is_flag=True, help="Make it the default version.")
@click.option("--description", default="", help="What it is for.")
def version_create(
    context: CommandContext, version: str, parent: str, make_default: bool, description: str
) -> None:
    """Create a version as a copy of another one.

    Without a name it is called after the last version, counted up: 1.1 after 1.0.
    """
    store = VersionStore(context.session)
    made, copied = store.create(version, parent=parent, description=description)
    click.echo(f"Created version: {made} as copy of: {copied}")
    if make_default:
        store.set_default(made)


@command("version-set-default", examples=["fabric version-set-default 1.1"])
@click.argument("version")
def version_set_default(context: CommandContext, version: str) -> None:
    """Say which version new containers get."""
    before = VersionStore(context.session).set_default(version)
    if before == version:
        click.echo(f"Version {version} is already default version")
    else:
        click.echo(f"Changed default version from {before} to {version}")


@command("version-delete", examples=["fabric version-delete 1.1"])
@click.argument("version")
def version_delete(context: CommandContext, version: str) -> None:
    """Delete a version that nobody uses, with its profiles."""
    VersionStore(context.session).delete(version)


@command(
    "container-upgrade",
    examples=[
        "fabric container-upgrade 1.1 brokercontainer",
        "fabric container-upgrade --all 1.1",
        "fabric container-upgrade --rolling --all 1.1",
    ],
)
@click.argument("version")
@click.argument("containers", nargs=-1)
@click.option("--all", "all_containers", is_flag=True, help="All containers of older versions.")
@rolling_options
def container_upgrade(
    context: CommandContext,
    version: str,
    containers: tuple[str, ...],
    **given: Any,  # noqa: ANN401 - the options above
) -> None:
    """Move containers to a newer version. CONTAINERS may be globs such as 'broker*'.

    With --rolling one after the other, the masters of brokers last, each when the one before it is back.
    """
    _move(context, version, containers, Direction.UP, **given)


@command(
    "container-rollback",
    examples=["fabric container-rollback 1.0 brokercontainer", "fabric container-rollback --all 1.0"],
)
@click.argument("version")
@click.argument("containers", nargs=-1)
@click.option("--all", "all_containers", is_flag=True, help="All containers of newer versions.")
@rolling_options
def container_rollback(
    context: CommandContext,
    version: str,
    containers: tuple[str, ...],
    **given: Any,  # noqa: ANN401 - the options above
) -> None:
    """Move containers back to an older version. CONTAINERS may be globs such as 'broker*'.

    With --rolling one after the other, as `container-upgrade` does.
    """
    _move(context, version, containers, Direction.DOWN, **given)


def _move(
    context: CommandContext,
    version: str,
    containers: Sequence[str],
    direction: Direction,
    *,
    all_containers: bool,
    rolling: bool,
    pause: float,
    timeout: float,
) -> None:
    if bool(containers) == all_containers:
        raise click.UsageError("Name containers, or give --all.")
    store = VersionStore(context.session)
    verb = "Upgraded" if direction is Direction.UP else "Rolled back"
    names = (
        store.movable(version, direction)
        if all_containers
        else expand(containers, context.containers.names())
    )
    if rolling:
        _move_rolling(context, store, version, names, direction, timeout_s=timeout, pause_s=pause)
        return
    for name in names:
        before = store.move(name, version, direction)
        if before == version:
            click.echo(f"Container {name} has version {version} already", err=True)
        else:
            click.echo(f"{verb} container {name} from version {before} to {version}")


def _move_rolling(
    context: CommandContext,
    store: VersionStore,
    version: str,
    names: Sequence[str],
    direction: Direction,
    *,
    timeout_s: float,
    pause_s: float,
) -> None:
    from fabric.rolling import moved  # noqa: PLC0415 - only here

    up = direction is Direction.UP
    change = moved(
        context.session,
        version,
        lambda name: store.move(name, version, direction),
        verb="Upgrading" if up else "Rolling back",
        back="container-rollback" if up else "container-upgrade",
    )
    run_rolling(context, change, names, timeout_s=timeout_s, pause_s=pause_s)
