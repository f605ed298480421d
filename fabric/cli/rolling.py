"""`container-restart`, and what commands that change containers one after the other have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fabric.cli.context import CommandContext, command
from fabric.names import expand

if TYPE_CHECKING:
    from fabric.rolling import Change

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_S = 120.0
"""See `fabric.rolling.STEP_TIMEOUT_S`, which is not imported for the help."""


def rolling_options(function: F) -> F:
    """Add `--rolling`, `--pause` and `--timeout`."""
    for option in (
        click.option(
            "--timeout",
            type=click.FloatRange(1),
            default=TIMEOUT_S,
            show_default=True,
            metavar="SECONDS",
            help="With --rolling: how long to wait for one container.",
        ),
        click.option(
            "--pause",
            type=click.FloatRange(0),
            default=0.0,
            metavar="SECONDS",
            help="With --rolling: how long to wait between two containers.",
        ),
        click.option(
            "--rolling",
            is_flag=True,
            help="One after the other, slaves first; stop if one does not come back.",
        ),
    ):
        function = option(function)
    return function


@command(
    "container-restart",
    examples=["fabric container-restart brokercontainer", "fabric container-restart --rolling --all"],
)
@click.argument("names", metavar="[CONTAINER]...", nargs=-1)
@click.option("--all", "all_containers", is_flag=True, help="All containers that run.")
@rolling_options
def container_restart(
    context: CommandContext,
    *,
    names: tuple[str, ...],
    all_containers: bool,
    rolling: bool,
    pause: float,
    timeout: float,
) -> None:
    """Begin the processes of containers anew, with the software that is installed on their hosts now.

    Children of a root container, and a ZooKeeper it runs, go on. CONTAINERS may be globs such as 'broker*'.
    Without --rolling all of them are asked at once, and not waited for.
    """
    from fabric.rolling import ask_restart, restarted  # noqa: PLC0415 - only here

    if bool(names) == all_containers:
        raise click.UsageError("Name containers, or give --all.")
    known = context.containers
    chosen = known.names() if all_containers else expand(names, known.names())
    down = [name for name in chosen if known.alive(name) is None]
    for name in down:
        if not all_containers:
            click.echo(f"Container {name} is down; start it with: fabric container-start {name}", err=True)
    chosen = [name for name in chosen if name not in down]
    if rolling:
        change = restarted(context.session)
        run_rolling(context, change, chosen, timeout_s=timeout, pause_s=pause)
        return
    for name in chosen:
        ask_restart(known, name)
        click.echo(f"Container {name} restarts.")


def run_rolling(
    context: CommandContext, change: Change, names: Sequence[str], *, timeout_s: float, pause_s: float
) -> None:
    """Change containers one after the other, and say how far it is; after Ctrl-C, what was done."""
    from fabric.rolling import Rolling  # noqa: PLC0415 - only here

    rolling = Rolling(context.session, change, click.echo, timeout_s=timeout_s, pause_s=pause_s)
    try:
        rolling.run(names)
    except KeyboardInterrupt:
        click.echo(
            f"\nDone: {', '.join(rolling.done) or 'none'}. {change.undo(rolling.done)}".rstrip(), err=True
        )
        raise
    click.echo(f"{len(rolling.done)} containers are done: {', '.join(rolling.done) or 'none'}.")
