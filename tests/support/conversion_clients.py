"""Third-party clients that send a message of each kind to topics or queues, and say what they get of others.

Each has its pattern of names open before anybody sends, and shows a message as a row of words: where it was
sent to, its body, what else its client is told.
"""

from __future__ import annotations

import threading
import time
import uuid

import paho.mqtt.client as paho
import proton
import stomp
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from proton.utils import BlockingConnection
from stomp.utils import Frame
from support.waiting import wait_until

USER = PASSWORD = "admin"
Row = tuple[str, str]
"""Where from; the body and what is not as it is by default."""


class _Rows:
    """What a client has received."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def wait(self, count: int) -> list[Row]:
        """Wait for so many messages."""
        wait_until(lambda: len(self.rows) >= count, 30.0, lambda: f"{count} messages; there are {self.rows}")
        return self.rows


# ---- STOMP


class StompClient(_Rows, stomp.ConnectionListener):
    """stomp.py."""

    def __init__(self, port: int, pattern: str, kind: str = "topic") -> None:
        super().__init__()
        self._kind = kind
        self._connection = stomp.Connection12(
            [("127.0.0.1", port)], auto_decode=False, auto_content_length=False
        )
        self._connection.set_listener("", self)
        self._connection.connect(USER, PASSWORD, wait=True)
        self._ready = threading.Event()
        self._connection.subscribe(f"/{kind}/{pattern}", id="1", headers={"receipt": "ready"})
        assert self._ready.wait(30)

    def on_receipt(self, frame: Frame) -> None:
        """It has subscribed."""
        if frame.headers["receipt-id"] == "ready":
            self._ready.set()

    def on_message(self, frame: Frame) -> None:
        """A message."""
        headers: dict[str, str] = dict(frame.headers)
        for name in ("subscription", "message-id", "timestamp"):
            assert headers.pop(name), name
        headers["expires"] = "" if headers["expires"] == "0" else "later"
        if headers["priority"] == "4":
            headers["priority"] = ""
        source = headers.pop("destination").rpartition(".")[2]
        data = frame.body if isinstance(frame.body, bytes) else frame.body.encode()
        self.rows.append((source, _row(_shown(data), headers)))

    def send(self, place: str) -> int:
        """Send one message of each kind; returns how many."""
        destination = f"/{self._kind}/{place}"
        self._connection.send(
            destination,
            "text ü 🐇",
            headers={
                "persistent": "true",
                "priority": "7",
                "expires": "4102444800000",
                "correlation-id": "correlation",
                "type": "kind",
                "reply-to": "/queue/answers",
                "JMSXGroupID": "group",
                "JMSXGroupSeq": "3",
                "my-header": "a:b",
                "number": "5",
            },
        )
        self._connection.send(destination, b"\0\1\xff", headers={"content-length": 3})
        self._connection.send(destination, "")
        return 3

    def close(self) -> None:
        """Go."""
        self._connection.disconnect()


# ---- MQTT


class MqttClient(_Rows):
    """paho-mqtt, of version 3.1.1 or 5."""

    def __init__(self, port: int, pattern: str, version: int) -> None:
        super().__init__()
        self._version = version
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"c{uuid.uuid4().hex[:8]}", protocol=version
        )
        self._client.username_pw_set(USER, PASSWORD)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(pattern, 1)
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(30)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        rest = {"qos": str(message.qos), "retain": "1" if message.retain else ""}
        properties = message.properties
        if properties is not None:
            for name, value in properties.json().items():
                if name == "UserProperty":
                    rest.update({f"user {key}": each for key, each in value})
                elif name == "MessageExpiryInterval":
                    rest["expires"] = "later" if value > 0 else "now"
                elif name == "CorrelationData":
                    rest[name] = bytes.fromhex(value).decode()
                else:
                    rest[name] = str(value)
        self.rows.append((message.topic.rpartition("/")[2], _row(_shown(message.payload), rest)))

    def send(self, topic: str) -> int:
        """Send one message of each kind; returns how many."""
        properties = None
        if self._version == paho.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("my-header", "a:b"), ("number", "5")]
            properties.ContentType = "text/plain"
            properties.ResponseTopic = "answers/mine"
            properties.CorrelationData = b"correlation"
            properties.MessageExpiryInterval = 600
            properties.PayloadFormatIndicator = 1
        self._client.publish(topic, "text ü 🐇".encode(), 1, properties=properties).wait_for_publish(30)
        self._client.publish(topic, b"\0\1\xff", 1).wait_for_publish(30)
        self._client.publish(topic, b"", 1).wait_for_publish(30)
        return 3

    def close(self) -> None:
        """Go."""
        self._client.disconnect()
        self._client.loop_stop()


# ---- AMQP


class AmqpClient(_Rows):
    """Qpid Proton's blocking client."""

    def __init__(self, port: int, pattern: str, kind: str = "topic") -> None:
        super().__init__()
        self._kind = kind
        self._connection = BlockingConnection(
            f"amqp://127.0.0.1:{port}", user=USER, password=PASSWORD, allowed_mechs="PLAIN", timeout=30
        )
        self._receiver = self._connection.create_receiver(f"{kind}://{pattern}", credit=1000)

    def wait(self, count: int) -> list[Row]:
        """Wait for so many messages."""
        while len(self.rows) < count:
            message = self._receiver.receive(timeout=30)
            self._receiver.accept()
            self.rows.append(self._row(message))
        return self.rows

    def _row(self, message: proton.Message) -> Row:
        rest = {
            "durable": "true" if message.durable else "",
            "priority": str(message.priority) if message.priority != 4 else "",
            "ttl": "some" if message.ttl else "",
            "group_sequence": str(message.group_sequence or ""),
            **{
                name: str(value)
                for name in ("correlation_id", "subject", "reply_to", "group_id")
                if (value := getattr(message, name)) is not None
            },
            **{f"property {name}": _typed(value) for name, value in (message.properties or {}).items()},
        }
        if str(message.content_type) != "None":
            rest["content_type"] = str(message.content_type)
        source = (message.address or "").rpartition(".")[2]
        assert message.id or source == "amqp"  # its own messages come as they were sent
        body = message.body
        shown = _shown(bytes(body)) if isinstance(body, bytes | memoryview) else _typed(body)
        return source, _row(shown, rest)

    def send(self, place: str) -> int:
        """Send one message of each kind; returns how many."""
        address = f"{self._kind}://{place}"
        sender = self._connection.create_sender(address)
        full = proton.Message(
            "text ü 🐇",
            creation_time=time.time(),
            durable=True,
            priority=7,
            ttl=600.0,
            correlation_id="correlation",
            subject="kind",
            reply_to="queue://answers",
            group_id="group",
            group_sequence=3,
            properties={
                "my-header": "a:b",
                "number": proton.int32(5),
                "long": 6,
                "float": proton.float32(0.5),
                "double": 6.5,
                "flag": True,
            },
        )
        messages = [
            full,
            proton.Message(b"\0\1\xff", inferred=True),
            proton.Message({"name": "value", "number": proton.int32(5)}),
            proton.Message([proton.int32(1), "two"]),
            proton.Message(None),
        ]
        for message in messages:
            message.address = address
            sender.send(message)
        return len(messages)

    def close(self) -> None:
        """Go."""
        self._connection.close()


def _row(body: str, rest: dict[str, str]) -> str:
    """A message in one line, in the form of the Java program's."""
    return " | ".join([body, *(f"{name}={value}" for name, value in sorted(rest.items()) if value)])


def _typed(value: object) -> str:
    """A value and its type, as AMQP's client has it."""
    if isinstance(value, dict):
        return str({key: _typed(each) for key, each in value.items()})
    if isinstance(value, list):
        return str([_typed(each) for each in value])
    return f"{value}:{type(value).__name__}"


def _shown(data: bytes) -> str:
    """Bytes as text if they are, otherwise hexadecimal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.hex()
    return text if text.isprintable() else data.hex()
