"""The `connection-…` commands."""

from __future__ import annotations

from typing import Any

import click

from fabric.cli.broker_access import BrokerAccess, broker_options, confirm, yes_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, watch_option
from fabric.table import Table


@command("connection-list", examples=["fabric connection-list", "fabric connection-list 10.0.0.7 --watch"])
@click.argument("filter_text", metavar="[FILTER]", default="")
@broker_options
@output_option
@watch_option
def connection_list(
    context: CommandContext, broker: BrokerAccess, *, filter_text: str, output: str, watch: bool
) -> None:
    """List the clients that are connected to a broker; this command is one of them.

    FILTER is a part of a connection's id, client id, user or address.
    """
    del context
    broker.show_records(
        lambda: broker.items("connections", filter=filter_text), _table, output=output, watch=watch
    )


def _table(records: list[dict[str, Any]]) -> Table:
    table = Table(
        "connection", "client id", "user", "address", "consumers", "producers", "in flight", "blocked sends"
    )
    for record in records:
        client_id = record["client_id"]
        table.add_row(
            record["id"],
            "" if client_id == record["id"] else client_id,
            record["user"],
            record["remote"],
            *(str(record[name]) for name in ("consumers", "producers", "in_flight", "blocked_sends")),
        )
    return table


@command("connection-close", examples=["fabric connection-close ID:host-41227-1731939221-0:1 --yes"])
@click.argument("connection")
@broker_options
@yes_option
def connection_close(context: CommandContext, broker: BrokerAccess, *, connection: str, yes: bool) -> None:
    """Close a client's CONNECTION. What it had and did not acknowledge waits for others.

    Many clients connect again by themselves.
    """
    del context
    confirm(f"Close the connection {connection}?", yes=yes)
    broker.change("closed", "disconnect", connection=connection)
    click.echo(f"The connection {connection} is closed.")
