"""All who send and receive during a soak, and the questions that the soak asks them."""

import threading
import time
from collections.abc import Callable, Iterator

from integration.soak.accounts import Account, Totals, total
from integration.soak.producers import (
    AsynchronousProducer,
    Producer,
    TransactedProducer,
    Worker,
)
from integration.soak.receivers import ClientReceiver, Latecomer, Receiver, TransactedReceiver
from support.waiting import wait_until

from mqclient import Connection, Queue, Session, Topic
from mqclient.consumer import MessageConsumer
from mqclient.errors import ClientError

KIB = 1024
FLOW_TIMEOUT_S = 90.0
SETTLE_TIMEOUT_S = 90.0
FLOOD_SIZE = 128 * KIB
FLOOD_BYTES_MAX = 48 * 1024 * KIB
"""More than a data file holds: a broker that has not refused or held anything by then has found space."""
DRAIN_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
STALL_S = 1.0
"""A flood that nobody has answered for so long is held."""

ORDERS, BULK, LEDGER = Queue("soak.orders"), Queue("soak.bulk"), Queue("soak.ledger")
NEWS, ATTIC, FLOOD, ANCHORS = (
    Topic("soak.news"),
    Queue("soak.attic"),
    Queue("soak.flood"),
    Queue("soak.anchors"),
)

Connect = Callable[[str | None], Connection]
"""Makes a connection that follows the master, with a client id or without."""


