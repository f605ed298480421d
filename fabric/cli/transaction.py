"""The `transaction-…` commands."""

from __future__ import annotations

from typing import Any

import click

from fabric.cli.broker_access import BrokerAccess, broker_options, confirm, moment, yes_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, watch_option
from fabric.table import Table


@command("transaction-list", examples=["fabric transaction-list", "fabric transaction-list --output json"])
@click.argument("filter_text", metavar="[FILTER]", default="")
@broker_options
@output_option
@watch_option
def transaction_list(
    context: CommandContext, broker: BrokerAccess, *, filter_text: str, output: str, watch: bool
) -> None:
    """List the prepared branches of distributed transactions, which wait for their manager.

    FILTER is a part of an xid.
    """
    del context
    broker.show_records(
        lambda: broker.items("transactions", filter=filter_text), _table, output=output, watch=watch
    )


def _table(records: list[dict[str, Any]]) -> Table:
    table = Table("xid", "state", "prepared", "user", "sent", "consumed")
    for record in records:
        consumed = sum(record["consumed"].values()) + sum(record["acknowledged"].values())
        table.add_row(
            record["xid"],
            record["state"],
            moment(record["prepared"]),
            record["user"],
            str(sum(record["sent"].values())),
            str(consumed),
        )
    return table


@command("transaction-commit", examples=["fabric transaction-commit 'XID:[1,globalId=6f,branchId=31]'"])
@click.argument("xid")
@broker_options
@yes_option
def transaction_commit(context: CommandContext, broker: BrokerAccess, *, xid: str, yes: bool) -> None:
    """Commit the prepared branch XID, whose transaction manager does not.

    Its other branches may have been rolled back: ask the manager first, if there is one.
    """
    del context
    confirm(f"Commit the branch {xid}, whatever its manager decides?", yes=yes)
    broker.change("committed", "commit", xid=xid)
    click.echo(f"The branch {xid} is committed.")


@command("transaction-rollback", examples=["fabric transaction-rollback 'XID:[1,globalId=6f,branchId=31]'"])
@click.argument("xid")
@broker_options
@yes_option
def transaction_rollback(context: CommandContext, broker: BrokerAccess, *, xid: str, yes: bool) -> None:
    """Roll the prepared branch XID back, whose transaction manager does not.

    Its other branches may have been committed: ask the manager first, if there is one.
    """
    del context
    confirm(f"Roll the branch {xid} back, whatever its manager decides?", yes=yes)
    broker.change("rolled back", "rollback", xid=xid)
    click.echo(f"The branch {xid} is rolled back.")


@command("transaction-forget", examples=["fabric transaction-forget 'XID:[1,globalId=6f,branchId=31]'"])
@click.argument("xid")
@broker_options
def transaction_forget(context: CommandContext, broker: BrokerAccess, *, xid: str) -> None:
    """Forget that the branch XID was committed or rolled back here: its manager will not ask any more."""
    del context
    broker.change("forgotten", "forget", xid=xid)
    click.echo(f"The branch {xid} is forgotten.")
