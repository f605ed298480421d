"""Branches of distributed transactions: open ones here, prepared ones in the journal.

::

    begin ──▶ open ──prepare──▶ prepared ──commit, roll back──────────────▶ ended
               │ │                 └─────an administrator decides──▶ heuristic ──forget──▶ ended
               │ └──commit in one phase, roll back, its connection is lost──▶ ended
               └──prepare, and nothing was done (read-only)──▶ ended

A branch belongs to the broker, not to a connection: others may take part in it, prepare and end it. What it
has sent and acknowledged is in the journal from its preparation on, see `journal.branches`; what memory knows
of it besides goes with this broker.

Source: XA; ActiveMQ's `TransactionBroker` and `XATransaction`, for what its clients expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.destination import Destination
from broker.errors import BranchRefused, InvalidDestination, ResourceExhausted, TransactionRefused
from broker.message import Message, encode_message
from broker.region.durable import DurableSubscription
from broker.region.entry import Entry
from broker.region.parts import place_of
from broker.region.queue import Queue
from broker.region.routing import Arrivals
from broker.region.topic import Topic
from broker.region.transaction import Transaction
from broker.xa import READ_ONLY, XaCode, not_known
from journal.record import (
    NORMAL_PRIORITY,
    PREPARED,
    SCHEDULED,
    AddMessage,
    CommitBranch,
    Held,
    PrepareBranch,
    Record,
    RollBackBranch,
)

if TYPE_CHECKING:
    from broker.region.connection import RegionConnection
    from broker.region.region import Region
    from broker.region.routing import Route
    from journal.branches import Branches as Known

WORK_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of the record that says what a branch did, by estimate: an eighth of the longest record."""
HELD_BYTES: Final = 40
"""About what a message takes in it."""


@dataclass(frozen=True, slots=True)
class PreparedBranch:
    """A prepared branch, for people.

    Attributes:
        xid: as text.
        user: who prepared it.
        client_id: of the connection that did its work; "" if it had none.
        prepared_ms: when, milliseconds since the epoch.
        age_ms: since then.
        sent: by destination, how many messages it has sent.
        consumed: by queue, how many it has acknowledged.
        acknowledged: by client id and name of durable subscriptions, likewise.
    """

    xid: str
    user: str
    client_id: str
    prepared_ms: int
    age_ms: int
    sent: dict[str, int]
    consumed: dict[str, int]
    acknowledged: dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Absent:
    """A connection that is gone, as far as it matters who has sent something."""

    client_id: str | None


