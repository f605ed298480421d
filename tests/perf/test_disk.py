"""What fio and the kernel report is read as it is meant."""

import json
from pathlib import Path

import pytest
from perf.disk import fio_command, parse_fio
from perf.process_facts import Memory, memory, parse_memory, parse_processor_s, processor_s

JOB = {
    "error": 0,
    "write": {"runtime": 2000, "total_ios": 5000, "lat_ns": {"mean": 30_000.0}},
    "sync": {"lat_ns": {"mean": 270_000.0, "percentile": {"99.000000": 900_000}}},
}


def report(**changes: object) -> str:
    """A report of fio with some fields changed."""
    return json.dumps({"jobs": [{**JOB, **changes}]})


def test_fio_is_read() -> None:
    """Rate, mean time of a write with its sync, and the tail of the syncs."""
    rate = parse_fio("fio: a warning\n" + report(), 4096)
    assert (rate.size, rate.per_second, rate.worst_ms) == (4096, 2500, 0.9)
    assert round(rate.median_ms, 3) == 0.3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fio: failed",
        report(error=28),
        report(write={"runtime": 0, "total_ios": 0, "lat_ns": {"mean": 0}}),
    ],
)
def test_fio_without_figures_is_an_error(text: str) -> None:
    """No figure is made of a report that has none."""
    with pytest.raises(ValueError, match="fio"):
        parse_fio(text, 4096)


def test_fio_syncs_after_each_write(tmp_path: Path) -> None:
    """It is asked for what the journal does: allocated, one behind the other, a sync after each."""
    command = fio_command(tmp_path, 65_592, 2.0)
    assert {"--rw=write", "--fdatasync=1", "--bs=65592", "--fallocate=posix"} <= set(command)
    size = int(next(word for word in command if word.startswith("--size=")).partition("=")[2])
    assert size % 65_592 == 0


def test_memory_of_a_process() -> None:
    """Resident now and at most, in bytes."""
    status = "Name:\tpython3\nVmPeak:\t 9000 kB\nVmHWM:\t 300 kB\nVmRSS:\t 200 kB\nThreads:\t1\n"
    assert parse_memory(status) == Memory(now=200 * 1024, peak=300 * 1024)
    own = memory()
    assert 0 < own.now <= own.peak


def test_processor_time_of_a_process() -> None:
    """A program's name may hold brackets and blanks."""
    fields = ["S", *["0"] * 10, "150", "50", *["0"] * 30]
    assert parse_processor_s("1234 (a ) b) " + " ".join(fields)) == pytest.approx(2.0)
    assert processor_s() > 0
