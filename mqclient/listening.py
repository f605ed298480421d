"""The thread of a session that calls message listeners."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from broker.openwire.constants import AckType
from mqclient.errors import ClientError
from mqclient.modes import AcknowledgeMode

if TYPE_CHECKING:
    from mqclient.consumer import MessageConsumer
    from mqclient.delivery import Delivery
    from mqclient.session import Session

LOG = logging.getLogger("mqclient.listener")

JOIN_TIMEOUT_S = 5.0
"""How long closing a session waits for a listener that is still at work."""


class ListenerThread:
    """Delivers the messages of all consumers of a session that have a listener, one at a time."""

    def __init__(self, session: Session, consumers: Callable[[], Sequence[MessageConsumer]]) -> None:
        self._session = session
        self._consumers = consumers
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, name=f"listener {session.session_id.value}", daemon=True
        )

    def start(self) -> None:
        """Start to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more; waits for the listener that is at work, unless it is the one that calls."""
        with self._session.connection.link.lock:
            self._stopping = True
            self._session.arrived.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        lock = self._session.connection.link.lock
        while True:
            with lock:
                found = self._wait()
            if found is None:
                return
            consumer, delivery = found
            try:
                self._deliver(consumer, delivery)
            except ClientError as error:
                LOG.debug("delivery ended: %s", error)
                return

    def _wait(self) -> tuple[MessageConsumer, Delivery] | None:
        while not self._stopping and not self._session.closed:
            if self._session.connection.link.transport.error is not None:
                return None
            moments = []
            for consumer in self._consumers():
                if consumer.listener is None:
                    continue
                delivery = consumer.next_delivery()
                if delivery is not None:
                    return consumer, delivery
                ready_s = consumer.ready_s()
                if ready_s is not None and self._session.connection.started:
                    moments.append(max(0.0, ready_s - time.monotonic()))
            self._session.idle()
            self._session.arrived.wait(min(moments, default=None))
        return None

    def _deliver(self, consumer: MessageConsumer, delivery: Delivery) -> None:
        session, lock = self._session, self._session.connection.link.lock
        listener = consumer.listener
        automatic = session.acknowledge_mode in (AcknowledgeMode.AUTO, AcknowledgeMode.DUPS_OK)
        with lock:
            message = consumer.deliver(delivery)
            if message is None or listener is None:
                return
            if automatic:
                session.hold(delivery)
            else:
                session.delivered(delivery)
        try:
            listener(message)
        except Exception:  # whatever the program's listener raises means: deliver it again
            LOG.exception("the listener of %s failed", consumer.destination)
            if automatic:
                session.recover()
            return
        if automatic:
            with lock:
                if session.holds(delivery):
                    session.acknowledge([delivery], AckType.STANDARD)
