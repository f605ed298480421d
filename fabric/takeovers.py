"""The failover timeline as it stands in the registry: what `takeover-list` and the console show."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fabric.table import Table
from fabric.znodes import read_children
from registry import paths
from registry.errors import InvalidRecord
from registry.takeovers import TakeoverRecord

if TYPE_CHECKING:
    from registry.session import Session

PHASES: Final = ("claimed", "recovered", "listening", "published", "first_send")
"""In the order in which they are reached, behind `detected`, which is the beginning."""
NOTHING: Final = "-"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TakeoverRow:
    """One takeover of one broker.

    Attributes:
        group: the broker's.
        broker: its name.
        record: what its new master wrote.
    """

    group: str
    broker: str
    record: TakeoverRecord

    @property
    def at(self) -> datetime.datetime:
        """When the new master was elected, in UTC."""
        return datetime.datetime.fromtimestamp(self.record.at_ms / 1000, datetime.UTC)

    def to_json(self) -> dict[str, Any]:
        """The row for scripts."""
        record = self.record
        return {
            "group": self.group,
            "broker": self.broker,
            "container": record.container,
            "previous_container": record.previous_container,
            "reason": record.reason,
            "epoch": record.epoch,
            "at_ms": record.at_ms,
            "phases_ms": dict(record.phases_ms),
        }


def read_takeovers(session: Session, group: str = "", broker: str = "") -> list[TakeoverRow]:
    """Read the takeovers that are recorded, the newest first. Blocks.

    Args:
        session: With the registry.
        group: Of this group only; empty: of all.
        broker: Of brokers of this name only; likewise.

    Raises:
        RegistryError: the registry cannot be read.
    """
    rows = []
    for each_group in [group] if group else read_children(session, paths.takeovers_of_groups()):
        for each in [broker] if broker else read_children(session, paths.takeovers_of_group(each_group)):
            rows += [TakeoverRow(each_group, each, record) for record in _records(session, each_group, each)]
    return sorted(rows, key=lambda row: (row.record.at_ms, row.record.epoch), reverse=True)


def _records(session: Session, group: str, broker: str) -> Iterable[TakeoverRecord]:
    """The records of one broker; one that was written twice is read once."""
    parent = paths.takeovers(group, broker)
    found: dict[tuple[int, str, int], TakeoverRecord] = {}
    for name in read_children(session, parent):
        node = session.get_or_none(paths.takeover(parent, name))
        if node is None:
            continue
        try:
            record = TakeoverRecord.parse(name, node.data)
        except InvalidRecord as error:
            log.warning("%s/%s is passed over: %s", parent, name, error)
        else:
            found[record.epoch, record.container, record.at_ms] = record
    return found.values()


def takeover_table(rows: Iterable[TakeoverRow]) -> Table:
    """Return the table of `takeover-list`: a line per takeover, with the milliseconds of its phases."""
    headers = (phase.replace("_", " ") for phase in PHASES)
    table = Table("time", "group", "broker", "master", "before", "reason", *headers)
    for row in rows:
        record = row.record
        phases = record.phases_ms
        table.add_row(
            row.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            row.group,
            row.broker,
            record.container,
            record.previous_container or NOTHING,
            record.reason or NOTHING,
            *(f"{phases[phase]:.0f}" if phase in phases else NOTHING for phase in PHASES),
        )
    return table
