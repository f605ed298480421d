"""What a client says, and what it is told: logins, messages, receipts, errors."""

from __future__ import annotations

import pytest
from support.region import Peer
from support.stomp_client import QUEUE, TOPIC, Broker, Client, written

from broker.destination import Destination
from broker.message import BodyKind


@pytest.fixture(params=["1.0", "1.1", "1.2"])
def version(request: pytest.FixtureRequest) -> str:
    """Every version."""
    return str(request.param)


# ---- logins


def test_connected(version: str) -> None:
    """CONNECTED names the version, the session and the broker; STOMP means the same as CONNECT."""
    broker = Broker()
    client = Client(broker, version)
    assert client.connected["version"] == version
    assert client.connected["session"].startswith("ID:broker-1-2-stomp:")
    assert client.connected["server"].startswith("ActiveMQ/5.17")
    assert client.connected["heart-beat"] == "0,0"
    other = Client(broker, version, login=False)
    other.connect("STOMP", request_id="r1")
    (frame,) = other.take("CONNECTED")
    assert frame.headers["response-id"] == "r1"


def test_the_best_version_is_spoken() -> None:
    """Of the versions both sides know it is the last."""
    assert Client(Broker(), accept_version="1.0,1.1,1.3, 1.2").connected["version"] == "1.2"
    assert Client(Broker(), accept_version="1.1,1.0").connected["version"] == "1.1"


def test_no_common_version() -> None:
    """The client is told which there are."""
    client = Client(Broker(), "1.0", login=False)
    client.connect(accept_version="2.0")
    assert client.told[0].headers["version"] == "1.0,1.1,1.2"
    assert client.error().startswith("Invalid Protocol version[2.0]")


@pytest.mark.parametrize("headers", [{"passcode": "wrong"}, {"login": ""}])
def test_login_refused(headers: dict[str, str]) -> None:
    """Without the right password there is an ERROR, and an end."""
    client = Client(Broker(), login=False)
    client.connect(**headers)
    assert client.error() == "Not with this password."
    assert client.server.connection is None


def test_a_second_connect() -> None:
    """One login is enough."""
    client = Client(Broker())
    client.connect()
    assert client.error() == "Already connected."


def test_before_connect() -> None:
    """Nothing else comes first."""
    client = Client(Broker(), login=False)
    client.send()
    assert client.error() == "Not connected."


def test_what_comes_before_the_login_is_answered() -> None:
    """A client that does not wait for CONNECTED loses nothing."""
    broker = Broker()
    broker.users.at_once = False
    client = Client(broker, login=False)
    client.connect()
    client.send(receipt="1")
    assert client.told == []
    assert client.server.reading_paused
    broker.users.waiting.pop()()
    broker.settle()
    assert [frame.command for frame in client.told] == ["CONNECTED", "RECEIPT"]


def test_too_much_before_the_login_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept up to a limit."""
    monkeypatch.setattr("broker.serving.WAITING_BYTES_MAX", 100)
    broker = Broker()
    broker.users.at_once = False
    client = Client(broker, login=False)
    client.connect()
    client.send("x" * 200)
    assert client.error().startswith("more than 100 bytes")


def test_client_id_in_use() -> None:
    """Two connections cannot have the same client id."""
    broker = Broker()
    assert Client(broker, client_id="me").connected["session"] == "me"
    other = Client(broker, login=False)
    other.connect(client_id="me")
    assert other.error() == "Client: me already connected."


@pytest.mark.parametrize(
    ("given", "answer"),
    [("0,0", "0,0"), ("5000,7000", "7000,5000"), ("0,10", "1000,0"), ("10, 0", "0,10")],
)
def test_heart_beats_are_agreed(given: str, answer: str) -> None:
    """This side promises what the client wants, but no more than one a second."""
    assert Client(Broker(), heart_beat=given).connected["heart-beat"] == answer


def test_heart_beats_of_those_who_say_nothing() -> None:
    """A connector can have them be given up when they are silent; its grace counts, too."""
    broker = Broker(heart_beat="5000,0", heart_beat_grace=2.0)
    client = Client(broker)
    assert client.server.deadline_s == 10.0
    client.server.handle_deadline(10.0)
    client.read()
    assert client.error().startswith("Nothing was heard")
    assert client.server.deadline_s is None


@pytest.mark.parametrize("given", ["", "1", "1,2,3", "a,b", "-1,0", "1.5,0"])
def test_heart_beats_that_are_none(given: str) -> None:
    """They are refused."""
    client = Client(Broker(), "1.0", login=False)
    client.connect(heart_beat=given)
    assert client.error() == f"Invalid heart-beat header: {given}"


# ---- messages


def test_a_message(version: str) -> None:
    """A message reaches a subscriber with ActiveMQ's headers and its own."""
    broker = Broker()
    client = Client(broker, version)
    client.subscribe()
    client.frame(
        "SEND", {"destination": QUEUE, "price": "12", "a:b": "c:d" if version != "1.0" else "x"}, b"hello"
    )
    broker.settle()
    (frame,) = client.messages()
    assert frame.body == b"hello"
    assert frame.headers["destination"] == QUEUE
    assert frame.headers["subscription"] == "1"
    assert frame.headers["price"] == "12"
    assert frame.headers["expires"] == "0"
    assert frame.headers["priority"] == "4"
    assert frame.headers["timestamp"] == str(broker.region.now_ms)
    assert frame.headers["message-id"].startswith("ID:broker-1-2-stomp:")
    assert "persistent" not in frame.headers
    assert "content-length" not in frame.headers


