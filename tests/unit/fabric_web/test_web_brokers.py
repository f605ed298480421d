"""A broker's pages and API on a broker in memory."""

from __future__ import annotations

from typing import cast

import pytest
from support.console import Client
from support.console_brokers import URL, BrokerWorld
from support.management import send_text
from support.region import settle

from broker.destination import Destination
from fabric.audit import read_entries
from fabric.web.sampler import SLOW_S, topic_of
from registry.session import Session

API = "/api/v1/brokers/default/orders"
PAGE = "/mq/default/orders"
ORDERS = Destination.queue("orders")
NASTY = [
    "a/b",
    "a b",
    "100%2Fsure",
    "<script>alert(1)</script>",
    "quote\"'&amp;",
    "Grüße/日本語",
    "?query#hash",
    "long." * 180,
    "a//b",
    ";semi=colon",
]


def quoted(name: str) -> str:
    """A name in an address."""
    from urllib.parse import quote

    return quote(name, safe="")


def fragment(client: Client, path: str) -> str:
    """A part of a page that fetches itself anew."""
    answer = client.get(path, HX_Request="true")
    assert answer.status == 200, answer.text
    return answer.text


def test_the_overview_says_what_the_master_tells() -> None:
    """Messages, limits, the master and its connectors."""
    world = BrokerWorld()
    world.broker("default", "orders", "second")
    send_text(world.peer, 1, "hello", ORDERS)
    text = world.client("viewer").get(PAGE).text
    assert "<b>1</b><span>messages</span>" in text
    assert URL in text
    assert 'href="/containers/second"' in text
    assert f'data-topics="health fabric {topic_of("default", "orders")}"' in text
    answer = world.client("viewer").get(API).json
    assert answer["row"]["masters"] == ["root"]
    assert answer["info"]["messages"] == 1


@pytest.mark.parametrize(
    "path",
    ["", "/queues", "/topics", "/subscriptions", "/connections", "/transactions", "/scheduled"],
)
def test_pages_of_an_empty_broker(path: str) -> None:
    """Each has something to say when there is nothing, as a page and as a part."""
    world = BrokerWorld()
    client = world.client("operator")
    page = client.get(PAGE + path)
    assert page.status == 200, page.text
    assert "<html" in page.text
    assert "<html" not in fragment(client, PAGE + path)


def test_a_broker_without_master_shows_what_is_known() -> None:
    """The page says that there is no master, and what was known stays; the API refuses with 503."""
    world = BrokerWorld()
    send_text(world.peer, 1, "hello", ORDERS)
    client = world.client("viewer")
    assert ">orders</a>" in fragment(client, f"{PAGE}/queues")
    for path in world.registry.children("/fabric/registry/clusters/amq/default"):
        world.registry.delete(f"/fabric/registry/clusters/amq/default/{path}")
    world.broker("default", "orders", "second")
    world.reactor.pass_time(2.0)
    text = fragment(client, f"{PAGE}/queues")
    assert "has no master now" in text
    assert ">orders</a>" in text
    assert client.get(API).status == 503
    assert client.get("/mq/default/unknown").status == 404


def test_a_broker_that_does_not_answer_is_asked_again() -> None:
    """An error stands on the page until it answers; broken connections are not used again."""
    world = BrokerWorld()
    client = world.client("viewer")
    assert client.get(API).status == 200
    world.answers = False
    world.reactor.pass_time(2.0)
    assert "cannot be asked" in fragment(client, PAGE)
    assert client.get(API).status == 503
    world.answers = True
    world.reactor.pass_time(2.0)
    assert "cannot be asked" not in fragment(client, PAGE)
    assert world.closed == world.connected - 1


def test_fifty_who_look_cost_one_question_a_second() -> None:
    """However many pages are open: four answers a sample, a sample a second; each part is rendered once."""
    world = BrokerWorld()
    browsers = [world.browser("viewer") for _ in range(3)]
    streams = []
    for number in range(50):
        headers = {"Host": "console.test", "Cookie": browsers[number % 3].headers["Cookie"]}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        topic = quoted(topic_of("default", "orders"))
        streams.append(world.send(f"GET /api/v1/events?topic={topic} HTTP/1.1\r\n{lines}\r\n".encode()))
    world.reactor.pass_time(1.5)
    world.asked.clear()
    for stream in streams:
        stream.clear()
    for _ in range(10):
        world.reactor.pass_time(1.0)
        for number in range(50):
            assert browsers[number % 3].get(PAGE, HX_Request="true").status == 200
    assert 10 <= world.asked.count("broker") <= 11
    for_health = world.asked.count("consumers")
    assert for_health <= 3
    assert len(world.asked) - for_health == 4 * world.asked.count("broker")
    assert all(stream.value().count(b"event: broker:") >= 9 for stream in streams)


