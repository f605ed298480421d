"""The sessions of MQTT's clients: what outlives a connection, a restart and a takeover.

::

    connected ─connection ends─▶ away ─expiry─▶ ended
        ▲                          │ will delay: the will is published
        └────────── resume ────────┘

The messages of a session wait in durable subscriptions of the region. The rest are notes of the journal,
whose owner is `mqtt:` and the client id:

==============  =========================================================================================
key             value
==============  =========================================================================================
`session`       expiry interval, seconds (4 bytes); since when the client is away, milliseconds since the
                epoch (8; 0: it is connected)
`will`          the will, until it is published or not wanted any more
`filter:…`      a subscription: options (1 byte), identifier (4)
`in:N`          packet identifier N was received with QoS 2 and is not released: 1
`out:N`         it was sent with QoS 2: 1, number of the message (8), name of its subscription; 2: its
                receipt is acknowledged, PUBCOMP is missing
==============  =========================================================================================

What happens because a connection has ended is done in the next turn: connections that end with a mastership
must change nothing.

Source: MQTT 5.0 §3.1.2.11.2 (expiry), §3.1.3.2.2 (will delay), §4.1 (session state).
"""

from __future__ import annotations

import heapq
import logging
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from broker.errors import ClientError
from broker.mqtt import translation
from broker.mqtt.packets import Will
from broker.mqtt.topics import SHARE
from broker.region.riders import in_one_append
from broker.region.routing import send_along
from journal.record import Note, Record

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.region import Region

OWNER: Final = "mqtt:"
SESSION: Final = "session"
WILL: Final = "will"
FILTER: Final = "filter:"
RECEIVED: Final = "in:"
SENT: Final = "out:"
FOR_EVER_S: Final = 0xFFFFFFFF
"""Expiry interval of a session that never ends by itself."""
WILL_GRACE_MS: Final = 10_000
"""How long a new master waits at least for a client to come back before it publishes the client's will: its
connection has ended with the old master and not with the client, and clients come back within seconds."""
ORPHAN_MS: Final = 60_000
"""How long a new master keeps a shared subscription of which no stored session is a member: its members had
sessions that end with their connections, and may come back."""

_log: Final = logging.getLogger("broker.mqtt")
_SESSION: Final = struct.Struct(">IQ")
assert _SESSION.size == 12
_FILTER: Final = struct.Struct(">BI")
assert _FILTER.size == 5
_SENT: Final = struct.Struct(">BQ")
assert _SENT.size == 9
PUBLISHED: Final = 1
RELEASED: Final = 2


class Sent(NamedTuple):
    """What became of a packet identifier that was sent with a message.

    Attributes:
        name: of the durable subscription; "": it came from none.
        ref: the message's number; 0: its receipt is acknowledged, and PUBCOMP is missing.
        qos: 1 or 2; those of 1 are not stored.
        filter: of the subscription, while there is a connection.
    """

    name: str
    ref: int
    qos: int
    filter: str = ""

    def encode(self) -> bytes:
        """As it is stored."""
        return _SENT.pack(PUBLISHED if self.ref else RELEASED, self.ref) + self.name.encode()

    @classmethod
    def decode(cls, value: bytes) -> Sent:
        """The reverse."""
        return cls(value[_SENT.size :].decode(), _SENT.unpack_from(value)[1], 2)


@dataclass(slots=True)
class Subscribed:
    """One subscription of a session.

    Attributes:
        filter: as the client wrote it.
        qos: highest of what it is sent.
        no_local: not what the client itself publishes.
        retain_as_published: keep the retain flag.
        id: its identifier, 0 if it has none.
        name: of the durable subscription that it takes from; "": it takes from none.
    """

    filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    id: int = 0
    name: str = ""

    def encode(self) -> bytes:
        """As it is stored."""
        options = self.qos | self.no_local << 2 | self.retain_as_published << 3 | bool(self.name) << 4
        return _FILTER.pack(options, self.id)

    @classmethod
    def decode(cls, filter_: str, value: bytes) -> Subscribed:
        """The reverse; the name follows from the rest."""
        options, id_ = _FILTER.unpack(value)
        return cls(
            filter_, options & 3, bool(options & 4), bool(options & 8), id_, "?" if options & 16 else ""
        )


