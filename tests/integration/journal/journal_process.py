"""One process with a journal, driven by lines on its standard input; it says on its output what it sees.

`open` takes the store over; `send N` appends N messages, one batch each, and says `acknowledged N` for each
durable one; `quit` closes the journal.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from journal.errors import JournalError
from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import AddMessage

QUEUE = "queue://a"


def say(text: str) -> None:
    """One line to the test."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(directory: str, name: str) -> None:
    """Runs until `quit` or the end of the input."""
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    errors: list[JournalError] = []
    options = JournalOptions(create=True, idle_check_s=0.05, file_bytes=1 << 20)
    journal = Journal.open(
        Path(directory),
        owner=name,
        post=posted.put,
        on_durable=lambda _: None,
        on_failed=errors.append,
        options=options,
    )
    live = [journal.read(ref, QUEUE).decode() for ref in journal.state.queues.get(QUEUE, ())]
    say(f"serving {journal.epoch} with {' '.join(live)}")
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        if words[0] == "failure":
            while not errors:
                posted.get()()
            say(f"failed {type(errors[0]).__name__}")
            continue
        for i in range(int(words[1])):
            ref = journal.state.next_ref
            batch = journal.append([AddMessage(ref, QUEUE, name, ref, f"{name}{i}".encode())])
            journal.flush()
            while journal.durable_batch < batch and not errors:
                posted.get()()
            if errors:
                say(f"failed {type(errors[0]).__name__}")
                break
            say(f"acknowledged {name}{i}")
    journal.close(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