def test_between_versions(version: str) -> None:
    """Escapes are each receiver's own."""
    broker = Broker()
    receiver, sender = Client(broker, version), Client(broker, "1.2")
    receiver.subscribe()
    sender.frame("SEND", {"destination": QUEUE, "a": "1:2\\3\r4", "b": "x\ny"}, b"\\c")
    broker.settle()
    (frame,) = receiver.messages()
    assert frame.body == b"\\c"
    if version == "1.0":
        assert (frame.headers["a"], frame.headers["b"]) == ("1:2\\3 4", "x y")
    else:
        assert (frame.headers["a"], frame.headers["b"]) == ("1:2\\3\r4", "x\ny")


def test_from_1_0() -> None:
    """What 1.0 does not escape arrives as it was meant."""
    broker = Broker()
    receiver, sender = Client(broker, "1.2"), Client(broker, "1.0")
    receiver.subscribe()
    sender.give(b"SEND\ndestination: /queue/workshop.test\na:b:c\\n \nreceipt: 7 \n\nhi\0")
    broker.settle()
    (frame,) = receiver.messages()
    assert frame.headers["a"] == "b:c\\n"
    assert sender.receipts() == ["7"]


def test_text_and_bytes() -> None:
    """A content-length makes it bytes, as in ActiveMQ; `amq-msg-type` decides otherwise."""
    broker = Broker()
    client = Client(broker)
    client.subscribe()
    client.send("text")
    client.send(b"by\0tes")
    client.send(b"text", amq_msg_type="text")
    client.send("bytes", amq_msg_type="BYTES")
    client.send("t\u00fc\U0001f600")
    client.give(written("SEND", {"destination": QUEUE}, b"\xff"))
    broker.settle()
    frames = client.messages()
    assert [frame.body for frame in frames][:4] == [b"text", b"by\0tes", b"text", b"bytes"]
    assert ["content-length" in frame.headers for frame in frames] == [False, True, True, False, False, False]


def test_kinds_for_others() -> None:
    """Other protocols see text as text and bytes as bytes."""
    broker = Broker()
    client, other = Client(broker), Peer(broker.region, "other")
    other.consume()
    client.send("t\u00fc\U0001f600", correlation_id="c", type="t", JMSXGroupID="g", JMSXGroupSeq="3", x="y")
    client.send(b"by\0tes", persistent="true", priority="7", expires="9999999999999", reply_to="/topic/a")
    client.give(written("SEND", {"destination": QUEUE}, b"\xff"))
    broker.settle()
    text, data, odd = sorted(other.client.messages, key=lambda each: each.message_id)
    assert (text.body_kind, text.body) == (BodyKind.TEXT, b"\0\0\0\x09t\xc3\xbc\xed\xa0\xbd\xed\xb8\x80")
    assert (text.correlation_id, text.type, text.group_id, text.group_sequence) == ("c", "t", "g", 3)
    assert (text.persistent, text.priority, text.expiration) == (False, 4, 0)
    assert (data.body_kind, data.body) == (BodyKind.BYTES, b"by\0tes")
    assert (data.persistent, data.priority, data.expiration) == (True, 7, 9999999999999)
    assert data.reply_to == Destination.topic("a")
    assert (odd.body_kind, odd.body) == (BodyKind.BYTES, b"\xff")


