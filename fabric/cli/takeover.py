"""`takeover-list`: the failover timeline."""

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, render, show_registry, watch_option
from fabric.takeovers import read_takeovers, takeover_table
from registry import paths


@command(
    "takeover-list",
    examples=[
        "fabric takeover-list",
        "fabric takeover-list --group default --broker tolerantbroker",
        "fabric takeover-list --output json",
    ],
)
@click.option("--group", default="", help="Only takeovers in this group of brokers.")
@click.option("--broker", default="", help="Only takeovers of the broker of this name.")
@output_option
@watch_option
def takeover_list(context: CommandContext, group: str, broker: str, output: str, watch: bool) -> None:
    """List the takeovers of the brokers, the newest first, and how they went.

    Behind the reason stand the milliseconds from the election to each phase: the store claimed, its index
    recovered, the connectors listening, the address published, the first durable send acknowledged.
    """
    check_names(group, broker)
    session = context.session

    def draw() -> str:
        rows = read_takeovers(session, group, broker)
        if output == "table" and not rows:
            return "No takeovers are recorded."
        return render(output, [row.to_json() for row in rows], lambda: takeover_table(rows))

    show_registry(context, paths.takeovers_of_groups(), draw, watch=watch)


def check_names(*names: str) -> None:
    """Raise an error for what cannot be the name of a group or a broker."""
    for name in names:
        if "/" in name or name in (".", ".."):
            raise click.UsageError(f"{name!r} is not the name of a group or a broker.")
