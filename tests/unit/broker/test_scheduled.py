"""What a message says of its schedule, and what becomes of it when it is due."""

from typing import Any

import pytest

from broker.destination import Destination
from broker.errors import RequestInvalid
from broker.message import Message
from broker.primitive_map import Byte, Float, Long, Short, decode_map, encode_map
from broker.scheduled import DUE_MS_MAX, FOR_EVER, Terms, delivered, job_id_of, listed, ref_of, terms_of

QUEUE = Destination.queue("workshop.test")


def message(properties: dict[str, Any] | bytes, **fields: Any) -> Message:
    """A message with properties."""
    encoded = properties if isinstance(properties, bytes) else encode_map(properties)
    values = {"message_id": "ID:c:1:1:7", "destination": QUEUE, "producer_id": "ID:c:1:1", **fields}
    return Message(properties=encoded, **values)


def terms(
    delay: object = None, period: object = None, repeat: object = None, cron: object = None
) -> Terms | None:
    """The schedule of a message with these properties."""
    names = ("AMQ_SCHEDULED_DELAY", "AMQ_SCHEDULED_PERIOD", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_CRON")
    values = zip(names, (delay, period, repeat, cron), strict=True)
    return terms_of(message({name: value for name, value in values if value is not None}))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"delay": Long(1500)}, (1500, 0, 0)),
        ({"delay": 1500}, (1500, 0, 0)),
        ({"delay": Short(150)}, (150, 0, 0)),
        ({"delay": Byte(15)}, (15, 0, 0)),
        ({"delay": "1500"}, (1500, 0, 0)),
        ({"delay": "-1500"}, (0, 0, 0)),
        ({"delay": 0}, (0, 0, 0)),
        ({"period": Long(10), "repeat": 9}, (0, 10, 9)),
        ({"period": "10", "repeat": "9"}, (0, 10, 9)),
        ({"delay": 5, "period": 10, "repeat": -1}, (5, 10, FOR_EVER)),
        ({"delay": 5, "period": 10, "repeat": -7}, (5, 10, FOR_EVER)),
        ({"delay": 5, "repeat": 3}, (5, 0, 3)),
        ({"delay": 5, "cron": ""}, (5, 0, 0)),
    ],
)
def test_numbers_are_taken_as_the_original_takes_them(given: dict[str, Any], wanted: tuple[int, ...]) -> None:
    """Whole numbers of any size, and their texts."""
    found = terms(**given)
    assert found is not None
    assert (found.delay_ms, found.period_ms, found.repeats) == wanted
    assert found.cron is None


@pytest.mark.parametrize(
    "given",
    [
        {"delay": "soon"},
        {"delay": ""},
        {"delay": " 5"},
        {"delay": "5.0"},
        {"delay": 5.0},
        {"delay": Float(5)},
        {"delay": True},
        {"delay": b"5"},
        {"delay": {"a": 1}},
        {"delay": [1]},
        {"delay": "9" * 19},
        {"delay": "9" * 5000},
        {"period": "often", "repeat": 1},
        {"delay": 1, "repeat": "often"},
        {"delay": 1, "repeat": 1 << 31},
        {"delay": 1, "repeat": -1},
        {"cron": "often"},
        {"cron": 5},
        {"cron": "0 0 31 2 *"},
    ],
)
def test_what_is_no_schedule_is_refused(given: dict[str, Any]) -> None:
    """A wrong type or value is an error at the send, and names the property."""
    with pytest.raises(RequestInvalid):
        terms(**given)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"AMQ_SCHEDULED_REPEAT": 5},
        {"AMQ_SCHEDULED_DELAY": None},
        {"AMQ_SCHEDULED_DELAY": 5, "scheduledJobId": "ID:x:1"},
        {"colour": "AMQ_SCHEDULED_DELAY"},
    ],
)
def test_other_messages_are_delivered_at_once(properties: dict[str, Any]) -> None:
    """Repetitions alone are no schedule, and what was scheduled once is not scheduled again."""
    assert terms_of(message(properties)) is None