def test_receipts_wait_for_the_journal() -> None:
    """A persistent send is confirmed when it is durable, another at once."""
    broker = Broker()
    client = Client(broker)
    client.send(receipt="a:1", persistent="true")
    client.send(receipt="2", transaction_x="y")
    assert client.receipts() == ["2"]
    assert client.server.held_batch == 2
    broker.settle()
    assert client.receipts() == ["a:1"]


def test_headers_are_remembered() -> None:
    """The same headers again mean the same, whatever the receipt; others do not."""
    broker = Broker()
    client = Client(broker)
    client.subscribe()
    for number in range(200):
        client.send(f"{number}", receipt=f"{number}", correlation_id=f"{number // 2}")
    broker.settle()
    frames = client.messages()
    assert [frame.headers["correlation-id"] for frame in frames] == [
        f"{number // 2}" for number in range(200)
    ]
    assert len({frame.headers["message-id"] for frame in frames}) == 200
    assert len(client.receipts()) == 200


def test_forged_headers_do_not_arrive() -> None:
    """What consumers take for the broker's word is the broker's."""
    broker = Broker()
    client = Client(broker)
    client.subscribe(ack="client")
    forged = {"message-id": "1", "subscription": "9", "ack": "2", "redelivered": "true", "JMSXUserID": "root"}
    client.frame("SEND", {"destination": QUEUE, "browser": "end", **forged})
    broker.settle()
    (frame,) = client.messages()
    assert frame.headers["message-id"].startswith("ID:")
    assert frame.headers["subscription"] == "1"
    assert frame.headers["ack"].startswith("1-")
    assert not frame.headers.keys() & {"redelivered", "JMSXUserID", "browser", "receipt"}


def test_temporary_destinations() -> None:
    """A name of one's own for a queue that others answer to."""
    broker = Broker()
    asker, answerer = Client(broker), Client(broker)
    asker.subscribe("/temp-queue/mine", "t")
    answerer.subscribe()
    asker.send("?", reply_to="/temp-queue/mine")
    broker.settle()
    (request,) = answerer.messages()
    reply_to = request.headers["reply-to"]
    assert reply_to.startswith("/remote-temp-queue/ID:")
    answerer.send("!", reply_to)
    broker.settle()
    (answer,) = asker.messages()
    assert (answer.headers["destination"], answer.body) == ("/temp-queue/mine", b"!")
    asker.server.connection_lost("")
    answerer.send("!", reply_to)
    assert "does not exist" in answerer.error()


def test_topics() -> None:
    """Everybody who listens gets a copy; a wildcard listens to many."""
    broker = Broker()
    one, two = Client(broker), Client(broker)
    one.subscribe("/topic/*")
    two.subscribe(TOPIC)
    one.send("up", TOPIC)
    broker.settle()
    assert one.bodies() == two.bodies() == [b"up"]


# ---- what goes wrong


