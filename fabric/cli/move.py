"""`container-move`."""

from __future__ import annotations

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.waiting import waiting


@command(
    "container-move",
    examples=[
        "fabric container-move brokercontainer2 east",
        "fabric container-move --force brokercontainer2 east",
    ],
)
@click.argument("name", metavar="CONTAINER")
@click.argument("parent", metavar="NEW_PARENT")
@click.option("-f", "--force", is_flag=True, help="Also if its brokers' store was not seen from that host.")
def container_move(context: CommandContext, name: str, parent: str, force: bool) -> None:
    """Move a child container to the host of another root container.

    It stops where it is, and its new parent starts it. A slave moves without disturbing its master; where a
    master moves, a slave takes over.
    """
    from fabric.lifecycle import Lifecycle  # noqa: PLC0415 - other commands start faster without it
    from fabric.move import move_container  # noqa: PLC0415 - likewise

    lifecycle = Lifecycle(context.session, context.home)
    with waiting(
        f"Moving container {name} to {parent}",
        f"Container {name} may be stopped; `fabric container-start {name}` starts it where it belongs now.",
    ):
        move_container(context.session, lifecycle, name, parent, force=force, say=click.echo)
    click.echo(f"Container {name} is run by {parent}.")