@pytest.mark.parametrize("cut", range(5, 40, 3))
def test_damaged_properties_are_no_schedule(cut: int) -> None:
    """A map that ends in its middle is as good as none, and nothing breaks."""
    whole = encode_map({"AMQ_SCHEDULED_DELAY": Long(5), "colour": "red"})
    assert terms_of(message(whole[:cut])) is None


def test_the_first_time() -> None:
    """After the delay, or without one after the period; with an expression that much after its time."""
    for given, due_ms in (
        ({"delay": 5, "period": 10}, 1_005),
        ({"period": 10}, 1_010),
        ({"delay": 0}, 1_000),
        ({"delay": (1 << 63) - 1}, DUE_MS_MAX),
        ({"cron": "* * * * *"}, 60_000),
        ({"cron": "* * * * *", "delay": 5, "period": 10}, 60_005),
        ({"cron": "* * * * *", "period": 10}, 60_010),
    ):
        found = terms(**given)
        assert found is not None
        assert found.first_due_ms(1_000) == due_ms


def test_what_is_delivered_has_no_schedule_any_more() -> None:
    """Its properties are taken off and it says which schedule it was; the rest stays as it was."""
    sent = message({"AMQ_SCHEDULED_DELAY": Long(5), "colour": "red", "size": Short(3)}, priority=7, type="t")
    made = delivered(sent, job_id_of(sent, 12), 99, 5_000)
    assert made.properties is not None
    found = decode_map(made.properties)
    assert found == {"colour": "red", "size": 3, "scheduledJobId": "ID:c:1:1:12"}
    assert type(found["size"]) is Short
    assert (made.message_id, made.priority, made.type) == ("ID:c:1:1:7", 7, "t")


@pytest.mark.parametrize("again", [{"AMQ_SCHEDULED_REPEAT": 2}, {"AMQ_SCHEDULED_CRON": "* * * * *"}])
def test_what_is_delivered_several_times_has_ids_of_its_own(again: dict[str, Any]) -> None:
    """Or its consumers would take the second for a duplicate of the first."""
    sent = message({"AMQ_SCHEDULED_DELAY": 5, **again})
    ids = {delivered(sent, job_id_of(sent, 12), number, 5_000).message_id for number in (98, 99)}
    assert ids == {"ID:c:1:1-scheduled:0:12:98", "ID:c:1:1-scheduled:0:12:99"}


@pytest.mark.parametrize(
    ("timestamp", "expiration", "wanted"),
    [
        (1_000, 3_000, (9_000, 11_000)),
        (1_000, 0, (1_000, 0)),
        (0, 3_000, (0, 3_000)),
        (20_000, 23_000, (20_000, 23_000)),
    ],
)
def test_the_time_to_live_begins_with_the_delivery(
    timestamp: int, expiration: int, wanted: tuple[int, int]
) -> None:
    """A message that was to live for two seconds lives for two seconds from when it is due."""
    sent = message({"AMQ_SCHEDULED_DELAY": 5}, timestamp=timestamp, expiration=expiration)
    made = delivered(sent, "j:1", 1, 9_000)
    assert (made.timestamp, made.expiration) == wanted


@pytest.mark.parametrize(
    ("job_id", "ref"), [("ID:c:1:1:12", 12), ("", 0), ("x", 0), ("x:", 0), ("x:-1", 0), ("x:" + "9" * 30, 0)]
)
def test_the_number_in_a_schedules_name(job_id: str, ref: int) -> None:
    """What is no name of a schedule is no number either."""
    assert ref_of(job_id) == ref


def test_what_is_listed_keeps_its_schedule() -> None:
    """It goes to whoever asked, is not persistent, and is not scheduled again."""
    sent = message({"AMQ_SCHEDULED_DELAY": 5}, persistent=True, expiration=7)
    shown = listed(sent, "ID:c:1:1:12", 1, Destination.queue("answers"), 9_000)
    assert (shown.destination.uri, shown.persistent, shown.type) == ("queue://answers", False, "Advisory")
    assert shown.properties is not None
    assert decode_map(shown.properties) == {"AMQ_SCHEDULED_DELAY": 5, "scheduledJobId": "ID:c:1:1:12"}
    assert terms_of(shown) is None
    assert shown.message_id != sent.message_id
