"""What a message says of its schedule, and what becomes of it when it is due.

::

    AMQ_SCHEDULED_DELAY    ms    due so long after it was sent
    AMQ_SCHEDULED_PERIOD   ms    between two deliveries; without a delay also before the first
    AMQ_SCHEDULED_REPEAT         how often again, -1 for ever
    AMQ_SCHEDULED_CRON           due whenever this is, see `broker.cron`; with repetitions each of these times
                                 begins a schedule of delay, period and repetitions

Source: ActiveMQ's `ScheduledMessage`, `SchedulerBroker` and `JobSchedulerImpl`. It rounds due times to half a
second or a second; here a message never comes before its time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from broker.cron import Cron, parsed
from broker.errors import RequestInvalid
from broker.message import rewritten
from broker.primitive_map import encode_map
from broker.properties import properties_of
from journal.record import REPEATS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.destination import Destination
    from broker.message import Message
    from broker.primitive_map import Value

MARK: Final = b"AMQ_SCHEDULE"
"""Begins all names here but one, so that whoever has no such property is seen to have none at once."""
DELAY: Final = "AMQ_SCHEDULED_DELAY"
PERIOD: Final = "AMQ_SCHEDULED_PERIOD"
REPEAT: Final = "AMQ_SCHEDULED_REPEAT"
CRON: Final = "AMQ_SCHEDULED_CRON"
JOB_ID: Final = "scheduledJobId"
"""Names the schedule to those that get the message; a message that has it is not scheduled (again)."""
FOR_EVER: Final = -1
DUE_MS_MAX: Final = (1 << 63) - 1
_LONG_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Terms:
    """When a message is due.

    Attributes:
        delay_ms: 0 or more.
        period_ms: likewise.
        repeats: how often again; `FOR_EVER`.
        cron: None: it is due once, apart from repetitions.
    """

    delay_ms: int
    period_ms: int
    repeats: int
    cron: Cron | None

    @property
    def pause_ms(self) -> int:
        """Before the first delivery."""
        return self.delay_ms or self.period_ms

    def first_due_ms(self, now_ms: int) -> int:
        """When it is due for the first time, if it is sent now."""
        begin_ms = now_ms
        if self.cron is not None:
            begin_ms = self.cron.next_ms(now_ms) or now_ms
        return min(max(begin_ms + self.pause_ms, 1), DUE_MS_MAX)


def terms_of(message: Message) -> Terms | None:
    """A message's schedule; None: it is to be delivered at once.

    Raises:
        RequestInvalid: it is none; says which property.
    """
    properties = properties_of(message)
    delay, period, cron = properties.get(DELAY), properties.get(PERIOD), properties.get(CRON)
    if (delay is None and period is None and cron is None) or properties.get(JOB_ID) is not None:
        return None
    repeats = max(_number(REPEAT, properties.get(REPEAT), REPEATS_MAX), FOR_EVER)
    terms = Terms(
        max(_number(DELAY, delay, _LONG_MAX), 0),
        max(_number(PERIOD, period, _LONG_MAX), 0),
        repeats,
        None if cron is None or cron == "" else parsed(str(cron)),
    )
    if repeats == FOR_EVER and not terms.period_ms:
        raise RequestInvalid(f"A message that is repeated for ever needs {PERIOD}.")
    if terms.cron is not None and terms.cron.next_ms(0) is None:
        raise RequestInvalid(f"{CRON} {terms.cron.text!r} is never due.")
    return terms


def _number(name: str, value: object, high: int) -> int:
    """A whole number, or its text, as the original converts them."""
    if value is None:
        return 0
    number = value
    if isinstance(value, str):
        digits = value.removeprefix("-").removeprefix("+")
        number = int(value) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
    if not isinstance(number, int) or isinstance(number, bool) or not -high - 1 <= number <= high:
        raise RequestInvalid(f"{name} {value!r} is not a whole number up to {high}.")
    return int(number)


def integer(name: str, value: object) -> int | None:
    """A time or another number of 64 bits; None: there is none.

    Raises:
        RequestInvalid: it is something else.
    """
    return None if value is None else _number(name, value, _LONG_MAX)


def job_id_of(message: Message, ref: int) -> str:
    """Names the schedule of a message that is stored under a number; in the form of a message id."""
    return f"{_sender(message)}:{ref}"


def ref_of(job_id: str) -> int:
    """The number in a schedule's name, 0 if it is none."""
    digits = job_id.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0


def delivered(message: Message, job_id: str, delivery: int, now_ms: int) -> Message:
    """A scheduled message as it goes to its destination.

    Its schedule is taken off, and its time to live begins now.

    Args:
        message: as it was sent.
        job_id: the schedule's name.
        delivery: a number that no other delivery has.
        now_ms: the time.
    """
    properties = dict(properties_of(message))
    again = _number_or_none(properties.get(REPEAT)) or properties.get(CRON)
    for name in (DELAY, PERIOD, REPEAT, CRON):
        properties.pop(name, None)
    properties[JOB_ID] = job_id
    expiration, timestamp = message.expiration, message.timestamp
    if timestamp > 0 and now_ms + expiration - timestamp > expiration > 0:
        if expiration > timestamp:
            expiration += now_ms - timestamp
        timestamp = now_ms
    made = replace(
        message, properties=encoded(properties), expiration=expiration, timestamp=timestamp, decoded=None
    )
    return (
        renamed(made, f"{_sender(message)}-scheduled:0:{ref_of(job_id)}:{delivery}")
        if again
        else (rewritten(made))
    )


def without_cron(message: Message) -> Message:
    """The schedule that one of the times of a cron expression begins."""
    properties = dict(properties_of(message))
    del properties[CRON]
    return rewritten(replace(message, properties=encoded(properties)))


def listed(message: Message, job_id: str, listing: int, reply_to: Destination, now_ms: int) -> Message:
    """A scheduled message as it is shown to whoever browses the schedule.

    Args:
        message: as it was sent; its schedule stays on it.
        job_id: the schedule's name, which keeps it from being scheduled again.
        listing: a number that no other has.
        reply_to: where it is shown.
        now_ms: the time.
    """
    shown = replace(
        message,
        destination=reply_to,
        persistent=False,
        type="Advisory",
        expiration=0,
        timestamp=now_ms,
        properties=encoded({**properties_of(message), JOB_ID: job_id}),
        decoded=None,
        producer_id="",
    )
    return renamed(shown, f"{_sender(message)}-browsed:0:{ref_of(job_id)}:{listing}")


def renamed(message: Message, message_id: str) -> Message:
    """A message under an id of its own; it is written anew."""
    return replace(message, message_id=message_id, native=None, wire=None, wire_format="")


def encoded(properties: Mapping[str, object]) -> bytes:
    """The bytes of properties that were decoded before."""
    return encode_map(cast("Mapping[str, Value]", properties))


def _sender(message: Message) -> str:
    return message.producer_id or message.message_id


def _number_or_none(value: object) -> int:
    try:
        return _number(REPEAT, value, REPEATS_MAX)
    except RequestInvalid:
        return 0
