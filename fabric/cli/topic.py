"""`topic-list` and the `subscription-…` commands."""

from __future__ import annotations

from typing import Any

import click

from fabric.cli.broker_access import BrokerAccess, broker_options, confirm, yes_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, watch_option
from fabric.table import Table


@command("topic-list", examples=["fabric topic-list", "fabric topic-list 'prices.>' --output yaml"])
@click.argument("filter_text", metavar="[FILTER]", default="")
@broker_options
@output_option
@watch_option
def topic_list(
    context: CommandContext, broker: BrokerAccess, *, filter_text: str, output: str, watch: bool
) -> None:
    """List the topics of a broker: who uses them, and what has happened.

    FILTER is a wildcard such as 'prices.>', a pattern such as 'pri*', or a part of the name.
    """
    del context
    broker.show_records(
        lambda: broker.items("topics", filter=filter_text), _topic_table, output=output, watch=watch
    )


def _topic_table(records: list[dict[str, Any]]) -> Table:
    table = Table(
        "topic", "durable", "consumers", "producers", "enqueued", "dispatched", "expired", "discarded"
    )
    for record in records:
        counters = record["counters"]
        table.add_row(
            record["name"],
            *(str(record[name]) for name in ("subscriptions", "consumers", "producers")),
            *(str(counters[name]) for name in ("enqueued", "dispatched", "expired", "discarded")),
        )
    return table


@command(
    "subscription-list", examples=["fabric subscription-list", "fabric subscription-list prices --watch"]
)
@click.argument("filter_text", metavar="[FILTER]", default="")
@broker_options
@output_option
@watch_option
def subscription_list(
    context: CommandContext, broker: BrokerAccess, *, filter_text: str, output: str, watch: bool
) -> None:
    """List the durable subscriptions of a broker, and what waits for them.

    FILTER is a part of a client id, of a subscription's name or of a topic.
    """
    del context
    broker.show_records(
        lambda: broker.items("subscriptions", filter=filter_text),
        _subscription_table,
        output=output,
        watch=watch,
    )


def _subscription_table(records: list[dict[str, Any]]) -> Table:
    table = Table("client id", "name", "topic", "selector", "active", "pending", "in flight")
    for record in records:
        table.add_row(
            *(record[name] for name in ("client_id", "name", "topic", "selector")),
            "yes" if record["active"] else "no",
            str(record["pending"]),
            str(record["in_flight"]),
        )
    return table


@command("subscription-remove", examples=["fabric subscription-remove billing-1 invoices"])
@click.argument("client_id")
@click.argument("name")
@broker_options
@yes_option
def subscription_remove(
    context: CommandContext, broker: BrokerAccess, *, client_id: str, name: str, yes: bool
) -> None:
    """End the durable subscription NAME of CLIENT_ID, with the messages that wait for it.

    It must have no consumer.
    """
    del context
    confirm(f"End the durable subscription {name} of {client_id}?", yes=yes)
    job = broker.change("removed", "unsubscribe", client_id=client_id, subscription=name)
    click.echo(f"The subscription {name} of {client_id} is ended, with {job['changed']} messages.")
