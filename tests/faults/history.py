"""What clients did and were told, and who became master: a history, one JSON object a line.

Plain Python without the product, so that it can be copied beside a client to any host, and so that what
checks a history shares nothing with what is checked. All times are seconds of the machine's monotonic clock,
which all containers of one machine share and no fault can move.

===============  ==================================================================================
``what``         and who writes it
===============  ==================================================================================
``begun``        a producer is about to send a message, and waits for the answer
``acknowledged`` it was told that the message is safe; ``broker`` is who told it
``refused``      it was told that the message was not taken
``delivered``    a consumer was given a message
``drained``      everything that was acknowledged has come, or was waited for in vain; ``who`` read ``queue``
``epoch``        a broker has claimed the store: ``number`` is the epoch, ``broker`` whose it is
``fault``        a fault strikes, and
``healed``       is repaired; ``who`` says which
===============  ==================================================================================
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

BEGUN, ACKNOWLEDGED, REFUSED = "begun", "acknowledged", "refused"
DELIVERED, DRAINED = "delivered", "drained"
EPOCH, FAULT, HEALED = "epoch", "fault", "healed"
STAYING = "staying-"
"""How the names of clients begin that stay with the broker they have, instead of following the registry: what
they wait for is no measure of a takeover."""
KINDS = frozenset({BEGUN, ACKNOWLEDGED, REFUSED, DELIVERED, DRAINED, EPOCH, FAULT, HEALED})


class HistoryInvalid(Exception):
    """The file does not hold a history."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line.

    Attributes:
        at: when, monotonic seconds.
        what: one of `KINDS`.
        who: the client; of faults their name.
        queue: where the message was sent to, or comes from.
        producer: of the message; with the number its identity.
        number: of the message among its producer's, ascending; or of the epoch.
        redelivered: whether the consumer was warned that it may have seen the message.
        broker: the host of the broker that answered, "" if that is not known.
    """

    at: float
    what: str
    who: str = ""
    queue: str = ""
    producer: str = ""
    number: int = 0
    redelivered: bool = False
    broker: str = ""

    def to_line(self) -> str:
        """The JSON; what is empty is left out."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({name: value for name, value in content.items() if value or name == "at"})


_TYPES = {each.name: each.type for each in fields(Event)}


def event_of(line: str) -> Event:
    """Read a line.

    Raises:
        HistoryInvalid: it is not one of a history.
    """
    try:
        content = json.loads(line)
        event = Event(**content)
    except (ValueError, TypeError) as error:
        raise HistoryInvalid(f"not a line of a history: {line[:200]!r}") from error
    wrong = [name for name, kind in _TYPES.items() if not _is(getattr(event, name), kind)]
    if event.what not in KINDS or wrong:
        raise HistoryInvalid(f"not a line of a history: {line[:200]!r}")
    return event


def _is(value: object, kind: object) -> bool:
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(kind, type) and isinstance(value, kind)


def read_history(paths: Iterable[Path]) -> list[Event]:
    """All events of some files, in the order of their times; what happened at once stays in its order.

    Raises:
        HistoryInvalid: a line is not one of a history. A last line that was cut off is left out.
    """
    events = []
    for path in paths:
        events += _events_of(path)
    return sorted(events, key=lambda event: event.at)


def _events_of(path: Path) -> Iterator[Event]:
    text = path.read_text("utf-8")
    whole, _, cut_off = text.rpartition("\n")
    del cut_off  # whoever wrote it was killed
    for line in whole.split("\n") if whole else ():
        yield event_of(line)


def write_history(path: Path, events: Iterable[Event]) -> None:
    """Write a file that `read_history` reads."""
    path.write_text("".join(f"{event.to_line()}\n" for event in events), "utf-8")
