"""`container-resolver-list` and `container-resolver-set`."""

from __future__ import annotations

import click

from fabric.addresses import RESOLVERS
from fabric.cli.addressing import manual_ip_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records


@command(
    "container-resolver-list",
    examples=["fabric container-resolver-list", "fabric container-resolver-list root east --output json"],
)
@click.argument("names", metavar="[CONTAINER]...", nargs=-1)
@output_option
def container_resolver_list(context: CommandContext, names: tuple[str, ...], output: str) -> None:
    """List which of its addresses each container tells to others; of all containers, or those named."""
    from fabric.resolvers import resolver_records, resolver_table  # noqa: PLC0415 - starts faster

    containers = context.containers
    records = [containers.get(name) for name in names] if names else containers.all()
    print_records(output, resolver_records(records), lambda: resolver_table(records))


@command(
    "container-resolver-set",
    examples=[
        "fabric container-resolver-set --container east localip",
        "fabric container-resolver-set --all localhostname",
        "fabric container-resolver-set --container east manualip --manual-ip 203.0.113.9",
    ],
)
@click.argument("resolver", type=click.Choice(RESOLVERS))
@click.option("--container", "names", multiple=True, help="Of this container; may be repeated.")
@click.option("--all", "every", is_flag=True, help="Of all containers.")
@manual_ip_option
def container_resolver_set(
    context: CommandContext, resolver: str, names: tuple[str, ...], every: bool, manual_ip: str | None
) -> None:
    """Say which of their addresses containers tell to others.

    It takes effect at once: brokers, consoles and metrics are found at the new address. Clients that found
    their broker through the registry connect there anew.
    """
    from fabric.resolvers import set_resolver  # noqa: PLC0415 - starts faster

    if every and names:
        raise click.UsageError("Can not use --all with a list of containers simultaneously.")
    if manual_ip and resolver != "manualip":
        raise click.UsageError("--manual-ip is the address of the resolver manualip.")
    if every:
        names = tuple(context.containers.names())
    elif not names:
        click.echo("No container has been specified. Assuming the current container.", err=True)
        names = (context.current_container or "root",)
    set_resolver(context.containers, names, resolver, manual_ip)
