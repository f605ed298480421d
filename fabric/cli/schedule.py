"""The `schedule-…` commands."""

from __future__ import annotations

from typing import Any

import click

from fabric.cli.broker_access import BrokerAccess, broker_options, confirm, limit_option, moment, yes_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, watch_option
from fabric.table import Table

FOR_EVER = -1


@command("schedule-list", examples=["fabric schedule-list", "fabric schedule-list --limit 10 --watch"])
@broker_options
@limit_option
@output_option
@watch_option
def schedule_list(
    context: CommandContext, broker: BrokerAccess, *, limit: int, output: str, watch: bool
) -> None:
    """List the messages of a broker that are to be delivered later, the next first."""
    del context
    broker.show_records(
        lambda: broker.items("scheduled", limit, preview=60), _table, output=output, watch=watch
    )


def _table(records: list[dict[str, Any]]) -> Table:
    table = Table("job id", "due", "repeats", "cron", "destination", "body")
    for record in records:
        repeats = record["repeats"]
        table.add_row(
            record["job_id"],
            moment(record["due"]),
            "for ever" if repeats == FOR_EVER else str(repeats),
            record["cron"],
            record["message"]["destination"],
            " ".join(record["message"]["preview"].split()),
        )
    return table


@command("schedule-remove", examples=["fabric schedule-remove ID:host-41227-1731939221-0:1:1:1:1 --yes"])
@click.argument("job_id")
@broker_options
@yes_option
def schedule_remove(context: CommandContext, broker: BrokerAccess, *, job_id: str, yes: bool) -> None:
    """Cancel the message with JOB_ID that is to be delivered later."""
    del context
    confirm(f"Cancel the scheduled message {job_id}?", yes=yes)
    broker.change("cancelled", "unschedule", job_id=job_id)
    click.echo(f"The scheduled message {job_id} is cancelled.")
