"""The lines of an export: what `python -m journal export` writes and `import` reads.

The format is described in `docs/reference/journal-tool.md`. Every line is a JSON object with a `type`; they
come in the order `export`, `destination`, `subscription`, `producer`, `note`, `message`, `end`.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

from journal.codec import COUNTER_MAX
from journal.errors import ExportInvalid
from journal.record import (
    NORMAL_PRIORITY,
    RECORD_BYTES_MAX,
    RECORD_HEADER_BYTES,
    REPEATS_MAX,
    SCHEDULED,
    TEXT_BYTES_MAX,
    AddSubscription,
    Note,
)
from journal.topics import TOPIC, subscription_matches

EXPORT_VERSION: Final = 2
"""With notes; an export without any is of version 1, which older software reads."""
LINE_BYTES_MAX: Final = 2 * RECORD_BYTES_MAX
"""The longest body takes four thirds of its bytes in base64, and a text of 64 KiB six times as much."""
REF_MAX: Final = (1 << 63) - 1
"""Numbers of messages are sent to clients as signed 64 bits."""
ORDER: Final = ("export", "destination", "subscription", "producer", "note", "message", "end")
_MESSAGE_BYTES: Final = RECORD_HEADER_BYTES + 28
_T = TypeVar("_T")


class ExportedDelivery(NamedTuple):
    """Deliveries of a message ended without acknowledgement.

    Attributes:
        counter: how many, at least one.
        not_before_ms: when it may be delivered again, milliseconds since the epoch; 0: at once.
        subscription: of a topic: to which, by its place in the export; otherwise None.
    """

    counter: int
    not_before_ms: int
    subscription: int | None = None


class ExportedMessage(NamedTuple):
    """A message.

    Attributes:
        ref: its number in the store it comes from; the order of numbers is the order of messages.
        destination: like `queue://orders`.
        body: exactly as it was stored.
        pending: of a topic: which subscriptions wait for it, by their place in the export, ascending.
        priority: 0 to 9.
        expiration: milliseconds since the epoch; 0: never.
        due_ms: of a scheduled message, milliseconds since the epoch.
        repeats: of a scheduled message: how often again; -1 for ever.
        redelivered: what is known of earlier deliveries.
    """

    ref: int
    destination: str
    body: bytes
    pending: tuple[int, ...]
    priority: int = NORMAL_PRIORITY
    expiration: int = 0
    due_ms: int = 0
    repeats: int = 0
    redelivered: tuple[ExportedDelivery, ...] = ()


@dataclass(slots=True)
class Contents:
    """All of an export but its messages.

    Attributes:
        next_ref: one above the highest number ever given to a message in that store.
        destinations: queues and topics, those without a message included.
        subscriptions: durable ones, in the order that `pending` counts.
        producers: the last sequence of each, those seen last at the end.
        notes: what protocols keep for their clients.
        messages: how many there are.
        lowest_ref: of them, 0 if there are none.
        body_bytes: of their bodies.
        damaged: messages that could not be read when the export was written.
        gone: messages that were consumed while it was written.
        sha256: of all lines before the last one.
    """

    next_ref: int = 1
    destinations: list[str] = field(default_factory=list)
    subscriptions: list[AddSubscription] = field(default_factory=list)
    producers: dict[str, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    messages: int = 0
    lowest_ref: int = 0
    body_bytes: int = 0
    damaged: int = 0
    gone: int = 0
    sha256: str = ""


def encode_line(kind: str, **fields: object) -> bytes:
    """One line; a field that is bytes is written in base64."""
    texts = {
        name: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        for name, value in fields.items()
    }
    return json.dumps({"type": kind, **texts}, separators=(",", ":")).encode("ascii") + b"\n"


class ExportReader:
    """Reads an export from its beginning, and believes nothing of it.

    Attributes:
        contents: what was read so far.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._line = 0
        self._digest = hashlib.sha256()
        self._expected = {"destinations": 0, "subscriptions": 0, "producers": 0, "notes": 0, "messages": 0}
        self._keys: set[tuple[str, str]] = set()
        self._names: set[str] = set()
        self._waiting: dict[str, set[int]] = {}  # topic to the subscriptions that may wait for its messages
        self._last_ref = 0
        self.contents = Contents()

    def messages(self) -> Iterator[ExportedMessage]:
        """The messages, in order; all else goes into `contents`, and is checked when this has ended.

        Raises:
            ExportInvalid: a line is wrong, or the export is cut off; says which line.
        """
        stage = 0
        while True:
            data, fields = self._next()
            kind = fields.get("type")
            if kind not in ORDER[stage:] or (kind == "export") != (self._line == 1):
                raise self._wrong(f"a line of type {kind!r} does not belong here")
            stage = ORDER.index(kind)
            if kind == "end":
                self._end(fields)
                return
            self._digest.update(data)
            if kind == "message":
                yield self._message(fields)
            else:
                getattr(self, f"_{kind}")(fields)

    def _next(self) -> tuple[bytes, dict[str, Any]]:
        self._line += 1
        data = self._stream.readline(LINE_BYTES_MAX)
        if not data.endswith(b"\n"):
            if len(data) == LINE_BYTES_MAX:
                raise self._wrong("the line is too long")
            raise self._wrong("the export is cut off here: its last line is missing")
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            hint = "this is no export of a journal; if it is compressed, decompress it first"
            raise self._wrong(hint if self._line == 1 else "this is no JSON object")
        return data, fields

    def _export(self, fields: dict[str, Any]) -> None:
        version = self._number(fields, "version", 1, REF_MAX)
        if version > EXPORT_VERSION:
            raise self._wrong(
                f"the export has version {version}, this software knows {EXPORT_VERSION}: use a newer version"
            )
        self.contents.next_ref = self._number(fields, "next_ref", 1, REF_MAX)
        for name in self._expected:
            if name != "notes" or name in fields:  # older exports have none
                self._expected[name] = self._number(fields, name, 0, REF_MAX)

    def _destination(self, fields: dict[str, Any]) -> None:
        name = self._text(fields, "name")
        if not name or name in self._names:
            raise self._wrong("the destination has no name" if not name else f"{name} stands here twice")
        self._names.add(name)
        self.contents.destinations.append(name)

    def _subscription(self, fields: dict[str, Any]) -> None:
        client_id, name, destination, selector = (
            self._text(fields, name) for name in ("client_id", "name", "destination", "selector")
        )
        no_local = self._field(fields, "no_local", bool)
        shared = self._field(fields, "shared", bool) if "shared" in fields else False
        away_since_ms = self._number(fields, "away_since_ms", 0, REF_MAX) if "away_since_ms" in fields else 0
        key = client_id, name
        if key in self._keys:
            raise self._wrong(f"the subscription {key[1]} of client {key[0]} stands here twice")
        self._keys.add(key)
        self.contents.subscriptions.append(
            AddSubscription(client_id, name, destination, selector, no_local, shared, away_since_ms)
        )

    def _producer(self, fields: dict[str, Any]) -> None:
        name = self._text(fields, "id")
        if not name or name in self.contents.producers:
            raise self._wrong("the producer has no id" if not name else f"{name} stands here twice")
        self.contents.producers[name] = self._number(fields, "sequence", -REF_MAX - 1, REF_MAX)

    def _note(self, fields: dict[str, Any]) -> None:
        owner, key = self._text(fields, "owner"), self._text(fields, "key")
        value = self._bytes(fields, "value")
        if not (owner and key and value):
            raise self._wrong("a note needs an owner, a key and a value")
        self.contents.notes.append(Note(owner, key, value))

    def _message(self, fields: dict[str, Any]) -> ExportedMessage:
        ref = self._number(fields, "ref", 1, REF_MAX - 1)
        if ref <= self._last_ref:
            raise self._wrong(f"the numbers of messages do not ascend: {ref} after {self._last_ref}")
        destination = self._text(fields, "destination")
        if destination not in self._names:
            raise self._wrong(f"no line before says that there is a destination {destination}")
        body = self._bytes(fields, "body")
        if _MESSAGE_BYTES + len(destination.encode("utf-8", "surrogatepass")) + len(body) > RECORD_BYTES_MAX:
            raise self._wrong(f"the body has {len(body)} bytes, which is too much for a record")
        pending = self._pending(fields, destination)
        priority = self._number(fields, "priority", 0, 9) if "priority" in fields else NORMAL_PRIORITY
        expiration = self._number(fields, "expiration", 0, REF_MAX) if "expiration" in fields else 0
        self._last_ref = ref
        contents = self.contents
        contents.messages += 1
        contents.body_bytes += len(body)
        contents.lowest_ref = contents.lowest_ref or ref
        due_ms = repeats = 0
        if destination == SCHEDULED:
            due_ms = self._number(fields, "due_ms", 0, REF_MAX)
            repeats = self._number(fields, "repeats", -1, REPEATS_MAX)
        deliveries = self._deliveries(fields, destination, pending)
        return ExportedMessage(
            ref, destination, body, pending, priority, expiration, due_ms, repeats, deliveries
        )

    def _deliveries(
        self, fields: dict[str, Any], destination: str, pending: tuple[int, ...]
    ) -> tuple[ExportedDelivery, ...]:
        if "redelivered" not in fields:
            return ()
        found = []
        for each in self._field(fields, "redelivered", list):
            if not isinstance(each, dict):
                raise self._wrong("`redelivered` is not a list of objects")
            counter = self._number(each, "counter", 1, COUNTER_MAX)
            not_before_ms = self._number(each, "not_before_ms", 0, REF_MAX)
            place = self._number(each, "subscription", 0, REF_MAX) if pending else None
            if place is not None and place not in pending:
                raise self._wrong(f"the message does not wait for the subscription {place}")
            found.append(ExportedDelivery(counter, not_before_ms, place))
        if destination == SCHEDULED or len({each.subscription for each in found}) != len(found):
            raise self._wrong("`redelivered` speaks twice of the same, or of a message that is not due yet")
        return tuple(found)

    def _pending(self, fields: dict[str, Any], destination: str) -> tuple[int, ...]:
        if not destination.startswith(TOPIC):
            if "pending" in fields:
                raise self._wrong("only messages of topics are pending for subscriptions")
            return ()
        pending = self._field(fields, "pending", list)
        if not pending or any(type(each) is not int for each in pending) or sorted(set(pending)) != pending:
            raise self._wrong("`pending` is not an ascending list of subscriptions, with one at least")
        matching = self._waiting.get(destination)
        if matching is None:
            matching = self._waiting[destination] = {
                i
                for i, each in enumerate(self.contents.subscriptions)
                if subscription_matches(each.destination, destination)
            }
        for each in pending:
            if each not in matching:
                raise self._wrong(f"no subscription {each} receives messages of {destination}")
        return tuple(pending)

    def _end(self, fields: dict[str, Any]) -> None:
        contents = self.contents
        contents.damaged = self._number(fields, "damaged", 0, REF_MAX)
        contents.gone = self._number(fields, "gone", 0, REF_MAX)
        contents.sha256 = self._text(fields, "sha256")
        found = {
            "destinations": len(contents.destinations),
            "subscriptions": len(contents.subscriptions),
            "producers": len(contents.producers),
            "notes": len(contents.notes),
            "messages": contents.messages + contents.damaged + contents.gone,
        }
        for name, count in found.items():
            if count != self._expected[name]:
                raise self._wrong(f"the export has {count} {name} where {self._expected[name]} are announced")
        if contents.sha256 != self._digest.hexdigest():
            raise self._wrong("the export was changed or damaged: its checksum is another one")
        if self._stream.read(1):
            self._line += 1
            raise self._wrong("something follows the end of the export")

    def _field(self, fields: dict[str, Any], name: str, kind: type[_T]) -> _T:
        value = fields.get(name)
        if type(value) is not kind:
            raise self._wrong(f"`{name}` is missing or has the wrong type")
        return value

    def _number(self, fields: dict[str, Any], name: str, low: int, high: int) -> int:
        value = self._field(fields, name, int)
        if not low <= value <= high:
            raise self._wrong(f"`{name}` is out of range: {value}")
        return value

    def _text(self, fields: dict[str, Any], name: str) -> str:
        value = self._field(fields, name, str)
        if len(value.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
            raise self._wrong(f"`{name}` has more than {TEXT_BYTES_MAX} bytes")
        return value

    def _bytes(self, fields: dict[str, Any], name: str) -> bytes:
        text = self._field(fields, name, str)
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._wrong(f"`{name}` is no base64") from None

    def _wrong(self, text: str) -> ExportInvalid:
        return ExportInvalid(f"line {self._line}: {text}")
