"""Runs transcripts: commands, a line of dashes, and what every party saw of them.

::

    # a comment
    connect c1
    consume c1 k queue://q prefetch=2
    send c1 m1 queue://q
    sync
    ----
    c1: answer m1
    c1 k: m1

Each block is commands, `----`, and the lines that they brought about, in order, up to an empty line.
The parties are clients of one region; a reply that waits for a batch is an `answer` line once it is durable.

Commands:

* ``connect NAME [client=ID] [failover]`` and ``close NAME [KEY] [last=ID|none]``
* ``consume NAME KEY DESTINATION [prefetch=N] [browser] [durable=NAME] [nolocal]``, ``pull NAME KEY MS``
* ``send NAME ID DESTINATION [volatile] [expires=MS] [sequence=N] [tx=NAME]``
* ``ack NAME KEY FIRST[..LAST] [individual|delivered|poison|redelivered|expired] [tx=NAME]``
* ``begin|commit|rollback NAME TX``, ``temporary NAME DESTINATION``, ``unsubscribe NAME SUBSCRIPTION``
* ``turn`` (what need not wait for the disk), ``sync`` (the journal has caught up), ``time MS``
* ``takeover`` (the master dies after its last sync; the journal is all that the next one has)
* ``stored DESTINATION`` prints what the journal holds
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path

from support.region import MemoryStore, restarted

from broker.advisory import AboutDestination, AdvisoryMessage
from broker.destination import Destination
from broker.errors import ClientError
from broker.message import BodyKind, Message, decode_message
from broker.region.connection import RegionConnection
from broker.region.consumer import AckKind, Consumer, ConsumerOptions
from broker.region.region import Region

Options = dict[str, str]


@dataclass
class Party:
    """One client; what it sees goes to the transcript."""

    name: str
    see: Callable[[str], None]
    refs: dict[tuple[Hashable, str], int] = field(default_factory=dict)
    waiting: list[tuple[int, str]] = field(default_factory=list)
    sequence: int = 0

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """A message comes; an advisory of a destination says which."""
        if isinstance(message, AdvisoryMessage) and isinstance(message.about, AboutDestination):
            about = message.about
            did = "made" if about.added else "deleted"
            self.see(f"{self.name} {consumer.key}: {about.destination} of {about.connection_id} {did}")
            return
        self.refs[consumer.key, message.message_id] = ref
        again = f" (redelivered {redelivery_counter})" if redelivery_counter else ""
        self.see(f"{self.name} {consumer.key}: {message.message_id}{again}")

    def dispatch_none(self, consumer: Consumer) -> None:
        """No message comes."""
        self.see(f"{self.name} {consumer.key}: no message")

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """The broker wants another prefetch."""
        self.see(f"{self.name} {consumer.key}: prefetch {prefetch_size}")

    def close_consumer(self, consumer: Consumer) -> None:
        """The broker has closed a consumer."""
        self.see(f"{self.name} {consumer.key}: closed")

    def disconnect(self, reason: str) -> None:
        """It is thrown out."""
        self.see(f"{self.name}: disconnected, {reason}")


class World:
    """One region after the other over one journal, and the parties."""

    def __init__(self) -> None:
        self.region = Region(MemoryStore(), now_ms=1000)
        self.parties: dict[str, Party] = {}
        self.connections: dict[str, RegionConnection] = {}
        self.seen: list[str] = []

    def run(self, line: str) -> list[str]:
        """Do one command; returns what was seen."""
        command, *words = line.split()
        options = {key: value for key, mark, value in (word.partition("=") for word in words) if mark}
        arguments = [word for word in words if "=" not in word]
        try:
            getattr(self, f"do_{command}")(options, *arguments)
        except ClientError as error:
            self.seen.append(f"{arguments[0]}: refused, {error}")
        seen, self.seen = self.seen, []
        return seen

    def _answer(self, name: str, what: str, batch: int) -> None:
        if batch > self.region.durable_batch:
            self.parties[name].waiting.append((batch, what))
        else:
            self.seen.append(f"{name}: answer {what}")

    # ---- commands

    def do_connect(self, options: Options, name: str, *flags: str) -> None:
        """A client connects (again)."""
        party = Party(name, self.seen_now)
        if name in self.parties:
            party.sequence = self.parties[name].sequence
        self.connections[name] = self.region.connect(
            party, name, options.get("client"), failover_reconnect="failover" in flags
        )
        self.parties[name] = party

    def seen_now(self, line: str) -> None:
        """Note what a party saw."""
        self.seen.append(line)

    def do_close(self, options: Options, name: str, key: str = "") -> None:
        """A consumer or a connection is closed."""
        if not key:
            self.connections.pop(name).close()
            return
        last = options.get("last", "")
        ref = -1 if last == "none" else self.parties[name].refs.get((key, last), 0)
        self.connections[name].remove_consumer(key, ref)

    def do_consume(self, options: Options, name: str, key: str, destination: str, *flags: str) -> None:
        """A consumer, browser or durable subscriber."""
        batch = self.connections[name].add_consumer(
            key,
            Destination.parse(destination),
            ConsumerOptions(
                prefetch_size=int(options.get("prefetch", "1000")),
                browser="browser" in flags,
                subscription_name=options.get("durable"),
                no_local="nolocal" in flags,
            ),
        )
        if batch > self.region.durable_batch:
            self._answer(name, f"consumer {key}", batch)

    def do_pull(self, options: Options, name: str, key: str, timeout_ms: str) -> None:
        """Asks for one message."""
        del options
        self.connections[name].pull(key, int(timeout_ms))

    def do_send(self, options: Options, name: str, message_id: str, destination: str, *flags: str) -> None:
        """A message, its body being its id."""
        party = self.parties[name]
        party.sequence = int(options.get("sequence", party.sequence + 1))
        message = Message(
            message_id,
            Destination.parse(destination),
            producer_id=f"{name}:1:1",
            producer_sequence_id=party.sequence,
            persistent="volatile" not in flags,
            expiration=int(options.get("expires", "0")),
            body_kind=BodyKind.BYTES,
            body=message_id.encode(),
        )
        batch = self.connections[name].send(message, options.get("tx"))
        if "tx" not in options:
            self._answer(name, message_id, batch)

    def do_ack(self, options: Options, name: str, key: str, ids: str, *flags: str) -> None:
        """Acknowledges one message or a range."""
        kind = AckKind[flags[0].upper()] if flags else AckKind.STANDARD
        first, _, last = ids.partition("..")
        refs = self.parties[name].refs
        self.connections[name].acknowledge(
            key,
            kind,
            refs.get((key, first), 0),
            refs.get((key, last or first), 0),
            transaction=options.get("tx"),
        )

    def do_begin(self, options: Options, name: str, transaction: str) -> None:
        """A transaction."""
        del options
        self.connections[name].begin(transaction)

    def do_commit(self, options: Options, name: str, transaction: str) -> None:
        """All of it."""
        del options
        self._answer(name, f"commit {transaction}", self.connections[name].commit(transaction))

    def do_rollback(self, options: Options, name: str, transaction: str) -> None:
        """Nothing of it."""
        del options
        self.connections[name].rollback(transaction)

    def do_temporary(self, options: Options, name: str, destination: str) -> None:
        """A temporary destination."""
        del options
        self.connections[name].add_destination(Destination.parse(destination))

    def do_unsubscribe(self, options: Options, name: str, subscription: str) -> None:
        """The end of a durable subscription."""
        del options
        self._answer(
            name, f"unsubscribe {subscription}", self.connections[name].remove_subscription(subscription)
        )

    def do_turn(self, options: Options) -> None:
        """The end of a turn."""
        del options
        self.region.dispatch()

    def do_sync(self, options: Options) -> None:
        """The journal has caught up."""
        del options
        store = self.region.store
        assert isinstance(store, MemoryStore)
        store.durable_batch = len(store.batches)
        self.region.durable(store.durable_batch)
        for party in self.parties.values():
            for _, what in party.waiting:
                self.seen.append(f"{party.name}: answer {what}")
            party.waiting.clear()
        self.region.dispatch()

    def do_time(self, options: Options, now_ms: str) -> None:
        """It is so late now."""
        del options
        self.region.advance(int(now_ms))

    def do_takeover(self, options: Options) -> None:
        """The master dies; what was not durable is gone, and so are all connections."""
        del options
        now_ms = self.region.now_ms
        self.region = restarted(self.region)
        self.region.advance(now_ms)
        for party in self.parties.values():
            party.waiting.clear()
        self.connections.clear()

    def do_stored(self, options: Options, uri: str) -> None:
        """What the journal holds."""
        del options
        state = self.region.store.state
        live = state.queues.get(uri, state.topics.get(uri, ()))
        ids = [decode_message(self.region.store.read(ref, uri)).message_id for ref in live]
        self.seen.append(f"{uri}: {' '.join(ids) or 'nothing'}")


def play(path: Path) -> tuple[str, str]:
    """Run a transcript; returns it as it is written and as it was seen."""
    world = World()
    written = path.read_text("utf-8")
    lines: list[str] = []
    seen: list[str] = []
    skipping = False
    for line in written.splitlines():
        if line == "----":
            lines += [line, *seen]
            seen = []
            skipping = True
        elif not line:
            skipping = False
            lines.append(line)
        elif not skipping:
            lines.append(line)
            if not line.startswith("#"):
                seen += world.run(line)
    assert not seen, f"{path.name}: the last block has no ----, but this was seen: {seen}"
    return written, "\n".join(lines) + "\n"
