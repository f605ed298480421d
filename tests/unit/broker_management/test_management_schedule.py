"""Messages that are to be delivered later, as operators see and cancel them."""

from __future__ import annotations

import pytest
from support.management import finished, managed
from support.region import QUEUE, Peer, new_region, restarted, settle
from support.scheduling import schedule

from broker.management.errors import RequestMalformed
from broker.management.requests import ScheduledRequest, ScheduleRequest, SendRequest


def test_what_is_scheduled_is_listed_and_cancelled() -> None:
    """The next first, page by page, with the message; what is cancelled is gone, also after a restart."""
    region = new_region()
    peer = Peer(region)
    for number, delay in enumerate((500, 100, 300, 300)):
        peer.send(f"m{number}", **schedule(delay=delay))
    peer.send("cron", **schedule(cron="0 * * * *"))
    settle(region)
    _, operator = managed(region)
    found, after = [], ""
    while True:
        page = operator.scheduled(ScheduledRequest(limit=2, after=after))
        assert page.total == 5
        found += page.items
        after = page.next
        if not after:
            break
    assert [each.message.id for each in found] == ["m1", "m2", "m3", "m0", "cron"]
    assert [each.due for each in found[:4]] == [1100, 1300, 1300, 1500]
    assert (found[4].cron, found[0].message.state) == ("0 * * * *", "scheduled")
    assert found[0].message.destination == QUEUE.uri
    info = finished(region, operator.unschedule(ScheduleRequest(found[1].job_id)))
    assert (info.state, info.operation) == ("done", "unschedule")
    _, again = managed(restarted(region))
    left = again.scheduled(ScheduledRequest()).items
    assert [each.message.id for each in left] == ["m1", "m3", "m0", "cron"]
    info = finished(region, operator.unschedule(ScheduleRequest(found[1].job_id)))
    assert (info.state, info.error) == ("failed", f"There is no scheduled message {found[1].job_id}.")


@pytest.mark.parametrize("after", ["x", "1", "1.x", ".", "1." + "1" * 50])
def test_a_cursor_is_what_a_page_has_given(after: str) -> None:
    """Anything else is refused."""
    _, operator = managed()
    with pytest.raises(RequestMalformed, match="'after'"):
        operator.scheduled(ScheduledRequest(after=after))


def test_an_operators_message_is_delivered_later() -> None:
    """What management sends is scheduled by its properties, as what clients send."""
    region = new_region()
    _, operator = managed(region)
    request = SendRequest(QUEUE.name, text="later", properties={"AMQ_SCHEDULED_DELAY": 1000})
    assert finished(region, operator.send(request)).state == "done"
    assert [each.message.preview for each in operator.scheduled(ScheduledRequest()).items] == ["later"]
    assert QUEUE not in region.targets