class Traffic:
    """Seven accounts; the destinations behind them are as different as the ways to use a broker.

    =======  ===========================================  ===============================================
    queue    producers                                    receivers
    =======  ===========================================  ===============================================
    orders   two, synchronous                             acknowledges each
    bulk     two, asynchronous, also large messages       acknowledges up to 20 at once; sometimes leaves
    ledger   one, transactions                            transactions, sometimes rolled back
    news     two, a topic                                 a durable subscriber that stays, one that is away
    attic    one                                          none until all is well
    anchors  one message for each round                   none until the end of the soak
    flood    one, only while the disk is full             one, likewise
    =======  ===========================================  ===============================================
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connections: list[Connection] = []
        self._floods = 0
        self.reports: list[str] = []
        self.accounts = {
            name: Account(name)
            for name in ("orders", "bulk", "ledger", "reader", "commuter", "attic", "anchors", "flood")
        }
        self._receivers = self._make_receivers()
        self.commuter = Latecomer(
            self.accounts["commuter"],
            lambda: connect("commuter"),
            lambda session: session.create_durable_subscriber(NEWS, "commuter"),
        )
        self.commuter.come()
        self.attic = self._latecomer("attic", ATTIC)
        self._anchors = self._latecomer("anchors", ANCHORS)
        self._producers = self._make_producers()
        self._anchor = Producer(
            "anchor",
            self._connection(),
            ANCHORS,
            [self.accounts["anchors"]],
            interval_s=0.0,
            sizes=(KIB,),
        )

    # Its parts

    def _connection(self, client_id: str | None = None) -> Connection:
        connection = self._connect(client_id)
        connection.on_error = self._reported
        connection.start()
        self._connections.append(connection)
        return connection

    def _reported(self, error: ClientError) -> None:
        self.reports.append(f"a client was told: {error}")

    def _latecomer(self, name: str, queue: Queue) -> Latecomer:
        return Latecomer(
            self.accounts[name], lambda: self._connect(None), lambda session: session.create_consumer(queue)
        )

    def _make_receivers(self) -> list[Receiver]:
        accounts = self.accounts

        def queue(which: Queue) -> Callable[[Session], MessageConsumer]:
            return lambda session: session.create_consumer(which)

        return [
            Receiver(accounts["orders"], self._connection(), queue(ORDERS)),
            ClientReceiver(accounts["bulk"], self._connection(), queue(BULK)),
            TransactedReceiver(accounts["ledger"], self._connection(), queue(LEDGER)),
            Receiver(
                accounts["reader"],
                self._connection("reader"),
                lambda session: session.create_durable_subscriber(NEWS, "reader"),
            ),
        ]

    def _make_producers(self) -> list[Producer]:
        accounts = self.accounts
        small, mixed = (100, KIB, 2 * KIB), (KIB, KIB, 4 * KIB, 8 * KIB, 64 * KIB)
        news = [accounts["reader"], accounts["commuter"]]
        shared, bulk = self._connection(), self._connection()
        return [
            Producer("order-1", shared, ORDERS, [accounts["orders"]], interval_s=0.01, sizes=small),
            Producer(
                "order-2", self._connection(), ORDERS, [accounts["orders"]], interval_s=0.02, sizes=small
            ),
            AsynchronousProducer("bulk-1", bulk, BULK, [accounts["bulk"]], interval_s=0.01, sizes=mixed),
            AsynchronousProducer("bulk-2", bulk, BULK, [accounts["bulk"]], interval_s=0.02, sizes=mixed),
            TransactedProducer(
                "entry", self._connection(), LEDGER, [accounts["ledger"]], interval_s=0.05, sizes=small
            ),
            Producer("news-1", shared, NEWS, news, interval_s=0.04, sizes=small),
            Producer("news-2", shared, NEWS, news, interval_s=0.05, sizes=small),
            Producer("box", shared, ATTIC, [accounts["attic"]], interval_s=0.05, sizes=(4 * KIB,)),
        ]

    # What the soak asks for

    def start(self) -> None:
        """Let messages flow."""
        for worker in self._workers():
            worker.start()

    def flows(self, count: int = 10) -> None:
        """Wait until every producer's messages, so many of them, were acknowledged and received."""
        watched = [self.accounts[name] for name in ("orders", "bulk", "ledger", "reader")]
        sent = {account.name: account.acknowledged_count + count for account in watched}
        got = {account.name: account.settled_count + count for account in watched}

        def enough() -> bool:
            self.check()
            return all(
                account.acknowledged_count >= sent[account.name]
                and account.settled_count >= got[account.name]
                for account in watched
            )

        wait_until(
            enough, FLOW_TIMEOUT_S, lambda: f"messages flow in every queue: {self._progress(sent, got)}"
        )

    def _progress(self, sent: dict[str, int], got: dict[str, int]) -> str:
        return ", ".join(
            f"{name}: {self.accounts[name].acknowledged_count - count:+d} acknowledged,"
            f" {self.accounts[name].settled_count - got[name]:+d} received"
            for name, count in sent.items()
        )

    def settle(self, *, gathers: bool) -> None:
        """Hold the producers until all that was acknowledged has arrived; leaves them held.

        Args:
            gathers: also what nobody receives while faults happen.
        """
        for producer in self._producers:
            producer.pause()
        wait_until(self._all_paused, SETTLE_TIMEOUT_S, self._unpaused)
        live = [receiver.account for receiver in self._receivers]
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        wait_until(
            lambda: self._arrived(live) or time.monotonic() > deadline, SETTLE_TIMEOUT_S + 1, "all arrives"
        )
        for account in live:
            account.fold()
        if gathers:
            for latecomer in (self.attic, self.commuter):
                latecomer.gather(SETTLE_TIMEOUT_S)
                latecomer.account.fold()

    def _all_paused(self) -> bool:
        self.check()
        return all(producer.is_paused for producer in self._producers)

    def _unpaused(self) -> str:
        names = [producer.name for producer in self._producers if not producer.is_paused]
        return f"every send is answered; waiting: {', '.join(names)}"

    def _arrived(self, accounts: list[Account]) -> bool:
        self.check()
        return not any(account.missing() for account in accounts)

    def resume(self) -> None:
        """Let the producers send again."""
        for producer in self._producers:
            producer.resume()

    def drop_anchor(self) -> None:
        """Send a message that stays until the end of the soak; only when all is well."""
        self._anchor.send_some()

    def gather_anchors(self) -> None:
        """Receive those messages."""
        self._anchors.gather(SETTLE_TIMEOUT_S)
        self.accounts["anchors"].fold()

    def check(self) -> None:
        """Raise what ended a thread, if one ended."""
        for worker in self._workers():
            if worker.failure is not None:
                raise RuntimeError(f"{worker.name} has failed") from worker.failure

    def _workers(self) -> Iterator[Worker]:
        yield from self._receivers
        yield from self._producers

    def stop(self) -> None:
        """End everything."""
        workers = list(self._workers())
        for worker in workers:
            worker.stopping.set()
        for connection in self._connections:
            connection.close()
        for worker in workers:
            worker.end()

    def violations(self) -> list[str]:
        """All breaches of a promise that the accounts have found."""
        return [text for account in self.accounts.values() for text in account.violations]

    def totals(self) -> Totals:
        """The sums over all accounts."""
        return total([account.totals() for account in self.accounts.values()])

    def flood(self) -> "Flood":
        """Somebody who sends as much as the broker takes."""
        connection = self._connect(None)
        connection.start()
        receiver = Latecomer(
            self.accounts["flood"],
            lambda: self._connect(None),
            lambda session: session.create_consumer(FLOOD),
        )
        self._floods += 1
        producer = AsynchronousProducer(
            f"flood-{self._floods}",
            connection,
            FLOOD,
            [self.accounts["flood"]],
            interval_s=0.0,
            sizes=(FLOOD_SIZE,),
        )
        return Flood(connection, producer, receiver)


