"""Stores in a directory, made by a real journal; for the tests of the journal's tool."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.waiting import wait_until

from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import AcknowledgeSubscription, AddDestination, AddMessage, AddSubscription, RemoveMessage

QUEUE = "queue://orders.new"
OTHER_QUEUE = "queue://bills"
TOPIC = "topic://prices.gold"
SMALL = JournalOptions(
    create=True,
    file_bytes=10_000,
    allocated_bytes=10_000,
    checkpoint_bytes=4_000,
    reserve_bytes=1000,
    carried_messages_max=-1,
)


def open_journal(directory: Path, options: JournalOptions = SMALL, owner: str = "brokercontainer") -> Journal:
    """A master of a store; its owner's thread is whichever posts."""
    return Journal.open(
        directory,
        owner=owner,
        post=lambda call: call(),
        on_durable=lambda _: None,
        on_failed=lambda _: None,
        options=options,
    )


@contextmanager
def opened(directory: Path, options: JournalOptions = SMALL) -> Iterator[Journal]:
    """A master, which closes its journal at the end."""
    journal = open_journal(directory, options)
    try:
        yield journal
    finally:
        journal.close(10)


def append(journal: Journal, *records: object) -> None:
    """Appends and waits until it is durable."""
    batch = journal.append(records)  # type: ignore[arg-type] # any record
    journal.flush()
    wait_until(lambda: journal.durable_batch >= batch)


def fill(directory: Path, messages: int = 30, options: JournalOptions = SMALL) -> None:
    """A store with two queues, an empty one, a topic, three durable subscriptions and producers."""
    with opened(directory, options) as journal:
        first = journal.state.next_ref
        append(
            journal,
            AddDestination("queue://empty"),
            AddSubscription("c1", "all", "topic://prices.>", "", False),
            AddSubscription("c1", "gold", TOPIC, "price > 3", True),
            AddSubscription("c2", "none", "topic://else", "", False),
        )
        for i in range(messages):
            ref = first + i
            destination = (QUEUE, OTHER_QUEUE, TOPIC)[i % 3]
            append(journal, AddMessage(ref, destination, f"p:{i % 4}", i, b"body %d " % ref * 20))
            if i % 6 == 2:
                append(journal, AcknowledgeSubscription("c1", "gold", ref))
            if i % 7 == 3:
                append(journal, RemoveMessage(ref, destination))


def fingerprint(directory: Path) -> dict[str, tuple[str, int, int, int]]:
    """Of every file in a directory: what it holds, how long it is, its inode, and when it was changed."""
    found: dict[str, tuple[str, int, int, int]] = {}
    for path in (directory, *sorted(directory.iterdir())):
        facts = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(content).hexdigest()
        found[path.name] = digest, facts.st_size, facts.st_ino, facts.st_mtime_ns
    return found


def flip(file: Path, offset: int) -> None:
    """Flips a bit of a file."""
    with file.open("r+b") as stream:
        stream.seek(offset)
        (byte,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))


def bodies(journal: Journal, destinations: Sequence[str]) -> dict[str, list[bytes]]:
    """The live bodies of some destinations, in order."""
    return {
        name: [journal.read(ref, name) for ref in journal.state.messages(name) or ()] for name in destinations
    }
