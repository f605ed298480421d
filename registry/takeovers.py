"""The failover timeline: each takeover of a broker leaves a record behind.

The records of a broker are sequential znodes below `paths.takeovers`, JSON::

    {"container": "c2", "epoch": 7, "at_ms": 1700000000000, "reason": "previous master died",
     "previous_container": "c1", "phases_ms": {"detected": 0, "claimed": 3.1, …}}

They are written behind the takeover, by the master, as soon as ZooKeeper takes them; only the newest
`KEPT_MAX` stay.
"""

import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from registry import paths
from registry.errors import InvalidRecord, RegistryError, RegistryUnavailable
from registry.kazoo_edge import SessionState
from registry.nonblocking import NonblockingSession

KEPT_MAX: Final = 50
"""Records of one broker."""
WAITING_MAX: Final = 50
"""Records that wait for ZooKeeper; older ones are dropped."""
RETRY_DELAY_S: Final = 1.0
"""After a record that was not answered, if ZooKeeper is there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TakeoverRecord:
    """One takeover."""

    container: str
    """The new master's."""
    epoch: int
    """Of the store: each takeover has a higher one."""
    at_ms: int
    """When the new master knew that it was elected, milliseconds since 1970 by its clock."""
    reason: str = ""
    """Why, as far as that is known."""
    previous_container: str = ""
    """The master's before; empty if none was seen."""
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    """What was reached how many milliseconds after that, in order."""
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Fields of a newer version."""

    def serialize(self) -> bytes:
        """Make the znode's content."""
        record = {
            "container": self.container,
            "epoch": self.epoch,
            "at_ms": self.at_ms,
            "reason": self.reason,
            "previous_container": self.previous_container,
            "phases_ms": dict(self.phases_ms),
            **self.unknown,
        }
        return json.dumps(record, ensure_ascii=False).encode()

    @classmethod
    def parse(cls, name: str, data: bytes) -> "TakeoverRecord":
        """Read a znode's content.

        Raises:
            InvalidRecord: it is not a takeover's.
        """
        try:
            unknown = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidRecord(f"takeover {name} does not hold JSON: {error}") from error
        if not isinstance(unknown, dict):
            raise InvalidRecord(f"takeover {name} does not hold a JSON object")
        texts = [unknown.pop(key, "") for key in ("container", "reason", "previous_container")]
        numbers = [unknown.pop(key, 0) for key in ("epoch", "at_ms")]
        phases = unknown.pop("phases_ms", {})
        is_typed = (
            all(isinstance(text, str) for text in texts)
            and all(type(number) is int for number in numbers)
            and isinstance(phases, dict)
            and all(type(number) in (int, float) for number in phases.values())
        )
        if not is_typed:
            raise InvalidRecord(f"takeover {name} has fields of the wrong type")
        container, reason, previous = texts
        epoch, at_ms = numbers
        return cls(container, epoch, at_ms, reason, previous, phases, unknown)


class TakeoverLog:
    """Writes the records of one broker, and removes those too many. Owner's thread; nothing blocks.

    While ZooKeeper is away records are kept, and written when it is back. A record whose answer is lost is
    written again: readers take those of one epoch for one.
    """

    def __init__(self, session: NonblockingSession, group: str, broker_id: str) -> None:
        """Make it; it writes nothing of its own accord.

        Args:
            session: What it writes with.
            group: The broker's.
            broker_id: The broker's.
        """
        self._session = session
        self._parent = paths.takeovers(group, broker_id)
        self._waiting: deque[TakeoverRecord] = deque(maxlen=WAITING_MAX)
        self._busy = False
        self._listening = False

    def add(self, record: TakeoverRecord) -> None:
        """Write a record as soon as that can be done."""
        self._waiting.append(record)
        if not self._listening:
            self._listening = True
            self._session.add_state_listener(self._on_state)
        self._step()

    def close(self) -> None:
        """Forget what could not be written yet."""
        self._waiting.clear()
        if self._listening:
            self._listening = False
            self._session.remove_state_listener(self._on_state)

    def _on_state(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED:
            self._step()

    def _step(self) -> None:
        if self._waiting and not self._busy and self._session.state is SessionState.CONNECTED:
            self._busy = True
            record = self._waiting[0]
            self._session.create_later(
                paths.new_takeover(self._parent),
                record.serialize(),
                lambda answer: self._on_created(record, answer),
                sequential=True,
            )

    def _on_created(self, record: TakeoverRecord, answer: str | RegistryError) -> None:
        self._busy = False
        if isinstance(answer, RegistryUnavailable):
            self._busy = True
            self._session.call_later(RETRY_DELAY_S, self._resume)
            return
        if isinstance(answer, RegistryError):
            log.error("The takeover of epoch %d cannot be recorded: %s", record.epoch, answer)
        if self._waiting and self._waiting[0] is record:
            self._waiting.popleft()
        self._session.children_later(self._parent, self._prune)
        self._step()

    def _resume(self) -> None:
        self._busy = False
        self._step()

    def _prune(self, names: list[str] | RegistryError) -> None:
        if isinstance(names, RegistryError):
            return  # the next takeover does it
        for name in sorted(names)[:-KEPT_MAX]:
            self._session.delete_later(paths.takeover(self._parent, name), lambda _: None)