def test_nobody_is_asked_while_nobody_looks() -> None:
    """A login alone has brokers asked every ten seconds; without one they are left alone."""
    world = BrokerWorld()
    world.reactor.pass_time(60.0)
    assert world.asked == []
    browser = world.browser("viewer")
    head = f"GET /api/v1/events HTTP/1.1\r\nHost: console.test\r\nCookie: {browser.headers['Cookie']}\r\n\r\n"
    world.send(head.encode())
    world.reactor.pass_time(6 * SLOW_S + 1)
    assert world.asked.count("broker") == 6
    browser.post("/logout")
    world.reactor.pass_time(2 * SLOW_S)
    world.asked.clear()
    world.reactor.pass_time(10 * SLOW_S)
    assert world.asked == []


@pytest.mark.parametrize("name", NASTY)
def test_names_come_from_users(name: str) -> None:
    """Any name of a queue works in addresses, pages and the API, and is nothing but text on a page."""
    world = BrokerWorld()
    client = world.client("operator")
    made = client.post(f"{API}/queues", {"name": name})
    assert (made.status, made.json["message"]) == (200, f"Queue {name} is there.")
    assert client.post(f"{API}/queues/{quoted(name)}/messages", {"text": "one"}).status == 200
    assert client.get(f"{API}/queues/{quoted(name)}").json["name"] == name
    listed = fragment(client, f"{PAGE}/queues")
    assert f'href="{PAGE}/queues/{quoted(name)}"' in listed
    page = client.get(f"{PAGE}/queues/{quoted(name)}")
    assert page.status == 200
    assert "<b>1</b><span>waiting</span>" in page.text
    assert "<script>alert" not in page.text + listed
    assert client.request("DELETE", f"{API}/queues/{quoted(name)}").status == 200
    assert client.get(f"{API}/queues/{quoted(name)}").status == 404


def test_what_clients_send_is_text() -> None:
    """Bodies, properties, ids and errors with markup in them are shown, not run."""
    world = BrokerWorld()
    evil = "<img src=x onerror=alert(1)>"
    client = world.client("operator")
    sent = client.post(
        f"{API}/queues/orders/messages",
        {"text": evil, "properties": {"note": evil}, "correlation_id": evil, "type": evil, "group_id": evil},
    )
    assert sent.status == 200
    world.region.connect(world.peer.client, "ID:evil:1", evil)
    ref = client.get(f"{API}/queues/orders/messages").json["items"][0]["ref"]
    for path in (
        f"{PAGE}/queues/orders/messages",
        f"{PAGE}/queues/orders/messages/{ref}",
        f"{PAGE}/connections",
        f"{PAGE}/queues/orders/messages?selector={quoted(evil)}",
        f"{PAGE}/queues?filter={quoted(evil)}",
        f"{PAGE}/connections?filter={quoted(evil)}",
    ):
        text = fragment(client, path)
        assert "<img src=x" not in text, path
    assert "&lt;img src=x" in fragment(client, f"{PAGE}/queues/orders/messages/{ref}")


def test_a_message_is_shown_as_what_it_is() -> None:
    """JSON with its lines broken, bytes as a dump, and one that is gone as an error."""
    world = BrokerWorld()
    client = world.client("operator")
    address = f"{API}/queues/orders/messages"
    client.post(address, {"text": '{"a":1}', "properties": "colour=red\nsize = 7"})
    client.post(address, {"base64": "AP8A/wD/"})
    client.post(address, {"priority": 7, "persistent": False})
    listed = client.get(address).json["items"]
    assert listed[0]["properties"] == {"colour": "red", "size": "7"}
    refs = {each["body_kind"]: each["ref"] for each in listed}
    part = f"{PAGE}/queues/orders/messages"
    assert "{\n  &#34;a&#34;: 1\n}" in fragment(client, f"{part}/{refs['text']}")
    assert "00000000  00 ff 00 ff 00 ff" in fragment(client, f"{part}/{refs['bytes']}")
    assert "It has no body." in fragment(client, f"{part}/{refs['none']}")
    for path in (part, f"{part}/{refs['text']}"):
        alone = client.get(path)
        assert (alone.status, "<html" in alone.text) == (200, True)
    for ref in (refs["none"] + 1, "x", "9" * 30):
        assert client.get(f"{part}/{ref}", HX_Request="true").status == 404


