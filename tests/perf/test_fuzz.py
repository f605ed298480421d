"""The fuzzers find what is planted, go on where they were, and feed what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from perf import fuzz_cores
from perf.fuzz_cores import CORES, CoreFuzzer, frames, streams
from perf.fuzz_run import FaultFound, Fuzzer, Progress
from perf.fuzz_servers import ServerFuzzer
from support.valid_streams import STREAMS

FOR_EVER_S = float("inf")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that take no time."""
    monkeypatch.setattr(CoreFuzzer, "block_inputs", 200)
    monkeypatch.setattr(ServerFuzzer, "block_inputs", 10)


@pytest.mark.parametrize("protocol", STREAMS)
@pytest.mark.parametrize("kind", [CoreFuzzer, ServerFuzzer])
def test_a_block_of_every_protocol(protocol: str, kind: type[Fuzzer], tmp_path: Path) -> None:
    """Nothing is wrong, and the last line says how many inputs there were."""
    fuzzer = kind(protocol, 1, tmp_path)
    fuzzer.run(1, FOR_EVER_S, Progress(None))
    assert f"{kind.block_inputs} inputs" in fuzzer.line()
    assert "peak memory" in fuzzer.summary()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", [each for each in STREAMS if each != "auto"])
def test_honest_frames_are_understood(protocol: str) -> None:
    """One after the other they are the stream, and end no core before its end."""
    for stream in streams(protocol):
        parts = frames(protocol, stream.tail)
        if protocol != "stomp":  # whose zero bytes within bodies end frames here
            assert b"".join(parts) == stream.tail
        assert len(parts) > 2 or not stream.tail
        core = CORES[protocol](stream)
        ends = [core.feed(part) for part in parts if protocol != "stomp" or b"content-length" not in part]
        assert not any(ends[: len(ends) // 2]), ends


def test_a_run_goes_on(tmp_path: Path) -> None:
    """Two runs have fed what one longer run feeds."""
    whole, once, again = (CoreFuzzer("stomp", 7, tmp_path) for _ in range(3))
    whole.run(400, FOR_EVER_S, Progress(None))
    once.run(200, FOR_EVER_S, Progress(tmp_path / "progress"))
    again.run(400, FOR_EVER_S, Progress(tmp_path / "progress"))
    assert again.findings.inputs == whole.findings.inputs == 400
    assert again.findings.octets == whole.findings.octets > once.findings.octets
    assert again.findings.ends == whole.findings.ends


def plant(monkeypatch: pytest.MonkeyPatch, mistake: Any) -> None:
    """Have a core do something wrong now and then."""
    feed = fuzz_cores.StompCore.feed

    def wrong(core: Any, data: bytes) -> str:
        if b"\xff" in data:
            mistake(core)
        return feed(core, data)

    monkeypatch.setattr(fuzz_cores.StompCore, "feed", wrong)


def raise_error(core: Any) -> None:
    """A mistake."""
    raise ZeroDivisionError


def say_much(core: Any) -> None:
    """Another."""
    core._wire.send(bytes(1 << 22))


def think_long(core: Any) -> None:
    """Another."""
    sum(range(20_000_000))


@pytest.mark.parametrize(
    ("mistake", "text"), [(raise_error, "ZeroDivisionError"), (say_much, "answered"), (think_long, "cost")]
)
def test_a_planted_mistake(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mistake: Any,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ends the run, its input is kept, and can be fed again."""
    plant(monkeypatch, mistake)
    with pytest.raises(FaultFound, match=text):
        CoreFuzzer("stomp", 1, tmp_path / "bad").run(10_000, FOR_EVER_S, Progress(None))
    (kept,) = (tmp_path / "bad").glob("*.bin")
    assert b"\xff" in kept.read_bytes()
    assert text in kept.with_suffix(".txt").read_text()
    if mistake is raise_error:
        with pytest.raises(ZeroDivisionError):
            fuzz_cores.replay("stomp", kept.read_bytes())