class Branches:
    """All branches of a region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._open: dict[str, Transaction] = {}
        self._work: dict[str, Transaction] = {}
        """What memory knows of prepared branches."""

    @property
    def _known(self) -> Known:
        return self._region.store.state.branches

    # ---- the steps of a manager

    def begin(self, connection: RegionConnection, xid: str) -> None:
        """Let a connection take part in a branch; the first that does begins it.

        Raises:
            BranchRefused: it is prepared, or an administrator has ended it.
            ResourceExhausted: too many are open.
        """
        known = self._known
        transaction = self._open.get(xid)
        if transaction is None:
            ended = connection.failover_reconnect and xid in known.ended
            is_taken = xid in known.prepared or xid in known.heuristic
            if is_taken and not connection.failover_reconnect:
                raise BranchRefused(f"Transaction '{xid}' is prepared already.", XaCode.DUPLICATE_ID)
            transaction = Transaction(xid, connection, repeats=is_taken or ended)
        else:
            self._permit(connection, xid, transaction.connection.user)
        connection.transactions.join(transaction)
        if not transaction.repeats:
            self._open[xid] = transaction

    def prepare(self, connection: RegionConnection, xid: str) -> int:
        """Put what a branch did into the journal, to wait there for its outcome.

        Returns:
            The batch; `READ_ONLY`: it did nothing, and is ended.

        Raises:
            SendBlocked: it has to wait for its sends.
            BranchRefused: it is not known, has an outcome, or cannot be prepared and is rolled back.
        """
        transaction = self._open.get(xid)
        if transaction is None:
            branch = self._known.prepared.get(xid)
            if branch is None:
                raise self._ended(xid)
            self._permit(connection, xid, branch.user)
            connection.transactions.leave(xid)
            return self._region.last_batch
        self._permit(connection, xid, transaction.connection.user)
        if not transaction.operations and not transaction.connection.blocked.holds(xid):
            self._end(transaction)
            return READ_ONLY
        try:
            transaction.check(self._region)
            records = self._records(transaction, connection.user)
        except (InvalidDestination, ResourceExhausted, TransactionRefused) as error:
            self._end(transaction)
            transaction.roll_back()
            raise BranchRefused(
                f"Transaction '{xid}' has been rolled back: {error}", XaCode.RB_OTHER
            ) from error
        self._end(transaction)
        self._work[xid] = transaction
        return self._region.append(records)

    def commit(self, connection: RegionConnection, xid: str, *, one_phase: bool) -> int:
        """What the branch did counts; returns the batch that says so.

        Raises:
            SendBlocked: it has to wait for its sends.
            BranchRefused: it is not known or not prepared, has another outcome, or cannot be committed in one
                phase and is rolled back.
        """
        transaction = self._open.get(xid)
        if transaction is None:
            return self._end_prepared(connection, xid, committed=True)
        self._permit(connection, xid, transaction.connection.user)
        if not one_phase:
            raise BranchRefused(f"Transaction '{xid}' has not been prepared.", XaCode.PROTOCOL)
        try:
            transaction.check(self._region)
            batch = transaction.commit(self._region, CommitBranch(xid)) if transaction.operations else 0
        except (InvalidDestination, ResourceExhausted, TransactionRefused) as error:
            self._end(transaction)
            transaction.roll_back()
            raise BranchRefused(
                f"Transaction '{xid}' has been rolled back: {error}", XaCode.RB_OTHER
            ) from error
        self._end(transaction)
        return batch

    def roll_back(self, connection: RegionConnection, xid: str) -> int:
        """What the branch did counts for nothing; returns the batch that says so.

        Raises:
            BranchRefused: it is not known, or has another outcome.
        """
        transaction = self._open.get(xid)
        if transaction is None:
            return self._end_prepared(connection, xid, committed=False)
        self._permit(connection, xid, transaction.connection.user)
        transaction.connection.blocked.drop(xid)
        self._end(transaction)
        transaction.roll_back()
        return 0

    def forget(self, connection: RegionConnection, xid: str) -> int:
        """The manager has been told what an administrator decided; returns the batch that says so.

        Raises:
            BranchRefused: nobody has decided anything.
        """
        transaction = self._open.get(xid)
        branch = self._known.prepared.get(xid)
        if transaction is not None or branch is not None:
            raise BranchRefused(f"Transaction '{xid}' has no outcome yet.", XaCode.PROTOCOL)
        connection.transactions.leave(xid)
        return self.forget_heuristic(xid)

    def recover(self, connection: RegionConnection) -> list[str]:
        """The branches that wait for an outcome, or for being forgotten, as far as a user may end them."""
        known = self._known
        prepared = [xid for xid, branch in known.prepared.items() if self._may_end(connection, branch.user)]
        return prepared + (list(known.heuristic) if self._may_end(connection, None) else [])

    # ---- administrators

    def prepared(self) -> list[PreparedBranch]:
        """The prepared branches, the oldest first."""
        now_ms = self._region.now_ms
        return [
            PreparedBranch(
                branch.xid,
                branch.user,
                branch.client_id,
                branch.prepared_ms,
                max(now_ms - branch.prepared_ms, 0),
                {name: len(entries) for name, entries in branch.sent.items()},
                {name: len(entries) for name, entries in branch.consumed.items()},
                {key: len(entries) for key, entries in branch.acknowledged.items()},
            )
            for branch in self._known.prepared.values()
        ]

    def decide(self, xid: str, *, committed: bool) -> int:
        """End a prepared branch whose manager does not; it is told when it comes.

        Raises:
            BranchRefused: no such branch is prepared.
        """
        if xid not in self._known.prepared:
            raise not_known(xid)
        return self._outcome(xid, committed=committed, heuristic=True)

    def forget_heuristic(self, xid: str) -> int:
        """Nobody needs to be told any more what an administrator decided.

        Raises:
            BranchRefused: nobody has decided anything.
        """
        committed = self._known.heuristic.get(xid)
        if committed is None:
            raise not_known(xid)
        return self._region.append((CommitBranch(xid) if committed else RollBackBranch(xid),))

    # ---- the end of an open one

    def gone(self, transaction: Transaction) -> None:
        """An open branch is rolled back: its connection is lost, or it holds too much."""
        if self._open.get(transaction.name) is transaction:
            del self._open[transaction.name]

    def _end(self, transaction: Transaction) -> None:
        transaction.ended = True
        del self._open[transaction.name]
        transaction.connection.transactions.leave(transaction.name)

    # ---- preparation

    def _records(self, transaction: Transaction, user: str) -> list[Record]:
        """What the journal is told when a branch is prepared; the numbers of its messages are given.

        Raises:
            ResourceExhausted: too many branches are prepared, or it is too much.
            InvalidDestination: a message cannot be sent.
        """
        region, limit = self._region, self._region.limits.prepared_max
        if len(self._known.prepared) >= limit:
            raise ResourceExhausted(f"A broker has at most {limit} prepared branches.")
        stored, volatile = self._sent(transaction)
        sent: dict[str, list[Held]] = {}
        records: list[Record] = []
        for ref, (uri, message, draft) in enumerate(stored, region.next_ref):
            priority = NORMAL_PRIORITY if uri.startswith("topic:") else message.priority
            if draft is None:
                records.append(self._record(ref, uri, message, priority))
            else:
                draft.ref, draft.destination = ref, PREPARED + uri
                records.append(draft)
            sent.setdefault(uri, []).append(Held(ref, priority, message.expiration))
        consumed, acknowledged = self._taken(transaction)
        names = [*sent, *consumed, *(text for key in acknowledged for text in key)]
        count = len(stored) + len(transaction.acknowledged)
        if sum(map(len, names)) * 6 + count * HELD_BYTES > WORK_BYTES_MAX:
            raise ResourceExhausted("The branch is too large to be prepared.")
        client_id = transaction.connection.client_id or ""
        records.append(
            PrepareBranch(transaction.name, user, client_id, region.now_ms, sent, consumed, acknowledged)
        )
        region.next_ref += len(stored)
        transaction.volatile = volatile
        transaction.sends, transaction.drafts = [], []
        return records

    def _sent(
        self, transaction: Transaction
    ) -> tuple[list[tuple[str, Message, AddMessage | None]], list[Route]]:
        """The messages that the journal keeps, with where they go and their drafts if any, and the others."""
        region = self._region
        stored: list[tuple[str, Message, AddMessage | None]] = []
        volatile: list[Route] = []
        for message, draft in zip(transaction.sends, transaction.drafts, strict=True):
            if message.properties is not None and region.schedule.wants(message):
                stored.append((SCHEDULED, message, None))
                continue
            target = region.targets.get(message.destination)
            if draft is not None and target is not None and target.forwards is None:
                stored.append((target.uri, message, draft))
                continue
            for target, routed in region.routing.routes(message):
                if routed.persistent and target.stored:
                    stored.append((target.uri, routed, None))
                else:
                    volatile.append((target, routed))
        return stored, volatile

    def _record(self, ref: int, uri: str, message: Message, priority: int) -> AddMessage:
        body, limit = encode_message(message), self._region.limits.message_bytes_max
        if len(body) > limit:
            raise ResourceExhausted(f"The message has {len(body)} bytes; the limit is {limit}.")
        producer_id, sequence = message.producer_id, message.producer_sequence_id
        return AddMessage(ref, PREPARED + uri, producer_id, sequence, body, priority, message.expiration)

    def _taken(
        self, transaction: Transaction
    ) -> tuple[dict[str, list[Held]], dict[tuple[str, str], list[Held]]]:
        """What it acknowledged, of queues and of durable subscriptions."""
        state = self._region.store.state
        consumed: dict[str, list[Held]] = {}
        acknowledged: dict[tuple[str, str], list[Held]] = {}
        for consumer, entry in transaction.acknowledged:
            if not entry.stored:
                continue
            ref, place = entry.ref, place_of(consumer, entry)
            if isinstance(place, Queue):
                uri, counter = place.uri, entry.redelivery_counter
                held = Held(ref, state.priority_of(ref, uri), state.expiration_of(ref, uri), counter)
                consumed.setdefault(uri, []).append(held)
            elif isinstance(place, DurableSubscription):
                held = Held(ref, counter=entry.redelivery_counter)
                acknowledged.setdefault(place.key, []).append(held)
        return consumed, acknowledged

    # ---- the outcome of a prepared one

    def _end_prepared(self, connection: RegionConnection, xid: str, *, committed: bool) -> int:
        branch = self._known.prepared.get(xid)
        if branch is not None:
            self._permit(connection, xid, branch.user)
            connection.transactions.leave(xid)
            return self._outcome(xid, committed=committed, heuristic=False)
        known = self._known.ended.get(xid)
        if known is not None and connection.failover_reconnect:
            connection.transactions.leave(xid)
            if known is committed:
                return self._region.last_batch
            if committed:
                raise BranchRefused(f"Transaction '{xid}' was rolled back.", XaCode.RB_ROLLBACK)
        raise self._ended(xid)

    def _ended(self, xid: str) -> BranchRefused:
        """Why there is nothing to be done about a branch."""
        committed = self._known.heuristic.get(xid)
        if committed is None:
            return not_known(xid)
        if committed:
            text = f"Transaction '{xid}' was committed by an administrator."
            return BranchRefused(text, XaCode.HEURISTIC_COMMIT)
        text = f"Transaction '{xid}' was rolled back by an administrator."
        return BranchRefused(text, XaCode.HEURISTIC_ROLLBACK)

    def _outcome(self, xid: str, *, committed: bool, heuristic: bool) -> int:
        branch = self._known.prepared[xid]
        work = self._work.get(xid)
        if committed:
            try:
                batch = self._commit(branch, work, heuristic)
            except (InvalidDestination, ResourceExhausted) as error:
                text = f"Transaction '{xid}' cannot be committed now: {error}"
                raise BranchRefused(text, XaCode.RETRY) from error
            self._work.pop(xid, None)
            return batch
        self._work.pop(xid, None)
        batch = self._region.append((RollBackBranch(xid, heuristic),))
        if work is not None:
            work.roll_back(at_once=heuristic)
        else:
            self._return(branch)
        return batch

    def _commit(self, branch: PrepareBranch, work: Transaction | None, heuristic: bool) -> int:
        region = self._region
        targets = {uri: region.target(Destination.parse(uri)) for uri in branch.sent if uri != SCHEDULED}
        published = {
            held.ref: region.load(held.ref, PREPARED + uri)
            for uri, entries in branch.sent.items()
            for held in entries
            if not isinstance(targets.get(uri), Queue)
        }
        sender = Absent(branch.client_id or None) if work is None else work.connection
        due = [published[held.ref] for held in branch.sent.get(SCHEDULED, ())]
        volatile = [] if work is None else work.volatile
        later = [message for message in due if message is not None]
        arrivals = Arrivals(region, volatile, None if work is None else work.connection, later)
        records: list[Record] = [CommitBranch(branch.xid, heuristic), *arrivals.records]
        for uri, topic in targets.items():
            if isinstance(topic, Topic):
                for held in branch.sent[uri]:
                    message = published[held.ref]
                    if message is not None:
                        records += topic.unwanted(message, held.ref, sender)
        if work is not None:
            work.finish([])  # the branch's own record says it
        batch = region.append(records)
        for uri, target in targets.items():
            for held in branch.sent[uri]:
                if isinstance(target, Queue):
                    target.admit(held, batch)
                elif (message := published[held.ref]) is not None:
                    target.admit(message, held.ref, batch, sender)
        arrivals.accept(batch, volatile_batch=batch)
        return batch

    def _return(self, branch: PrepareBranch) -> None:
        """What a branch of an earlier broker has acknowledged waits again."""
        region = self._region
        for uri, entries in branch.consumed.items():
            queue = region.targets.get(Destination.parse(uri))
            if isinstance(queue, Queue):
                for held in entries:
                    queue.take_back(held)
        for key, entries in branch.acknowledged.items():
            subscription = region.subscriptions.durable.get(key)
            if subscription is not None:
                for held in entries:
                    entry = Entry(held.ref, None, 0, True)
                    entry.redelivery_counter = held.counter
                    subscription.admit(entry)

    # ---- rights

    def _may_end(self, connection: RegionConnection, user: str | None) -> bool:
        """Whether a connection may see and end a branch of this user; None: nobody knows whose it is."""
        rights = self._region.rights
        return not rights.restricted or connection.user == user or rights.is_admin(connection.user)

    def _permit(self, connection: RegionConnection, xid: str, user: str) -> None:
        """Let it pass if the connection may end the branch.

        Raises:
            BranchRefused: it may not.
        """
        if not self._may_end(connection, user):
            raise BranchRefused(
                f"User {connection.user} is not authorized to take part in transaction '{xid}'.",
                XaCode.PROTOCOL,
            )
