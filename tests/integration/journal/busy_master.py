"""A master that sends and consumes as fast as it can until its standard input ends.

Messages go to two queues. One is consumed, but for one message in fifty that goes to the other and stays. So
data files are mostly dead soon, and compaction has much to do.
"""

import json
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import AddMessage, RemoveMessage

OPTIONS = JournalOptions(
    create=True,
    file_bytes=60_000,
    allocated_bytes=20_000,
    checkpoint_bytes=30_000,
    reserve_bytes=1_000,
    carried_messages_max=-1,
)
KEPT_MAX = 200
WAITING = 30


def body(number: int) -> bytes:
    """Something to be recognised."""
    return b"%04d" % (number % 10_000) * 50


def main(directory: Path) -> None:
    """Serves."""
    calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    failed: list[object] = []
    durable = threading.Event()
    journal = Journal.open(
        directory,
        owner="busy",
        post=calls.put,
        on_durable=lambda _: durable.set(),
        on_failed=failed.append,
        options=OPTIONS,
    )
    stopping = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
    ref = journal.state.next_ref
    kept = len(journal.state.queues.get("queue://kept", ()))
    waiting = list(journal.state.queues.get("queue://busy", ()))
    sent = 0
    print("serving", flush=True)
    while not stopping.is_set() and not failed:
        if sent % 50 == 0 and kept < KEPT_MAX:
            journal.append([AddMessage(ref, "queue://kept", "p", ref, body(kept))])
            kept += 1
        else:
            journal.append([AddMessage(ref, "queue://busy", "p", ref, body(ref))])
            waiting.append(ref)
        ref += 1
        sent += 1
        batch = journal.append([RemoveMessage(r, "queue://busy") for r in waiting[:-WAITING]])
        del waiting[:-WAITING]
        journal.flush()
        while journal.durable_batch < batch and not failed:
            calls.get()()
        while not calls.empty():
            calls.get()()
    journal.close(30)
    print(json.dumps({"failed": len(failed), "sent": sent, "live": kept + len(waiting)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