class Owner(Protocol):
    """Who speaks to a session's client."""

    def take_over(self) -> None:
        """Another connection of the same client id has come: end this one."""
        ...


@dataclass(slots=True, eq=False)
class Session:
    """What is known of one client.

    Attributes:
        client_id: its own, or one that was made up for it.
        expiry_s: how long it outlives its connection; 0: not at all.
        away_since_ms: since when the client is away, milliseconds since the epoch; 0: it is connected.
        subscriptions: by filter, in the order in which they came.
        received: packet identifiers of QoS 2 that were received and not released.
        sent: what became of packet identifiers that were sent and are not free: those of earlier connections,
            and those of which only PUBCOMP is missing.
        will: what is published if the client goes without saying so.
        will_due_ms: when, if it is away and does not come back; 0: it is not away, or has no will.
        lost_by_broker: its connection ended with an earlier mastership.
        server: its connection's.
        stored: the journal knows it.
    """

    client_id: str
    expiry_s: int = 0
    away_since_ms: int = 0
    subscriptions: dict[str, Subscribed] = field(default_factory=dict)
    received: set[int] = field(default_factory=set)
    sent: dict[int, Sent] = field(default_factory=dict)
    will: Will | None = None
    will_due_ms: int = 0
    lost_by_broker: bool = False
    server: Owner | None = None
    stored: bool = False

    @property
    def owner(self) -> str:
        """Of its notes."""
        return OWNER + self.client_id

    def note(self, key: str, value: bytes = b"") -> Note:
        """Something changes that is stored."""
        return Note(self.owner, key, value)

    def header(self) -> Note:
        """The note about the session itself."""
        return self.note(SESSION, _SESSION.pack(self.expiry_s, self.away_since_ms))

    def deadline_ms(self) -> int | None:
        """When something happens if the client stays away; None: nothing does."""
        if self.server is not None:
            return None
        if self.will is not None and self.lost_by_broker:
            return self.will_due_ms
        times = [] if self.will is None else [self.will_due_ms]
        if self.expiry_s != FOR_EVER_S:
            times.append(self.expires_ms)
        return min(times, default=None)

    @property
    def expires_ms(self) -> int:
        """When the session of a client that is away ends, if it does not last for ever."""
        return self.away_since_ms + 1000 * self.expiry_s


