"""The records of takeovers in the registry."""

import json

import pytest
from support.fake_zookeeper import FakeZooKeeper
from support.pump import Pump

from registry import paths
from registry.errors import InvalidRecord
from registry.takeovers import KEPT_MAX, RETRY_DELAY_S, WAITING_MAX, TakeoverLog, TakeoverRecord

PARENT = paths.takeovers("g", "b")


class Bench:
    """A log over a registry in memory."""

    def __init__(self) -> None:
        self.pump = Pump()
        self.zookeeper = FakeZooKeeper()
        self.session = self.pump.open_session(self.zookeeper)
        self.log = TakeoverLog(self.session, "g", "b")

    def add(self, *epochs: int) -> None:
        """Record takeovers."""
        for epoch in epochs:
            self.log.add(TakeoverRecord("c", epoch, 1000 + epoch))
        self.pump.run()

    @property
    def epochs(self) -> list[int]:
        """Those recorded, in order."""
        if not self.session.exists(PARENT):
            return []
        names = self.session.children(PARENT)
        return [json.loads(self.session.get(paths.takeover(PARENT, name)).data)["epoch"] for name in names]


@pytest.fixture
def bench() -> Bench:
    """A log over a registry in memory."""
    return Bench()


def test_records_stand_in_their_order(bench: Bench) -> None:
    """Each takeover is a znode with ten digits."""
    bench.add(1, 2, 3)
    assert bench.epochs == [1, 2, 3]
    assert bench.session.children(PARENT)[0] == "0000000000"


def test_only_the_newest_stay(bench: Bench) -> None:
    """What is older is removed."""
    bench.add(*range(1, KEPT_MAX + 1))
    bench.add(KEPT_MAX + 1, KEPT_MAX + 2)
    assert bench.epochs == list(range(3, KEPT_MAX + 3))


def test_what_cannot_be_written_is_written_later(bench: Bench) -> None:
    """While ZooKeeper is away records are kept, the newest of them."""
    bench.zookeeper.stop()
    bench.pump.run()
    bench.add(*range(1, WAITING_MAX + 3))
    bench.zookeeper.start()
    bench.pump.advance(RETRY_DELAY_S)
    assert bench.epochs == list(range(3, WAITING_MAX + 3))


def test_a_closed_log_writes_no_more(bench: Bench) -> None:
    """What waits is forgotten."""
    bench.zookeeper.stop()
    bench.pump.run()
    bench.add(1)
    bench.log.close()
    bench.zookeeper.start()
    bench.pump.advance(RETRY_DELAY_S)
    assert bench.epochs == []


def test_a_record_is_read_as_it_was_written() -> None:
    """Fields of a newer version are kept."""
    record = TakeoverRecord("c2", 7, 1000, "start", "c1", {"detected": 0, "claimed": 1.5}, {"new": [1]})
    read = TakeoverRecord.parse("0000000000", record.serialize())
    assert read == record
    assert read.unknown == {"new": [1]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"epoch": "7"}',
        b'{"epoch": true}',
        b'{"phases_ms": {"claimed": "x"}}',
        b"[" * 9999,
    ],
)
def test_what_is_no_record(data: bytes) -> None:
    """It is refused in words."""
    with pytest.raises(InvalidRecord, match="takeover 0000000003"):
        TakeoverRecord.parse("0000000003", data)
