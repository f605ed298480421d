"""Watches and views of children, step by step."""

import logging
from collections.abc import Callable

import pytest
from support.fake_zookeeper import FakeZooKeeper
from support.pump import Pump

from registry.children import ChildrenView
from registry.delivery import DeliveryThread
from registry.errors import InvalidRecord, NoPermission, RegistryError
from registry.session import Session
from registry.watches import NodeEvent, NodeWatch, OnValue


@pytest.fixture
def pump() -> Pump:
    """This thread as the owner's."""
    return Pump()


@pytest.fixture
def zookeeper() -> FakeZooKeeper:
    """A registry in memory."""
    return FakeZooKeeper()


@pytest.fixture
def session(pump: Pump, zookeeper: FakeZooKeeper) -> Session:
    """A session of this thread."""
    return pump.open_session(zookeeper)


def parse(name: str, data: bytes) -> str:
    """Refuse what begins with an exclamation mark."""
    if data.startswith(b"!"):
        raise InvalidRecord(name)
    return data.decode()


class View:
    """A view of /p, and what it held at each change."""

    def __init__(self, pump: Pump, session: Session) -> None:
        self.history: list[tuple[dict[str, str], bool]] = []
        self.view = ChildrenView(
            session, "/p", parse, lambda view: self.history.append((dict(view.values), view.complete))
        )
        self.view.start()
        pump.run()


def test_view_follows_its_children(pump: Pump, session: Session, caplog: pytest.LogCaptureFixture) -> None:
    """A view holds the records of all children; unreadable ones are logged and left out."""
    view = View(pump, session)
    assert view.history == [({}, True)]
    session.put("/p/a", b"1")
    session.put("/p/b", b"!")
    pump.run()
    assert view.history[-1] == ({"a": "1"}, True)
    assert "/p/b is ignored" in caplog.text
    session.put("/p/b", b"2")
    session.put("/p/a", b"!")
    pump.run()
    assert view.history[-1] == ({"b": "2"}, True)
    session.delete("/p", recursive=True)
    pump.run()
    assert view.history[-1] == ({}, True)


def test_child_that_is_replaced_at_once_is_seen(pump: Pump, session: Session) -> None:
    """A child that is deleted and made again between two looks at the list is read again."""
    session.put("/p/a", b"1")
    view = View(pump, session)
    session.delete("/p/a")
    session.put("/p/a", b"2")
    pump.run()
    assert view.history[-1] == ({"a": "2"}, True)
    session.put("/p/a", b"3")
    pump.run()
    assert view.history[-1] == ({"a": "3"}, True)


def test_view_is_incomplete_during_an_outage(pump: Pump, session: Session, zookeeper: FakeZooKeeper) -> None:
    """During an outage a view keeps its values and says that they may be old; after it, it is complete."""
    session.put("/p/a", b"1")
    view = View(pump, session)
    zookeeper.stop()
    pump.run()
    assert view.history[-1] == ({"a": "1"}, False)
    assert view.view.unread == {"a"}
    assert not view.view.listed
    zookeeper.start()
    pump.run()
    assert view.history[-1] == ({"a": "1"}, True)


def test_cancelled_view_is_silent(pump: Pump, session: Session, zookeeper: FakeZooKeeper) -> None:
    """After cancel nothing is told, whatever is on its way."""
    session.put("/p/a", b"1")
    view = View(pump, session)
    before = len(view.history)
    session.put("/p/a", b"2")
    session.put("/p/b", b"2")
    view.view.cancel()
    pump.run()
    zookeeper.stop()
    zookeeper.start()
    pump.run()
    assert len(view.history) == before


def test_session_forgets_cancelled_watches(pump: Pump, session: Session) -> None:
    """A cancelled watch is not kept alive by its session."""
    watch = session.watch_data("/p", lambda data: None)
    tree = session.watch_tree("/p", lambda: None)
    pump.run()
    watch.cancel()
    watch.cancel()
    tree.cancel()
    pump.run()
    assert session._watches == {}


def test_unchanged_value_is_not_delivered_twice(pump: Pump, session: Session) -> None:
    """Writing the same data again delivers nothing; a reconnection delivers it once more."""
    seen: list[bytes | None] = []
    session.put("/p", b"1")
    session.watch_data("/p", seen.append)
    pump.run()
    session.put("/p", b"1")
    pump.run()
    assert seen == [b"1"]


