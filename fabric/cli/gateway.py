"""`gateway-list`: where clients without discovery come in, and where they are led."""

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, render, show_registry, watch_option
from fabric.cli.takeover import check_names
from fabric.gateways import gateway_table, read_gateways
from registry import paths


@command(
    "gateway-list",
    examples=[
        "fabric gateway-list",
        "fabric gateway-list --group default --watch",
        "fabric gateway-list --output json",
    ],
)
@click.option("--group", default="", help="Only gateways that lead to this group of brokers.")
@output_option
@watch_option
def gateway_list(context: CommandContext, group: str, output: str, watch: bool) -> None:
    """List the gateways with their ports, and the masters that each of them leads to.

    The state says how the gateway itself sees a master: up, down (it does not answer), or not tried yet.
    """
    check_names(group)
    session = context.session

    def draw() -> str:
        rows = read_gateways(session, group)
        if output == "table" and not rows:
            return "No gateway runs. A container with the profile gateway has one."
        return render(output, [row.to_json() for row in rows], lambda: gateway_table(rows))

    show_registry(context, paths.gateways(), draw, watch=watch)
