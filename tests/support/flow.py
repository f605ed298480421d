"""Messages that flow through a fabric while something else is done to it."""

import contextlib
import threading
import time
from collections.abc import Iterator

from support.fabric import FabricForTests
from support.waiting import wait_until

from mqclient import ConnectionFactory, TextMessage

SEND_PAUSE_S = 0.01
LOST_S = 60.0
"""After how long without any message the rest counts as lost."""


class Flow:
    """A producer and a consumer that find their broker through the registry, and each message's fate."""

    def __init__(self, fabric: FabricForTests) -> None:
        address = fabric.home.read_registry_address()
        self._factory = ConnectionFactory(
            "discovery:(fabric:default)",
            "admin",
            "admin",
            zookeeper_url=address.zookeeper_url,
            zookeeper_password=address.zookeeper_password,
            zookeeper_channel=address.channel,
        )
        self._end = threading.Event()
        self.sent_s: dict[int, float] = {}
        self.received_s: dict[int, float] = {}
        self._threads = [threading.Thread(target=call) for call in (self._send, self._receive)]

    def _send(self) -> None:
        with self._factory.create_connection() as connection:
            producer = connection.create_session().create_producer("queue://flow")
            number = 0
            while not self._end.is_set():
                self.sent_s[number] = time.monotonic()
                producer.send(TextMessage(text=str(number)))
                number += 1
                self._end.wait(SEND_PAUSE_S)

    def _receive(self) -> None:
        with self._factory.create_connection() as connection:
            connection.start()
            consumer = connection.create_session().create_consumer("queue://flow")
            latest_s = time.monotonic()
            while not self._end.is_set() or len(self.received_s) < len(self.sent_s):
                message = consumer.receive(0.2)  # the last one may be here before its sender has ended
                now_s = time.monotonic()
                if isinstance(message, TextMessage):
                    self.received_s[int(message.text or "")] = latest_s = now_s
                elif now_s - latest_s > LOST_S:
                    break

    @property
    def delay_s(self) -> float:
        """The longest time from before a send to its receipt."""
        return max(self.received_s[number] - sent_s for number, sent_s in self.sent_s.items())

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """Send and receive meanwhile; at the end, wait for the last message."""
        for thread in self._threads:
            thread.start()
        try:
            wait_until(lambda: len(self.received_s) > 20, 60)
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join(LOST_S + 30)