def test_reconnection_delivers_again(pump: Pump, session: Session, zookeeper: FakeZooKeeper) -> None:
    """After an outage the value is delivered even if it is the old one."""
    seen: list[bytes | None] = []
    session.watch_data("/p", seen.append)
    pump.run()
    zookeeper.stop()
    zookeeper.start()
    pump.run()
    assert seen == [None, None]


class Reads:
    """Requests of a watch, answered by the test."""

    def __init__(self) -> None:
        self.reads: list[OnValue[str]] = []
        self.events: list[object] = []
        self.seen: list[str] = []
        self.timers: list[Callable[[], None]] = []
        self.watch = NodeWatch[str](
            "/p",
            read=self.read,
            await_creation=self.read,
            absent="absent",
            deliver=self.seen.append,
            call_later=lambda delay_s, call: self.timers.append(call),
            on_cancel=lambda watch: None,
        )

    def read(self, path: str, on_value: OnValue[str], on_event: object) -> None:
        """Note a request."""
        self.reads.append(on_value)
        self.events.append(on_event)


def test_answers_and_events_of_earlier_rounds_are_ignored() -> None:
    """An answer that was overtaken by a newer request is not delivered; nor does its watch cause a read."""
    reads = Reads()
    reads.watch.arm()
    reads.watch.arm()
    reads.reads[1]("new")
    reads.reads[0]("old")
    reads.events[0](NodeEvent.DELETED)
    assert reads.seen == ["new"]
    assert len(reads.reads) == 2


def test_refused_watch_is_logged_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A znode that may not be read is one log line, and is read again after a while."""
    reads = Reads()
    reads.watch.arm()
    reads.reads[0](NoPermission("no"))
    reads.timers[0]()
    reads.timers[0]()  # out of date by then
    reads.reads[1](NoPermission("no"))
    reads.timers[1]()
    assert reads.seen == []
    assert caplog.text.count("Cannot watch /p") == 1
    reads.reads[2]("here")
    assert reads.seen == ["here"]


def test_node_created_while_its_absence_is_told(pump: Pump) -> None:
    """A znode made between the failed read and the request to be told of its creation is read."""
    from registry.errors import NoSuchNode

    reads = Reads()
    reads.watch.arm()
    reads.reads[0](NoSuchNode("/p"))
    assert reads.seen == ["absent"]
    reads.reads[1](True)
    reads.reads[2]("here")
    assert reads.seen == ["absent", "here"]


def test_delivery_thread_outlives_a_failing_call(caplog: pytest.LogCaptureFixture) -> None:
    """An exception is logged; what is posted after it runs, and close waits for it."""
    delivery = DeliveryThread("test")
    done: list[int] = []
    delivery.post(lambda: done.append(1 // 0))
    delivery.post(lambda: done.append(1))
    delivery.start()
    delivery.start()
    delivery.close()
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text


def test_delivery_thread_can_be_closed_by_its_own_call() -> None:
    """A callback may close the session that called it."""
    delivery = DeliveryThread("test")
    delivery.post(delivery.close)
    delivery.start()


def test_requests_without_a_session_are_answered(pump: Pump) -> None:
    """A request before start or after close is answered with an error instead of being lost."""
    session = Session("fake:1", "x", post=pump.posted.append)
    answers: list[object] = []
    session.get_later("/p", answers.append)
    pump.run()
    assert isinstance(answers[0], RegistryError)


def test_closed_session_calls_nobody(pump: Pump, session: Session, zookeeper: FakeZooKeeper) -> None:
    """After close neither timers nor watches nor answers call anybody."""
    seen: list[object] = []
    session.watch_data("/p", seen.append)
    session.call_later(1, lambda: seen.append("timer"))
    session.get_later("/", seen.append)
    session.close()
    pump.advance(2)
    assert seen == []


def test_states_are_logged_once(
    pump: Pump, session: Session, zookeeper: FakeZooKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is two lines in the log: one warning when it begins, one line when it is over."""
    caplog.set_level(logging.INFO)
    zookeeper.stop()
    zookeeper.start()
    pump.run()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