@pytest.mark.parametrize(
    ("command", "headers", "reason"),
    [
        ("SEND", {}, "SEND received without a Destination"),
        ("SEND", {"destination": "x://workshop"}, "Destination 'x://workshop' has an unknown scheme."),
        ("SEND", {"destination": "/queue/"}, "A destination needs a name."),
        ("SEND", {"destination": QUEUE, "expires": "soon"}, "The header expires 'soon'"),
        ("SEND", {"destination": QUEUE, "priority": "9999999999"}, "The header priority"),
        ("SEND", {"destination": QUEUE, "amq-msg-type": "map"}, "Unsupported message type 'map'"),
        ("SEND", {"destination": QUEUE, "transaction": "t"}, "Invalid transaction id: t"),
        ("SUBSCRIBE", {"id": "1"}, "SUBSCRIBE received without a Destination"),
        ("SUBSCRIBE", {"destination": QUEUE}, "SUBSCRIBE received without a subscription id"),
        ("SUBSCRIBE", {"destination": QUEUE, "id": "1", "selector": "a ="}, ""),
        ("SUBSCRIBE", {"destination": QUEUE, "id": "1", "activemq.prefetchSize": "x"}, "The header activemq"),
        (
            "SUBSCRIBE",
            {"destination": QUEUE, "id": "1", "activemq.subscriptionName": "x"},
            "Invalid Subscription",
        ),
        ("SUBSCRIBE", {"destination": TOPIC, "id": "1", "activemq.subscriptionName": "x"}, ""),
        ("UNSUBSCRIBE", {"id": "1"}, "No subscription matched."),
        ("UNSUBSCRIBE", {}, "Must specify the subscriptionId"),
        ("ACK", {}, "ACK received without an ack header"),
        ("ACK", {"id": "1-1"}, "Unexpected ACK received"),
        ("NACK", {"id": "x"}, "Unexpected NACK received"),
        ("BEGIN", {}, "Must specify the transaction"),
        ("COMMIT", {"transaction": "t"}, "Invalid transaction id: t"),
        ("ABORT", {}, "Must specify the transaction"),
    ],
)
def test_mistakes(command: str, headers: dict[str, str], reason: str) -> None:
    """What is wrong is said in the message header, with the receipt's id, and the connection ends."""
    broker = Broker()
    client, other = Client(broker), Client(broker)
    other.subscribe()
    client.frame(command, {**headers, "receipt": "r"})
    assert client.told[0].headers["receipt-id"] == "r"
    assert client.told[0].headers["content-type"] == "text/plain"
    assert client.told[0].body
    assert client.error().startswith(reason)
    other.send()
    broker.settle()
    assert other.bodies() == [b"hello"]


def test_garbage() -> None:
    """What is no STOMP is told so."""
    client = Client(Broker())
    client.give(b"GET / HTTP/1.1\r\n\r\n")
    assert client.error() == "Unknown STOMP action: GET / HTTP/1.1"


def test_a_subscription_id_twice() -> None:
    """An id names one subscription."""
    client = Client(Broker())
    client.subscribe()
    client.subscribe(TOPIC)
    assert client.error() == "There is already a subscription with the id '1'."


# ---- the end


def test_disconnect() -> None:
    """The receipt of DISCONNECT says that all before it is durable; the connection ends behind it."""
    broker = Broker()
    client = Client(broker)
    client.subscribe()
    client.send(persistent="true")
    client.say("DISCONNECT", receipt="bye")
    assert client.told == []
    assert not client.server.closing
    client.send("too late")
    broker.settle()
    assert [frame.headers for frame in client.told] == [{"receipt-id": "bye"}]
    assert client.server.closing
    assert client.server.close_reason == ""


def test_disconnect_without_receipt() -> None:
    """Who wants no receipt is let go, too, and gets those that are due before."""
    broker = Broker()
    client = Client(broker)
    client.send(persistent="true", receipt="1")
    client.say("DISCONNECT")
    assert not client.server.closing
    broker.settle()
    assert client.receipts() == ["1"]
    assert client.server.closing


def test_eof() -> None:
    """Who is gone gives back what it had."""
    broker = Broker()
    client, other = Client(broker), Client(broker)
    client.subscribe(ack="client")
    client.send()
    broker.settle()
    assert len(client.messages()) == 1
    client.server.receive_eof()
    other.subscribe()
    broker.settle()
    (frame,) = other.messages()
    assert frame.headers["redelivered"] == "true"


@pytest.mark.parametrize("space", [" ", "\t", "\x1c", "\x1f", "\x85"])
def test_spaces_around_numbers(space: str) -> None:
    """All that is space for Python is, also what its int() does not forgive."""
    broker = Broker()
    client = Client(broker)
    prefetch = {"destination": QUEUE, "id": "1", "activemq.prefetchSize": f"{space}1{space}"}
    client.frame("SUBSCRIBE", prefetch)
    client.frame("SEND", {"destination": QUEUE, "priority": f"7{space}", "expires": f"{space}0"}, b"x")
    broker.settle()
    (message,) = client.messages()
    assert message.headers["priority"] == "7"
