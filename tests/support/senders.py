"""Clients that send numbers through a takeover, each with its own library's reconnecting."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import paho.mqtt.client as paho
import stomp
from paho.mqtt.enums import CallbackAPIVersion
from proton import Event, Message, SSLDomain
from proton.handlers import MessagingHandler
from support.waiting import wait_until

from mqclient import TextMessage

WAIT_S = 60.0


class Sender(ABC):
    """Sends numbers, each until it is confirmed, until it is told to stop."""

    place = ""
    """The queue that the numbers end in, for `drained`."""

    def __init__(self) -> None:
        self.confirmed: list[int] = []
        self.thread = threading.Thread(target=self._run)
        self._stopping = threading.Event()

    def _run(self) -> None:
        self.connect()
        number = 0
        while not self._stopping.is_set():
            if self.send(number):
                self.confirmed.append(number)
                number += 1
        self.close()

    def stop(self) -> None:
        """No further number."""
        self._stopping.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()

    @abstractmethod
    def connect(self) -> None:
        """Log in."""

    @abstractmethod
    def send(self, number: int) -> bool:
        """Try it once; whether it is confirmed."""

    @abstractmethod
    def close(self) -> None:
        """Leave."""


class MqttSender(Sender):
    """Eclipse Paho, which sends what was not confirmed again by itself."""

    def __init__(self, name: str, host: str, port: int, tls: Any = None) -> None:
        super().__init__()
        self.place = f"queue://Consumer.{name}.VirtualTopic.mqtt"
        self._name = name
        self._at = host, port
        self._tls = tls

    def connect(self) -> None:
        """See `Sender`."""
        self._client = paho.Client(CallbackAPIVersion.VERSION2, self._name, clean_session=False)
        if self._tls is not None:
            self._client.tls_set_context(self._tls)
        self._client.username_pw_set("admin", "admin")
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(*self._at)
        self._client.loop_start()

    def send(self, number: int) -> bool:
        """See `Sender`."""
        told = self._client.publish("VirtualTopic/mqtt", str(number), qos=1)
        told.wait_for_publish(WAIT_S)
        return told.is_published()

    def close(self) -> None:
        """See `Sender`."""
        self._client.disconnect()
        self._client.loop_stop()


class StompSender(Sender, stomp.ConnectionListener):
    """stomp.py: what got no receipt is sent again over another connection."""

    place = "queue://interop.stomp"

    def __init__(self, port: int) -> None:
        super().__init__()
        self._connection = stomp.Connection12([("127.0.0.1", port)], reconnect_attempts_max=1)
        self._connection.set_listener("", self)
        self._receipts: set[str] = set()
        self._ends = 0

    def on_receipt(self, frame: Any) -> None:
        """The broker has it."""
        self._receipts.add(frame.headers["receipt-id"])

    def on_disconnected(self) -> None:
        """The connection has ended."""
        self._ends += 1

    def connect(self) -> None:
        """See `Sender`."""
        self._connection.connect("admin", "admin", wait=True)

    def send(self, number: int) -> bool:
        """See `Sender`."""
        try:
            if not self._connection.is_connected():
                self.connect()
            receipt = f"{number}-{self._ends}"
            place = f"/queue/{self.place.removeprefix('queue://')}"
            self._connection.send(place, f"{number}", headers={"persistent": "true"}, receipt=receipt)
            wait_until(lambda: receipt in self._receipts or not self._connection.is_connected(), WAIT_S)
        except (stomp.exception.StompException, OSError):
            return False
        return receipt in self._receipts

    def close(self) -> None:
        """See `Sender`."""
        self._connection.disconnect()


def drained(connection: Any, place: str, last: int) -> set[int]:
    """The numbers in a queue, up to the last."""
    consumer = connection.create_session().create_consumer(place)
    numbers: set[int] = set()
    while last not in numbers:
        message = consumer.receive(20.0)
        assert message is not None, f"{place}: {last} is not among {sorted(numbers)[-5:]}"
        text = message.text if isinstance(message, TextMessage) else message.data.decode()
        numbers.add(int(text))
    return numbers


class Sending(MessagingHandler):
    """Sends numbers, again until they are accepted, to whichever broker serves."""

    def __init__(self, urls: list[str], count: int, domain: SSLDomain | None = None) -> None:
        super().__init__()
        self._urls = urls
        self._count = count
        self._domain = domain
        self._next = 0
        self._unsettled: dict[str, int] = {}
        self._again: list[int] = []
        self.accepted: set[int] = set()
        self.connections = 0
        self.ends: list[tuple[str, str]] = []

    def on_start(self, event: Event) -> None:
        """Connect, and reconnect for ever."""
        connection = event.container.connect(
            urls=self._urls,
            user="admin",
            password="admin",
            allow_insecure_mechs=True,
            reconnect=[0.1] * 300,
            ssl_domain=self._domain,
        )
        self.sender = event.container.create_sender(connection, "proton.failover")

    def on_connection_opened(self, event: Event) -> None:
        """Once for each broker."""
        self.connections += 1

    def on_sendable(self, event: Event) -> None:
        """Send while there is credit, a few at a time."""
        while event.sender.credit and len(self._unsettled) < 20 and (self._again or self._next < self._count):
            number = self._again.pop() if self._again else self._next
            self._next += number == self._next
            delivery = event.sender.send(Message(number, durable=True))
            self._unsettled[delivery.tag] = number

    def on_accepted(self, event: Event) -> None:
        """One less to do."""
        number = self._unsettled.pop(event.delivery.tag, None)
        if number is not None:
            self.accepted.add(number)
        if len(self.accepted) == self._count:
            event.connection.close()
        else:
            self.on_sendable(event)

    def on_connection_remote_close(self, event: Event) -> None:
        """The broker ends it, and may say why."""
        condition = event.connection.remote_condition
        if condition is not None:
            self.ends.append((condition.name, condition.description))

    def on_disconnected(self, event: Event) -> None:
        """What nobody has answered is sent again."""
        self._again += self._unsettled.values()
        self._unsettled.clear()
