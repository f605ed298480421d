"""`broker-list`: the brokers of the fabric, and how much there is in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabric.cli.broker_access import BrokerAccess, login_options, show
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, render, watch_option
from fabric.errors import BrokerError
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.clusters import ClusterRow

NOTHING = "-"


@command(
    "broker-list",
    examples=[
        "fabric broker-list",
        "fabric broker-list default --password admin",
        "fabric broker-list --watch",
        "fabric broker-list --output json",
    ],
)
@click.argument("group", default="")
@login_options
@output_option
@watch_option
def broker_list(
    context: CommandContext,
    *,
    group: str,
    user: str,
    password: str | None,
    timeout: float,
    output: str,
    watch: bool,
) -> None:
    """List the brokers of GROUP, or of all groups: master, slaves, and how much there is in each.

    Without a password only what the registry knows is shown.
    """
    figures = Figures(context, user, password, timeout)

    def draw() -> str:
        from fabric.brokers import broker_rows  # noqa: PLC0415 - only here

        records = [figures.record(row) for row in broker_rows(context.session, group)]
        if output == "table" and not records:
            return f"No broker is running{f' in the group {group}' if group else ''}."
        return render(output, records, lambda: _table(records))

    try:
        show(draw, watch=watch)
    finally:
        figures.close()


class Figures:
    """Asks each master; keeps the connections for the next time."""

    def __init__(self, context: CommandContext, user: str, password: str | None, timeout_s: float) -> None:
        self._context = context
        self._user = user
        self._password = password
        self._timeout_s = timeout_s
        self._open: dict[tuple[str, str], BrokerAccess] = {}

    def record(self, row: ClusterRow) -> dict[str, Any]:
        """What is known of one broker; `figures` is null if it was not asked, or did not say."""
        group = row.cluster.rpartition("/")[2]
        figures, error = self._figures(group, row)
        return {
            "broker": row.id,
            "group": group,
            "masters": row.masters,
            "slaves": row.slaves,
            "services": row.services,
            "figures": figures,
            "error": error,
        }

    def _figures(self, group: str, row: ClusterRow) -> tuple[dict[str, Any] | None, str]:
        if not row.masters:
            return None, "no master"
        if self._password is None:
            return None, ""
        key = group, row.id
        access = self._open.get(key)
        if access is None:
            access = self._open[key] = BrokerAccess(
                self._context,
                group,
                row.id,
                user=self._user,
                password=self._password,
                timeout_s=self._timeout_s,
            )
        try:
            return access.ask("broker"), ""
        except BrokerError as error:
            access.close()
            return None, error.what

    def close(self) -> None:
        """Leave all of them."""
        for access in self._open.values():
            access.close()


def _table(records: list[dict[str, Any]]) -> Table:
    table = Table(
        "broker",
        "group",
        "master",
        "slaves",
        "connections",
        "queues",
        "topics",
        "messages",
        "enqueued",
        "dequeued",
        "store",
        "memory",
        "state",
    )
    for record in records:
        figures = record["figures"]
        table.add_row(
            record["broker"],
            record["group"],
            ", ".join(record["masters"]) or NOTHING,
            ", ".join(record["slaves"]) or NOTHING,
            *(_cells(figures) if figures else [NOTHING] * 8),
            (figures or {}).get("usage", {}).get("problem") or record["error"] or "ok",
        )
    return table


def _cells(figures: dict[str, Any]) -> list[str]:
    counters, usage = figures["counters"], figures["usage"]
    return [
        *(str(figures[name]) for name in ("connections", "queues", "topics", "messages")),
        str(counters["enqueued"]),
        str(counters["dequeued"]),
        f"{usage['store']['percent']}%",
        f"{usage['memory']['percent']}%",
    ]