class Sessions:
    """All sessions of one mastership, and their clock.

    Attributes:
        by_id: by client id.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self.by_id: dict[str, Session] = {}
        self.groups: dict[str, dict[Session, None]] = {}
        """The members of shared subscriptions."""
        self._lost: dict[Session, bool] = {}
        """Whose connection has ended, and whether the will is wanted."""
        self._timers: list[tuple[int, int, Session]] = []
        self._count = 0
        self._unsaid: dict[Session, None] = {}
        """Who is away, and the journal does not know it."""
        self._orphans_ms = 0
        self._recover()

    @classmethod
    def of(cls, region: Region) -> Sessions:
        """The sessions of a region."""
        for task in region.tasks:
            if isinstance(task, cls):
                return task
        made = cls(region)
        region.tasks.append(made)
        return made

    # ---- the beginning of a mastership

    def _recover(self) -> None:
        """Take over what the journal holds: all clients are away now."""
        notes, now_ms = self._region.store.state.notes, self._region.now_ms
        for owner in notes:
            if not owner.startswith(OWNER):
                continue
            session = Session(owner.removeprefix(OWNER), stored=True, lost_by_broker=True)
            session.away_since_ms = now_ms
            for key, value in notes.of(owner).items():
                self._recall(session, key, value)
            self.by_id[session.client_id] = session
            if session.will is not None:
                delay_ms = 1000 * (session.will.properties.will_delay_s or 0)
                session.will_due_ms = max(session.away_since_ms + delay_ms, now_ms + WILL_GRACE_MS)
            self._watch(session)
        if any(self._is_shared(key) for key in self._region.subscriptions.durable):
            self._orphans_ms = now_ms + ORPHAN_MS

    def _recall(self, session: Session, key: str, value: bytes) -> None:
        """One note."""
        if key == SESSION:
            session.expiry_s, away_since_ms = _SESSION.unpack(value)
            if away_since_ms:
                session.away_since_ms = away_since_ms
            else:  # it was connected: from now on it is away
                self._unsaid[session] = None
        elif key == WILL:
            session.will = translation.decode_will(value)
        elif key.startswith(FILTER):
            subscribed = Subscribed.decode(key.removeprefix(FILTER), value)
            session.subscriptions[subscribed.filter] = subscribed
            if subscribed.name:
                subscribed.name = self.durable_name(session, subscribed)
            if subscribed.filter.startswith(SHARE):
                self.groups.setdefault(subscribed.filter, {})[session] = None
        elif key.startswith(RECEIVED):
            session.received.add(int(key.removeprefix(RECEIVED)))
        elif key.startswith(SENT):
            session.sent[int(key.removeprefix(SENT))] = Sent.decode(value)

    # ---- subscriptions

    def durable_name(self, session: Session, subscribed: Subscribed) -> str:
        """The name of the durable subscription of a filter: that which there is, or a new one.

        Source: ActiveMQ, which names them after the QoS; here one stays when the QoS changes.
        """
        filter_ = subscribed.filter
        if filter_.startswith(SHARE):
            return filter_
        names = [f"{each}:{filter_}" for each in ("AT_LEAST_ONCE", "EXACTLY_ONCE")]
        durable = self._region.subscriptions.durable
        known = [name for name in names if (session.client_id, name) in durable]
        return known[0] if known else names[max(subscribed.qos - 1, 0)]

    def add(self, session: Session, subscribed: Subscribed) -> list[Record]:
        """A session has a subscription, or has changed it; returns what is to be stored."""
        session.subscriptions[subscribed.filter] = subscribed
        if subscribed.filter.startswith(SHARE):
            self.groups.setdefault(subscribed.filter, {})[session] = None
        return [session.note(FILTER + subscribed.filter, subscribed.encode())] if session.expiry_s else []

    def remove(self, session: Session, filter_: str) -> list[Record]:
        """A session has a subscription less, whose consumer is closed; returns what is to be stored."""
        subscribed = session.subscriptions.pop(filter_)
        records = self._let_go(session, subscribed)
        if session.stored:
            records.append(session.note(FILTER + filter_))
        return records

    def _let_go(self, session: Session, subscribed: Subscribed) -> list[Record]:
        """Its durable subscription ends, unless others share it."""
        if subscribed.filter.startswith(SHARE):
            members = self.groups.get(subscribed.filter, {})
            members.pop(session, None)
            if members:
                return []
            self.groups.pop(subscribed.filter, None)
            return self._end_subscription("", subscribed.name)
        return self._end_subscription(session.client_id, subscribed.name) if subscribed.name else []

    def _end_subscription(self, client_id: str, name: str) -> list[Record]:
        subscriptions = self._region.subscriptions
        subscription = subscriptions.durable.get((client_id, name))
        if subscription is None or subscription.consumers:
            return []
        self._region.advisories.subscription_removed("", subscription)
        return [subscriptions.end(subscription)]

    @staticmethod
    def _is_shared(key: tuple[str, str]) -> bool:
        return not key[0] and key[1].startswith(SHARE)

    # ---- clients come

    def resume(
        self, client_id: str, expiry_s: int, will: Will | None, server: Owner, *, clean_start: bool
    ) -> tuple[Session, bool, int]:
        """A client has come; an older connection of its is ended.

        Returns:
            Its session, whether that is an earlier one, and the batch to wait for.
        """
        session = self.by_id.get(client_id)
        if session is not None and session.server is not None:
            session.server.take_over()
        session = self.by_id.get(client_id)
        records: list[Record] = []
        if session is not None:
            if session.will is not None:
                records.append(session.note(WILL))
            if not self._lost.pop(session, True):
                session.will = None
            self._settle_will(session, clean_start=clean_start)
            if clean_start or not (session.expiry_s or session.subscriptions):
                records += self._ended(session)
                session = None
        is_present = session is not None
        if session is None:
            session = self.by_id[client_id] = Session(client_id)
        session.server, session.lost_by_broker = server, False
        session.expiry_s, session.will, session.will_due_ms, session.away_since_ms = expiry_s, will, 0, 0
        if expiry_s or session.stored:
            session.stored = True
            records.append(session.header())
        if will is not None:
            session.stored = True
            records.append(session.note(WILL, translation.encode_will(will)))
        return session, is_present, self._region.append(records) if records else 0

    def _settle_will(self, session: Session, *, clean_start: bool) -> None:
        """The client is back: its will is published if its session ends or the delay was none."""
        will = session.will
        session.will = None
        if will is None or session.lost_by_broker:
            return
        if clean_start or not will.properties.will_delay_s:
            self._publish(session, will)

    # ---- and go

    def lost(self, session: Session, server: Owner, *, wants_will: bool, expiry_s: int | None = None) -> None:
        """A connection has ended; what follows from it is done in the next turn."""
        if session.server is not server:
            return
        session.server = None
        if expiry_s is not None:
            session.expiry_s = expiry_s
        self._lost[session] = wants_will

    def _go_away(self, session: Session, *, wants_will: bool) -> list[Record]:
        """A client is away from now on; returns what is to be stored."""
        records: list[Record] = []
        now_ms = self._region.now_ms
        session.away_since_ms = now_ms
        if session.will is not None and not wants_will:
            records.append(session.note(WILL))
            session.will = None
        if session.will is not None:
            session.will_due_ms = now_ms + 1000 * (session.will.properties.will_delay_s or 0)
        if session.stored and session.expiry_s:
            records.append(session.header())
        self._watch(session)
        return records

    def _watch(self, session: Session) -> None:
        deadline_ms = session.deadline_ms()
        if deadline_ms is not None:
            self._count += 1
            heapq.heappush(self._timers, (deadline_ms, self._count, session))

    def _ended(self, session: Session) -> list[Record]:
        """A session is over, and what waits for it is gone; returns what is to be stored."""
        records: list[Record] = []
        for subscribed in session.subscriptions.values():
            records += self._let_go(session, subscribed)
        if session.stored:
            records.append(Note(session.owner, ""))
        if self.by_id.get(session.client_id) is session:
            del self.by_id[session.client_id]
        self._lost.pop(session, None)
        self._unsaid.pop(session, None)
        return records

    # ---- the clock

    @property
    def due_ms(self) -> int | None:
        """When `run` is to be called; None: never."""
        if self._lost or self._unsaid:
            return self._region.now_ms
        times = [self._timers[0][0]] if self._timers else []
        if self._orphans_ms:
            times.append(self._orphans_ms)
        return min(times, default=None)

    def run(self) -> None:
        """Do what is due."""
        now_ms = self._region.now_ms
        records: list[Record] = [each.header() for each in self._unsaid if each.server is None]
        self._unsaid.clear()
        lost, self._lost = self._lost, {}
        for session, wants_will in lost.items():
            records += self._go_away(session, wants_will=wants_will)
        while self._timers and self._timers[0][0] <= now_ms:
            _, _, session = heapq.heappop(self._timers)
            if self.by_id.get(session.client_id) is session and session.server is None:
                records += self._due(session)
        if self._orphans_ms and self._orphans_ms <= now_ms:
            self._orphans_ms = 0
            records += self._end_orphans()
        if records:
            self._region.append(records)

    def _due(self, session: Session) -> list[Record]:
        """The will or the session of a client that is away, or neither if it was away anew meanwhile."""
        now_ms = self._region.now_ms
        over = session.expiry_s != FOR_EVER_S and session.expires_ms <= now_ms
        if session.will is not None and session.will_due_ms <= now_ms:
            will, session.will, session.will_due_ms = session.will, None, 0
            self._publish(session, will)
        elif session.will is not None and over and not session.lost_by_broker:  # [MQTT-3.1.2-8]
            will, session.will = session.will, None
            self._publish(session, will)
        if over and session.will is None:
            return self._ended(session)
        self._watch(session)
        return []

    def _end_orphans(self) -> list[Record]:
        records: list[Record] = []
        for key in list(self._region.subscriptions.durable):
            if self._is_shared(key) and key[1] not in self.groups:
                records += self._end_subscription(*key)
        return records

    # ---- wills

    def _publish(self, session: Session, will: Will) -> None:
        """Publish a will; that it is not wanted any more is stored with it."""
        region = self._region
        message = translation.from_publish(will, f"{session.owner}:will:{region.now_ms}", region.now_ms)
        done = [session.note(WILL)] if session.stored else []
        try:
            in_one_append(region, done, lambda: self._send(message))
        except ClientError as error:
            _log.warning("The will of client %r is not published: %s", session.client_id, error)

    def _send(self, message: Message) -> int:
        return send_along(self._region, self._region.routing.routes(message), None)