class Gathering(threading.Thread):
    """Somebody who comes, waits for a broker if need be, and receives.

    Attributes:
        complete: whether everything that was acknowledged came.
    """

    def __init__(self, receiver: Latecomer, timeout_s: float) -> None:
        super().__init__(name="gathering", daemon=True)
        self.complete = False
        self._receiver = receiver
        self._timeout_s = timeout_s

    def run(self) -> None:
        """Receive."""
        self.complete = self._receiver.gather(self._timeout_s)


class Flood:
    """Fills the store until the broker takes no more, and is received while the disk is still full."""

    def __init__(self, connection: Connection, producer: AsynchronousProducer, receiver: Latecomer) -> None:
        self._connection = connection
        self._producer = producer
        self._receiver = receiver
        self._account = receiver.account
        self._first = self._account.acknowledged_count
        self._refused_before = self._account.totals().refused
        self._gathering: Gathering | None = None

    def rise(self) -> bool:
        """Send until nothing is answered any more, or refused; False if the broker has taken it all."""
        self._producer.start()
        seen, since = self._taken, time.monotonic()

        def held() -> bool:
            nonlocal seen, since
            self.check()
            if self._taken != seen:
                seen, since = self._taken, time.monotonic()
            return self.is_refused or time.monotonic() > since + STALL_S or self._too_much

        wait_until(held, FLOW_TIMEOUT_S, "the broker takes the flood, refuses it or holds it")
        return not self._too_much

    @property
    def _taken(self) -> int:
        return self._account.acknowledged_count - self._first

    @property
    def _too_much(self) -> bool:
        return self._taken * FLOOD_SIZE > FLOOD_BYTES_MAX

    @property
    def is_refused(self) -> bool:
        """Whether the broker has told the flood's producer that there is no space."""
        return self._account.totals().refused > self._refused_before

    def check(self) -> None:
        """Raise what ended the producer."""
        if self._producer.failure is not None:
            raise RuntimeError("the flood has failed") from self._producer.failure

    def drain(self) -> bool:
        """Receive what was acknowledged, as consumers may while the disk is full; False if they could not."""
        self._producer.pause()
        self._gathering = Gathering(self._receiver, DRAIN_TIMEOUT_S)
        self._gathering.start()
        self._gathering.join(DRAIN_TIMEOUT_S + CONNECT_TIMEOUT_S)
        return self._gathering.complete

    def ebb(self) -> None:
        """There is space again: what was held is answered; then receive the rest and leave."""
        if self._gathering is not None:
            self._gathering.join(FLOW_TIMEOUT_S)
        wait_until(lambda: self._producer.is_paused, FLOW_TIMEOUT_S, "the flood's sends are answered")
        self._producer.end()
        self._receiver.gather(FLOW_TIMEOUT_S)
        self._account.fold()
        self._connection.close()