def test_only_operators_read_messages() -> None:
    """A viewer sees figures; what messages say may be nobody's business but the customers'."""
    world = BrokerWorld()
    send_text(world.peer, 1, "secret", ORDERS)
    viewer = world.client("viewer")
    page = viewer.get(f"{PAGE}/queues/orders")
    assert page.status == 200
    assert "secret" not in page.text
    assert "hx-post" not in page.text.replace('hx-post="/logout"', "")
    for path in (
        f"{API}/queues/orders/messages",
        f"{PAGE}/queues/orders/messages",
        f"{API}/scheduled",
        f"{API}/subscriptions/messages?subscription=s",
    ):
        assert viewer.get(path).status == 403


def test_messages_are_moved_copied_removed_and_given_back() -> None:
    """Chosen ones by their numbers, as the page's forms name them, and all if that is what is said."""
    world = BrokerWorld()
    for number in range(1, 6):
        send_text(world.peer, number, f"text {number}", ORDERS)
    settle(world.region)
    browser = world.browser("operator")
    address = f"{API}/queues/orders"
    refs = [each["ref"] for each in browser.get(f"{address}/messages").json["items"]]
    moved = browser.post(f"{address}/move", {"refs": refs[:2], "target": "other"}, form=True)
    assert moved.json["message"] == "Moved 2 messages to queue://other."
    copied = browser.post(f"{address}/copy", {"count": 1, "target": "topic://news"})
    assert copied.json["job"]["changed"] == 1
    refused = browser.post(f"{address}/purge", {"selector": "", "count": ""}, form=True)
    assert (refused.status, "Say which" in refused.json["error"]["message"]) == (400, True)
    bad = browser.post(f"{address}/purge", {"selector": "nonsense >"})
    assert (bad.status, bad.json["error"]["code"]) == (400, "broker_refused")
    assert browser.get(address).json["size"] == 3
    back = browser.post(f"{API}/queues/other/retry", {"all": "true", "selector": "", "count": ""}, form=True)
    assert back.json["message"] == "Gave back 2 messages."
    purged = browser.post(f"{address}/purge", {"all": True})
    assert purged.json["message"] == "Removed 5 messages."
    assert browser.get(address).json["size"] == 0


def test_a_long_job_is_shown_and_cancelled() -> None:
    """The answer says that it goes on, the page how far it is; whoever may operate cancels it."""
    world = BrokerWorld()
    for number in range(1, 2_001):
        send_text(world.peer, number, "text", ORDERS)
    settle(world.region)
    world.holds = True
    client = world.client("operator")
    answer = client.post(f"{API}/queues/orders/purge", {"all": True})
    assert answer.json["job"]["state"] == "running"
    assert answer.json["message"] == "Removing messages: 0 so far. It goes on."
    job = answer.json["job"]["id"]
    asker = {"user": "operator", "role": "operator", "source": "192.168.1.1"}
    assert world.askers == [asker], "the broker tells the audit log of the end"
    (entry,) = read_entries(cast("Session", world.registry))
    assert (entry.user, entry.result) == ("operator", f"begun as job {job}")
    text = fragment(client, f"{PAGE}/queues/orders")
    assert f'hx-post="{API}/jobs/{job}/cancel"' in text
    assert "hx-post" not in fragment(world.client("viewer"), f"{PAGE}/queues/orders")
    world.holds = False
    assert client.post(f"{API}/jobs/{job}/cancel").status == 200
    assert client.get(f"{API}/jobs/{job}").json["state"] == "cancelled"
    assert client.get(f"{API}/jobs/x").status == 404


def test_queues_are_paused_and_resumed() -> None:
    """The page shows it, and offers the other."""
    world = BrokerWorld()
    client = world.client("operator")
    client.post(f"{API}/queues", {"name": "orders"})
    assert client.post(f"{API}/queues/orders/pause").json["message"] == "Queue orders is paused."
    world.reactor.pass_time(2.0)
    text = fragment(client, f"{PAGE}/queues/orders")
    assert ">Resume</button>" in text
    assert ">paused</span>" in text
    assert client.post(f"{API}/queues/orders/resume").status == 200
    assert client.get(f"{API}/queues/orders").json["paused"] is False


