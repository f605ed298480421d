"""Server-sent events: tells open pages and programs what has changed, not how; they ask for that.

Source: WHATWG HTML, server-sent events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Protocol

from fabric.web.errors import Refused

if TYPE_CHECKING:
    from fabric.reactor import DelayedCall, Reactor

log = logging.getLogger(__name__)

TOGETHER_S: Final = 0.1
"""Changes within it are told once."""
ALIVE_S: Final = 15.0
"""How often a silent stream says that it is there: proxies give up after 30 s or more."""
STREAMS_MAX: Final = 500
"""Open at a time."""
SLOW_S_MAX: Final = 60.0
"""A client that has taken nothing for so long is dropped; it connects again by itself."""


class Listener(Protocol):
    """Who reads a stream."""

    def tell(self, topics: Collection[str]) -> None:
        """Say what has changed; later, all at once, if he takes nothing now."""

    def say_alive(self) -> None:
        """Say that the stream is there."""

    def end(self) -> None:
        """Close the stream."""

    def may_go_on(self) -> bool:
        """Whether he is still logged in, and takes what is sent."""


class EventHub:
    """Who listens to what. Lives in the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._listeners: dict[Listener, frozenset[str]] = {}
        self._changed: set[str] = set()
        self._flush: DelayedCall | None = None
        self._alive: DelayedCall | None = None
        self.on_topics: Callable[[], None] = lambda: None

    @property
    def topics(self) -> frozenset[str]:
        """Everything somebody listens to."""
        return frozenset().union(*self._listeners.values())

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    def add(self, listener: Listener, topics: frozenset[str]) -> None:
        """Begin a stream. Raises `Refused` if there are too many."""
        if len(self._listeners) >= STREAMS_MAX:
            raise Refused(503, f"{STREAMS_MAX} event streams are open.", "Close pages that nobody looks at.")
        self._listeners[listener] = topics
        if self._alive is None:
            self._alive = self._reactor.callLater(ALIVE_S, self._say_alive)
        self.on_topics()

    def remove(self, listener: Listener) -> None:
        """A stream has ended."""
        if self._listeners.pop(listener, None) is not None:
            self.on_topics()

    def publish(self, topic: str) -> None:
        """Something about a topic has changed."""
        self._changed.add(topic)
        if self._flush is None:
            self._flush = self._reactor.callLater(TOGETHER_S, self._tell)

    def close(self) -> None:
        """End all streams."""
        for call in (self._flush, self._alive):
            if call is not None and call.active():
                call.cancel()
        self._flush = self._alive = None
        for listener in list(self._listeners):
            listener.end()
        self._listeners.clear()

    def end_unwelcome(self) -> None:
        """End the streams of those who are no longer logged in."""
        for listener in list(self._listeners):
            if not listener.may_go_on():
                self.remove(listener)
                listener.end()

    def _tell(self) -> None:
        changed, self._changed, self._flush = self._changed, set(), None
        for listener, topics in list(self._listeners.items()):
            told = changed & topics
            if told:
                listener.tell(told)

    def _say_alive(self) -> None:
        self._alive = None
        self.end_unwelcome()
        for listener in list(self._listeners):
            listener.say_alive()
        if self._listeners:
            self._alive = self._reactor.callLater(ALIVE_S, self._say_alive)
