"""Qpid Proton's engine, fed with bytes: connection, sessions, links and their transfers.

The only module that knows Proton, by its C interface (`cproton`): what its Python classes wrap around every
link and delivery takes ten times as long as what is done here for a message. Pointers are kept as long as
what they point at lives and no longer: a delivery until it is settled, or its link or session is freed; so
nothing is done for a link that `is_open` no more, and nothing is freed before the events that came before its
end have been taken care of.

Nothing is imported before the first client comes: without Proton everything else works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from broker.amqp.errors import DECODE_ERROR
from broker.amqp.events import (
    REJECTED,
    Attached,
    Closed,
    Detached,
    Disposed,
    Ended,
    Event,
    Failed,
    Flowed,
    Link,
    Opened,
    Pointer,
    Terminus,
    TooLong,
    Transferred,
)
from broker.amqp.limits import CHANNEL_MAX, PARTIAL_BYTES_MAX
from broker.amqp.types import Array, Symbol, decode, encode
from broker.errors import CodecError, ConfigurationInvalid

_TAG_BYTES: Final = 8
OUTCOMES: Final = ("amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list")
"""What may become of a message that a client gets."""


@cache
def proton() -> Any:  # noqa: ANN401 - it has no types
    """Proton's C interface.

    Raises:
        ConfigurationInvalid: it is not installed; says what to do.
    """
    try:
        import cproton  # noqa: PLC0415 - an extra: nobody else needs it
    except ImportError as error:
        raise ConfigurationInvalid(
            "AMQP needs Qpid Proton: install fabric-mq[amqp], which brings python-qpid-proton."
        ) from error
    return cproton


class _Frames:
    """Where frames end, behind the header.

    A client may say all that it has to say without waiting, and Proton gives a session a window only when it
    works out what it has to say itself.
    """

    def __init__(self) -> None:
        self._left = len(b"AMQP\0\1\0\0")
        self._size = b""

    def next_end(self, data: bytes, begin: int) -> int:
        """Where the frame that goes on at a place ends in some bytes, or these do."""
        at = begin
        if not self._left:
            missing = 4 - len(self._size)
            self._size += data[at : at + missing]
            at = min(at + missing, len(data))
            if len(self._size) < 4:
                return at
            self._left = max(int.from_bytes(self._size, "big") - 4, 1)
            self._size = b""
        end = min(at + self._left, len(data))
        self._left -= end - at
        return end


class ProtonConnection:
    """One connection.

    Args:
        frame_bytes_max: longest frame that is read.
        message_bytes_max: longest message.
        idle_ms: a silent peer is given up after this; 0: never.
    """

    def __init__(self, frame_bytes_max: int, message_bytes_max: int, idle_ms: int) -> None:
        self._c = proton()
        self._ffi = self._c.ffi
        lib = self._lib = self._c.lib
        self._message_bytes_max = message_bytes_max
        self._idle_ms = idle_ms
        self._links: dict[Pointer, Link] = {}
        self._partial_bytes = 0
        self._frames = _Frames()
        self._has_session = False
        self._freed = False
        self.is_over = False
        self._transport = lib.pn_transport()
        self._connection = lib.pn_connection()
        self._collector = lib.pn_collector()
        lib.pn_transport_set_server(self._transport)
        lib.pn_transport_set_max_frame(self._transport, frame_bytes_max)
        lib.pn_transport_set_channel_max(self._transport, CHANNEL_MAX)
        lib.pn_transport_set_idle_timeout(self._transport, idle_ms)
        lib.pn_connection_collect(self._connection, self._collector)
        lib.pn_transport_bind(self._transport, self._connection)

    def free(self) -> None:
        """Give everything back; nothing can be done any more."""
        if self._freed:
            return
        self._freed = self.is_over = True
        for link in self._links.values():
            link.is_open = False
        self._links.clear()
        lib = self._lib
        lib.pn_transport_unbind(self._transport)
        lib.pn_connection_release(self._connection)
        lib.pn_collector_release(self._collector)
        lib.pn_decref(self._transport)
        lib.pn_decref(self._connection)
        lib.pn_collector_free(self._collector)

    def __del__(self) -> None:
        if hasattr(self, "_collector"):
            self.free()

    # ---- bytes and time

    def receive_data(self, data: bytes) -> Iterator[list[Event]]:
        """Takes what arrived; what has happened is to be taken care of before the next is asked for."""
        begin = 0
        while not self._has_session and begin < len(data) and not self.is_over:
            end = self._frames.next_end(data, begin)
            yield self._push(data, begin, end)
            self._make_output()
            begin = end
        yield self._push(data, begin, len(data))

    def _make_output(self) -> None:
        """Have Proton work out what it has to say: only then the first session has a window."""
        if not self._freed:
            self._lib.pn_transport_pending(self._transport)

    def _push(self, data: bytes, at: int, end: int) -> list[Event]:
        events: list[Event] = []
        if self._freed:
            return events
        lib, transport = self._lib, self._transport
        buffer = self._ffi.from_buffer(data)
        while at < end:
            room = lib.pn_transport_capacity(transport)
            if room <= 0:
                break
            taken = lib.pn_transport_push(transport, buffer + at, min(room, end - at))
            if taken <= 0:
                break
            at += taken
            self._read_events(events)
        self._read_events(events)
        return events

    def receive_eof(self) -> list[Event]:
        """The peer sends no more."""
        events: list[Event] = []
        if not self._freed:
            self._lib.pn_transport_close_tail(self._transport)
            self._read_events(events)
        return events

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written."""
        if self._freed:
            return b""
        lib, ffi, transport = self._lib, self._ffi, self._transport
        parts: list[bytearray] = []
        while (size := lib.pn_transport_pending(transport)) > 0:
            part = bytearray(size)
            taken = lib.pn_transport_peek(transport, ffi.from_buffer(part), size)
            if taken <= 0:
                break
            parts.append(part if taken == size else part[:taken])
            lib.pn_transport_pop(transport, taken)
        while lib.pn_collector_peek(self._collector):
            lib.pn_collector_pop(self._collector)  # of what we have done ourselves
        return b"".join(parts)

    def tick(self, now_s: float, *, excused: bool = False) -> tuple[float | None, list[Event]]:
        """Keep alive, and notice a peer that is silent.

        Args:
            now_s: monotonic seconds.
            excused: the peer cannot be heard now.

        Returns:
            When to come again, and what has happened.
        """
        events: list[Event] = []
        if self._freed:
            return None, events
        lib, transport = self._lib, self._transport
        if excused:
            lib.pn_transport_set_idle_timeout(transport, 0)
        deadline_ms = lib.pn_transport_tick(transport, int(now_s * 1000))
        if excused:
            lib.pn_transport_set_idle_timeout(transport, self._idle_ms)
        self._read_events(events)
        return (deadline_ms / 1000 if deadline_ms else None), events

    # ---- events

    def _read_events(self, events: list[Event]) -> None:
        lib, collector, c = self._lib, self._collector, self._c
        while event := lib.pn_collector_peek(collector):
            kind = lib.pn_event_type(event)
            if kind == c.PN_DELIVERY:
                self._read_delivery(lib.pn_event_delivery(event), events)
            elif kind == c.PN_LINK_FLOW:
                link = self._links.get(lib.pn_event_link(event))
                if link is not None and link.sends:
                    events.append(Flowed(link))
            else:
                try:
                    self._read_endpoint(kind, event, events)
                except CodecError as error:
                    self.close(DECODE_ERROR, str(error))
                    events.append(Failed(str(error)))
            lib.pn_collector_pop(collector)

    def _read_delivery(self, delivery: Pointer, events: list[Event]) -> None:
        lib = self._lib
        pointer = lib.pn_delivery_link(delivery)
        link = self._links.get(pointer)
        if link is None or not link.is_open:
            return
        if link.sends:
            if lib.pn_delivery_updated(delivery):
                state = lib.pn_delivery_remote_state(delivery)
                events.append(Disposed(link, delivery, state, lib.pn_delivery_settled(delivery)))
            return
        if lib.pn_link_current(pointer) != delivery:
            return
        if lib.pn_delivery_aborted(delivery):
            self._drop_partial(link)
            lib.pn_delivery_settle(delivery)
            return
        size = lib.pn_delivery_pending(delivery)
        content = bytearray(size)
        if size:
            lib.pn_link_recv(pointer, self._ffi.from_buffer(content), size)
        if link.partial or lib.pn_delivery_partial(delivery):
            link.partial.append(bytes(content))
            self._partial_bytes += size
            length = sum(map(len, link.partial))
            if length > self._message_bytes_max or self._partial_bytes > PARTIAL_BYTES_MAX:
                self._drop_partial(link)
                events.append(TooLong(link))
                return
            if lib.pn_delivery_partial(delivery):
                return
            whole = b"".join(link.partial)
            self._drop_partial(link)
        else:
            whole = bytes(content)
        lib.pn_link_advance(pointer)
        events.append(
            Transferred(
                link,
                delivery,
                whole,
                lib.pn_delivery_settled(delivery),
                lib.pn_delivery_remote_state(delivery),
            )
        )

    def _drop_partial(self, link: Link) -> None:
        self._partial_bytes -= sum(map(len, link.partial))
        link.partial = []

    def _read_endpoint(self, kind: int, event: Pointer, events: list[Event]) -> None:
        """What is not about messages."""
        lib, c = self._lib, self._c
        if kind == c.PN_LINK_REMOTE_OPEN:
            self._attached(lib.pn_event_link(event), events)
        elif kind in (c.PN_LINK_REMOTE_CLOSE, c.PN_LINK_REMOTE_DETACH):
            link = self._links.get(lib.pn_event_link(event))
            if link is not None:
                self._detached(link, kind == c.PN_LINK_REMOTE_CLOSE, events)
        elif kind == c.PN_SESSION_REMOTE_OPEN:
            lib.pn_session_open(lib.pn_event_session(event))
            self._has_session = True
        elif kind == c.PN_SESSION_REMOTE_CLOSE:
            self._ended(lib.pn_event_session(event), events)
        elif kind == c.PN_CONNECTION_REMOTE_OPEN:
            container = self._text(lib.pn_connection_remote_container(self._connection))
            events.append(Opened(container or ""))
        elif kind == c.PN_CONNECTION_REMOTE_CLOSE:
            condition = lib.pn_connection_remote_condition(self._connection)
            events.append(Closed(*self._condition(condition)))
        elif kind == c.PN_TRANSPORT_ERROR:
            self.is_over = True
            events.append(Failed(": ".join(self._condition(lib.pn_transport_condition(self._transport)))))

    def _condition(self, condition: Pointer) -> tuple[str, str]:
        if not self._lib.pn_condition_is_set(condition):
            return "", ""
        lib = self._lib
        return (
            self._text(lib.pn_condition_get_name(condition)) or "",
            self._text(lib.pn_condition_get_description(condition)) or "",
        )

    def _text(self, pointer: Pointer) -> str | None:
        """A text of Proton's, which has looked at its length only.

        Raises:
            CodecError: it is not UTF-8.
        """
        if not pointer:
            return None
        try:
            text: str = self._ffi.string(pointer).decode()
        except UnicodeDecodeError as error:
            raise CodecError(f"a text is not UTF-8: {error}") from error
        return text

    def _attached(self, pointer: Pointer, events: list[Event]) -> None:
        lib, c = self._lib, self._c
        session = lib.pn_link_session(pointer)
        name = self._text(lib.pn_link_name(pointer)) or ""
        link = Link(pointer, session, name, sends=bool(lib.pn_link_is_sender(pointer)))
        link.source = self._terminus(lib.pn_link_remote_source(pointer))
        link.target = self._terminus(lib.pn_link_remote_target(pointer))
        link.presettled = lib.pn_link_remote_snd_settle_mode(pointer) == c.PN_SND_SETTLED
        link.max_message_size = lib.pn_link_remote_max_message_size(pointer)
        self._links[pointer] = link
        events.append(Attached(link))

    def _detached(self, link: Link, closed: bool, events: list[Event]) -> None:
        """The peer's end of a link is gone; what came before is still to be taken care of."""
        self._drop_partial(link)
        events.append(Detached(link, closed))

    def _ended(self, session: Pointer, events: list[Event]) -> None:
        for link in [each for each in self._links.values() if each.session == session]:
            self._drop_partial(link)
            events.append(Detached(link, closed=False))
        events.append(Ended(session))

    def answer_end(self, session: Pointer) -> None:
        """The peer has ended a session: so do we, and forget it with its links."""
        for link in [each for each in self._links.values() if each.session == session]:
            link.is_open = False
            del self._links[link.pointer]
        self._lib.pn_session_close(session)
        self._lib.pn_session_free(session)

    def _forget(self, link: Link) -> None:
        if self._links.get(link.pointer) is link:  # another one may be at the same address by now
            del self._links[link.pointer]
            self._lib.pn_link_free(link.pointer)

    # ---- what Proton keeps in trees of values

    def _value(self, data: Pointer) -> object:
        """The value of a tree, None if there is none, or none that can be read."""
        lib = self._lib
        size = lib.pn_data_encoded_size(data)
        if size <= 0:
            return None
        buffer = bytearray(size)
        written = lib.pn_data_encode(data, self._ffi.from_buffer(buffer), size)
        try:
            return decode(bytes(buffer[: max(written, 0)]))[0]
        except CodecError:
            return None

    def _put(self, data: Pointer, value: object) -> None:
        content = encode(value)
        self._lib.pn_data_clear(data)
        self._lib.pn_data_decode(data, self._ffi.from_buffer(content), len(content))

    def _terminus(self, pointer: Pointer) -> Terminus:
        lib, c = self._lib, self._c
        kinds = {c.PN_SOURCE: "source", c.PN_TARGET: "target", c.PN_COORDINATOR: "coordinator"}
        terminus = Terminus(kinds.get(lib.pn_terminus_get_type(pointer), ""))
        if not terminus.kind:
            return terminus
        terminus.address = self._text(lib.pn_terminus_get_address(pointer))
        terminus.durability = lib.pn_terminus_get_durability(pointer)
        terminus.expiry = lib.pn_terminus_get_expiry_policy(pointer)
        terminus.dynamic = bool(lib.pn_terminus_is_dynamic(pointer))
        terminus.copy = lib.pn_terminus_get_distribution_mode(pointer) == c.PN_DIST_MODE_COPY
        capabilities = self._value(lib.pn_terminus_capabilities(pointer))
        if isinstance(capabilities, list):
            terminus.capabilities = tuple(capabilities)
        elif capabilities is not None:
            terminus.capabilities = (capabilities,)
        filters = self._value(lib.pn_terminus_filter(pointer))
        if isinstance(filters, dict):
            terminus.filters = filters
        return terminus

    # ---- the connection

    def open(self, container_id: str, capabilities: Sequence[str], properties: Mapping[str, object]) -> None:
        """Answer the peer's `open`."""
        lib, connection = self._lib, self._connection
        self._c.pn_connection_set_container(connection, container_id)
        if capabilities:
            offered = lib.pn_connection_offered_capabilities(connection)
            self._put(offered, Array(Symbol(name) for name in capabilities))
        mapped = {Symbol(name): value for name, value in properties.items()}
        self._put(lib.pn_connection_properties(connection), mapped)
        lib.pn_connection_open(connection)

    def close(self, condition: str = "", text: str = "", info: Mapping[str, object] | None = None) -> None:
        """Close it; later events are none."""
        if self.is_over:
            return
        self.is_over = True
        lib, connection = self._lib, self._connection
        if condition:
            self._tell(lib.pn_connection_condition(connection), condition, text, info)
        lib.pn_connection_close(connection)

    def _tell(
        self, place: Pointer, condition: str, text: str, info: Mapping[str, object] | None = None
    ) -> None:
        self._c.pn_condition_set_name(place, condition)
        self._c.pn_condition_set_description(place, text.encode("utf-8", "replace").decode())
        if info:
            self._put(self._lib.pn_condition_info(place), {Symbol(key): value for key, value in info.items()})

    # ---- links

    def attach(self, link: Link, source: Terminus, target: Terminus) -> None:
        """Answer a peer's `attach`: these are the ends as they are.

        They are written anew: what the peer has put into its own may be nothing that Proton can write.
        """
        lib, c, pointer = self._lib, self._c, link.pointer
        self._set(lib.pn_link_source(pointer), source)
        self._set(lib.pn_link_target(pointer), target)
        lib.pn_link_set_snd_settle_mode(pointer, lib.pn_link_remote_snd_settle_mode(pointer))
        lib.pn_link_set_rcv_settle_mode(pointer, c.PN_RCV_FIRST)
        if not link.sends:
            lib.pn_link_set_max_message_size(pointer, self._message_bytes_max)
        lib.pn_link_open(pointer)
        link.is_attached = True

    def _set(self, pointer: Pointer, wanted: Terminus) -> None:
        lib, c = self._lib, self._c
        kinds = {"source": c.PN_SOURCE, "target": c.PN_TARGET, "coordinator": c.PN_COORDINATOR}
        lib.pn_terminus_set_type(pointer, kinds.get(wanted.kind, c.PN_UNSPECIFIED))
        if wanted.kind in ("source", "target"):
            c.pn_terminus_set_address(pointer, wanted.address)
            lib.pn_terminus_set_durability(pointer, wanted.durability)
            lib.pn_terminus_set_expiry_policy(pointer, wanted.expiry)
            lib.pn_terminus_set_dynamic(pointer, wanted.dynamic)
        if wanted.kind == "source":
            if wanted.copy:
                lib.pn_terminus_set_distribution_mode(pointer, c.PN_DIST_MODE_COPY)
            if wanted.filters:
                self._put(lib.pn_terminus_filter(pointer), wanted.filters)
            self._put(lib.pn_terminus_outcomes(pointer), Array(Symbol(name) for name in OUTCOMES))
        if wanted.capabilities:
            names = [each for each in wanted.capabilities if isinstance(each, Symbol)]
            self._put(lib.pn_terminus_capabilities(pointer), Array(names))

    def refuse(self, link: Link, condition: str, text: str) -> None:
        """There is no such link: it is attached without an end of ours, and closed with the reason."""
        self._lib.pn_link_open(link.pointer)
        self.end_link(link, condition, text)

    def end_link(self, link: Link, condition: str, text: str) -> None:
        """Close a link for a reason that its peer is told."""
        if not link.is_open:
            return
        link.is_open = False
        if condition:
            self._tell(self._lib.pn_link_condition(link.pointer), condition, text)
        self._lib.pn_link_close(link.pointer)

    def answer_detach(self, link: Link, *, closed: bool) -> None:
        """The peer has detached: so do we, if we have not before, and forget it."""
        if link.is_open:
            link.is_open = False
            if closed:
                self._lib.pn_link_close(link.pointer)
            else:
                self._lib.pn_link_detach(link.pointer)
        self._forget(link)

    def flow(self, link: Link, credit: int) -> None:
        """Let the peer send so many more messages."""
        self._lib.pn_link_flow(link.pointer, credit)

    def credit(self, link: Link) -> int:
        """How many messages the peer takes."""
        credit: int = self._lib.pn_link_credit(link.pointer)
        return credit

    def drains(self, link: Link) -> bool:
        """The peer wants to know when there is nothing more, and to have its credit back."""
        return bool(self._lib.pn_link_get_drain(link.pointer))

    def drained(self, link: Link) -> None:
        """There is nothing more."""
        self._lib.pn_link_drained(link.pointer)

    # ---- deliveries

    def send(self, link: Link, content: bytes, at: int, *, settled: bool) -> Pointer:
        """Send a message that begins at a place in some bytes; returns its delivery if it is not settled."""
        lib, pointer, from_buffer = self._lib, link.pointer, self._ffi.from_buffer
        link.tags += 1
        tag = from_buffer(link.tags.to_bytes(_TAG_BYTES, "big"))
        delivery = lib.pn_delivery(pointer, (_TAG_BYTES, tag))
        lib.pn_link_send(pointer, from_buffer(content) + at, len(content) - at)
        lib.pn_link_advance(pointer)
        if settled:
            lib.pn_delivery_settle(delivery)
        return delivery

    def settle(self, delivery: Pointer, state: int = 0) -> None:
        """Be done with a delivery, in a state if one is given."""
        if state:
            self._lib.pn_delivery_update(delivery, state)
        self._lib.pn_delivery_settle(delivery)

    def reject(self, delivery: Pointer, condition: str, text: str) -> None:
        """Settle a delivery that is not taken."""
        lib = self._lib
        self._tell(lib.pn_disposition_condition(lib.pn_delivery_local(delivery)), condition, text)
        self.settle(delivery, REJECTED)

    def update(self, delivery: Pointer, state: int, values: Sequence[object], *, settled: bool) -> None:
        """Give a delivery a state that has fields of its own."""
        lib = self._lib
        self._put(lib.pn_disposition_data(lib.pn_delivery_local(delivery)), list(values))
        lib.pn_delivery_update(delivery, state)
        if settled:
            lib.pn_delivery_settle(delivery)

    def remote_values(self, delivery: Pointer) -> list[Any]:
        """The fields of a state that has its own, as the peer gave them."""
        value = self._value(self._lib.pn_disposition_data(self._lib.pn_delivery_remote(delivery)))
        return value if isinstance(value, list) else []

    def remote_modified(self, delivery: Pointer) -> tuple[bool, bool]:
        """Of the state modified: whether the delivery has failed, and whether it is not wanted here again."""
        lib = self._lib
        remote = lib.pn_delivery_remote(delivery)
        return bool(lib.pn_disposition_is_failed(remote)), bool(lib.pn_disposition_is_undeliverable(remote))

    def remote_error(self, delivery: Pointer) -> str:
        """Of the state rejected: why."""
        lib = self._lib
        condition, text = self._condition(lib.pn_disposition_condition(lib.pn_delivery_remote(delivery)))
        return f"{condition}: {text}" if condition and text else condition or text
