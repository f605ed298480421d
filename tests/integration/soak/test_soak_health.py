"""What a soak sees beside the messages: it finds what is planted, and lets pass what its faults cause."""

import os
import threading

from integration.soak.health import GROWTH_SAMPLES_MIN, MIB, DiskUse, Growth, Sample, bad_lines, sample


def test_unexpected_errors_and_tracebacks_are_found() -> None:
    """An ERROR that no fault explains is shown, and a traceback with its lines; INFO and WARNING are not."""
    lines = [
        "2026-11-23 01:02:03,004 INFO    [broker] Broker keeper has started.",
        "2026-11-23 01:02:03,004 WARNING [journal] upkeep of the store failed",
        "2026-11-23 01:02:03,004 ERROR   [fabric.children] Child container keeping: The process was ended by"
        " SIGKILL. It is started again after 0.5 s.",
        "2026-11-23 01:02:03,004 ERROR   [broker] Broker keeper failed to start.",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "ValueError: x",
    ]
    assert list(bad_lines(lines)) == lines[3:]


def growing(**last: int) -> Growth:
    """A process that was the same in every round but the last."""
    first = Sample(resident_bytes=50 * MIB, descriptors=20, threads=6)
    seen = [first] * GROWTH_SAMPLES_MIN
    seen.append(Sample(**({name: getattr(first, name) for name in first.__slots__} | last)))
    return Growth({("keeping", 1): seen})


def test_a_leak_is_found() -> None:
    """A process that holds more descriptors, threads or memory than it did is named."""
    assert list(growing().judge()) == []
    assert list(growing(descriptors=200).judge()) == ["keeping (pid 1): 180 more descriptors after 6 rounds"]
    assert list(growing(threads=30).judge()) == ["keeping (pid 1): 24 more threads after 6 rounds"]
    assert len(list(growing(resident_bytes=500 * MIB).judge())) == 1


def test_a_process_is_measured() -> None:
    """A sample counts what is there, and a process that is gone has none."""
    before = sample(os.getpid())
    blocked = threading.Event()
    thread = threading.Thread(target=blocked.wait)
    thread.start()
    reader, writer = os.pipe()
    after = sample(os.getpid())
    blocked.set()
    thread.join()
    os.close(reader)
    os.close(writer)
    assert before is not None and after is not None
    assert after.threads == before.threads + 1
    assert after.descriptors == before.descriptors + 2
    assert sample(2**22 + 1) is None


def test_the_disks_bound() -> None:
    """Twice the live bytes and two data files are allowed, which may be longer by their last batch."""
    assert DiskUse(live=10 * MIB, files={}, total=0).bound == (2 * 10 + 2 * 32) * MIB
    use = DiskUse(live=0, files={"a": 33 * MIB, "b": 32 * MIB, "c": 2 * MIB}, total=0)
    assert (use.data, use.bound) == (67 * MIB, 66 * MIB)