def test_queues_are_filtered_sorted_and_paged() -> None:
    """Fifty on a page; the largest first if that is asked for; what is wrong in the query shows the first."""
    world = BrokerWorld()
    client = world.client("operator")
    for number in range(60):
        client.post(f"{API}/queues", {"name": f"q{number:02}"})
    send_text(world.peer, 1, "text", Destination.queue("q59"))
    world.reactor.pass_time(2.0)
    first = fragment(client, f"{PAGE}/queues")
    assert ("q49" in first, "q50" in first, "1 to 50 of 60" in first) == (True, False, True)
    assert "51 to 60 of 60" in fragment(client, f"{PAGE}/queues?page=2")
    largest = fragment(client, f"{PAGE}/queues?sort=-size")
    assert largest.index(">q59<") < largest.index(">q00<")
    assert fragment(client, f"{PAGE}/queues?filter=q5").count("<tr>") == 11
    assert "No queue fits" in fragment(client, f"{PAGE}/queues?filter=zzz")
    assert ">q00<" in fragment(client, f"{PAGE}/queues?sort=nonsense&page=-4")


def test_subscriptions_are_deleted_when_nobody_uses_them() -> None:
    """An active one is refused."""
    world = BrokerWorld()
    world.peer.consume(destination=Destination.topic("news"), subscription_name="all <b>news</b>")
    client = world.client("operator")
    text = fragment(client, f"{PAGE}/subscriptions")
    assert "all &lt;b&gt;news&lt;/b&gt;" in text
    assert ">active</span>" in text
    body = {"client_id": "billing", "subscription": "all <b>news</b>"}
    assert client.post(f"{API}/subscriptions/unsubscribe", body).status == 400
    world.peer.connection.close()
    world.reactor.pass_time(2.0)
    assert 'data-dialog="unsubscribe"' in fragment(client, f"{PAGE}/subscriptions")
    assert "away" in fragment(client, f"{PAGE}/topics/news")
    assert client.post(f"{API}/subscriptions/unsubscribe", body).status == 200
    assert client.get(f"{API}/subscriptions").json["items"] == []


def test_connections_are_shown_and_closed() -> None:
    """With their consumers and producers; one that is over says so."""
    world = BrokerWorld()
    world.peer.consume(destination=ORDERS)
    client = world.client("operator")
    name = quoted("ID:peer-1:1")
    assert f'href="{PAGE}/connections/{name}"' in fragment(client, f"{PAGE}/connections")
    assert "queue://orders" in fragment(client, f"{PAGE}/connections/{name}")
    assert client.post(f"{API}/connections/{name}/disconnect").status == 200
    assert world.peer.client.disconnected is not None
    world.peer.connection.close()
    world.reactor.pass_time(2.0)
    assert "This connection is over." in fragment(client, f"{PAGE}/connections/{name}")


def test_history() -> None:
    """The last hour of a broker and of its queues, for programs."""
    world = BrokerWorld()
    client = world.client("viewer")
    for second in range(40):
        send_text(world.peer, second + 1, "text", ORDERS)
        world.reactor.pass_time(2.0)
        client.get(API)
    found = client.get(f"{API}/queues/orders/history").json
    assert len(found) >= 6
    assert found[-1][1] == pytest.approx(0.5, abs=0.15)
    assert len(client.get(f"{API}/history").json) == len(found)
    assert client.get(f"{API}/topics/none/history").json == []
    assert 'class="line"' in fragment(client, f"{PAGE}/queues/orders")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/queues", {"name": ""}),
        ("/queues", {"name": "x" * 2000}),
        ("/queues", {"name": "a,b"}),
        ("/queues/orders/messages", {"priority": 10}),
        ("/queues/orders/messages", {"properties": "no equals sign"}),
        ("/queues/orders/messages", {"properties": "{"}),
        ("/queues/orders/messages", {"properties": {"a": [1]}}),
        ("/queues/orders/messages", {"text": "a", "base64": "YQ=="}),
        ("/queues/orders/messages", {"base64": "%"}),
        ("/queues/orders/messages", {"delay_ms": -1}),
        ("/queues/orders/messages", {"reply_to": "nowhere://x"}),
        ("/queues/orders/move", {"all": True, "target": "orders"}),
        ("/queues/orders/move", {"all": True, "target": "queue://"}),
        ("/queues/orders/purge", {"refs": ["x"]}),
        ("/queues/orders/purge", {"all": True, "selectr": "x"}),
        ("/transactions/commit", {"xid": "nonsense"}),
    ],
)
def test_what_cannot_be_meant_is_refused(path: str, body: dict[str, object]) -> None:
    """A clear error, and nothing is changed."""
    world = BrokerWorld()
    send_text(world.peer, 1, "text", ORDERS)
    settle(world.region)
    client = world.client("operator")
    answer = client.post(API + path, body)
    assert answer.status in (400, 404), answer.text
    assert answer.json["error"]["message"]
    assert client.get(f"{API}/queues").json["total"] == 1
    assert client.get(f"{API}/queues/orders").json["size"] == 1
