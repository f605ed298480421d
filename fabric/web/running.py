"""One command in a process of its own, whose output goes to a client as it comes.

What is sent is a line of JSON each: `{"out": "text"}`, `{"err": "text"}`, `{}` now and then while there is
nothing, and at the end `{"exit": 0}`.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fabric.reactor import DelayedCall, Reactor

TIME_S_MAX: Final = 3_600.0
"""A command is ended then: who watches something for longer asks again."""
OUTPUT_BYTES_MAX: Final = 64 * 1024 * 1024
ALIVE_S: Final = 10.0
"""How often a silent command says that it is there."""
KILL_AFTER_S: Final = 5.0
"""A command that does not end when it is asked to is killed after so long."""
LINE_CHARACTERS_MAX: Final = 64 * 1024
"""A line that is to be cleaned of secrets is cut after so many."""
MODULE: Final = "fabric.cli.served"


class Sink(Protocol):
    """Where the output goes: a request."""

    def write(self, data: bytes) -> Any:  # noqa: ANN401 - Twisted's
        """Send."""

    def registerProducer(self, producer: Any, streaming: bool) -> Any:  # noqa: ANN401, N802 - Twisted's
        """Say who is to be held up if the client reads slowly."""

    def unregisterProducer(self) -> Any:  # noqa: ANN401, N802 - Twisted's
        """Nobody any more."""


@implementer(IPushProducer)
class RunningCommand(ProcessProtocol):
    """A command that runs.

    Attributes:
        ended: fires when it has ended and all is sent.
        gone: fires when its process is gone, whether anybody waits for it or not.

    Args:
        reactor: starts and ends it.
        sink: gets what it says.
        clean: makes a text fit to be shown, line by line; None: it is sent as it comes.
    """

    def __init__(self, reactor: Reactor, sink: Sink, clean: Callable[[str], str] | None) -> None:
        self._reactor = reactor
        self._sink: Sink | None = sink
        self._clean = clean
        self._texts = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("out", "err")}
        self._lines = {"out": "", "err": ""}
        self._sent_bytes = 0
        self._calls: dict[str, DelayedCall] = {}
        self._has_ended = False
        self.ended: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        asker: Mapping[str, str] | None = None,
    ) -> None:
        """Begin; `asker` is who the audit log says has asked for it."""
        assert self._sink is not None
        self._sink.registerProducer(self, True)
        self._send({})
        arguments = [sys.executable, "-m", MODULE]
        spawn = cast("Any", self._reactor).spawnProcess
        spawn(self, sys.executable, arguments, env=dict(environment), path=folder)
        cast("Any", self.transport).write(msgspec.json.encode({"argv": list(argv), "asker": asker}) + b"\n")
        cast("Any", self.transport).closeStdin()
        self._calls["alive"] = self._reactor.callLater(ALIVE_S, self._say_alive)
        self._calls["time"] = self._reactor.callLater(
            TIME_S_MAX, self._give_up, f"It was ended after {TIME_S_MAX:.0f} s."
        )

    def stop(self) -> None:
        """End it: as Ctrl-C does, after a while by force."""
        if not self._has_ended and "kill" not in self._calls:
            self._signal("INT")
            self._calls["kill"] = self._reactor.callLater(KILL_AFTER_S, self._signal, "KILL")

    def leave(self) -> None:
        """Nobody waits for it any more: end it."""
        self._sink = None
        self.stop()

    # ---- what the process does

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """It has printed something."""
        self._received("out", data)

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """It has printed something beside."""
        self._received("err", data)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """It has ended."""
        self._has_ended = True
        for call in self._calls.values():
            if call.active():
                call.cancel()
        for name in ("out", "err"):
            self._say(name, self._texts[name].decode(b"", final=True), whole=True)
        code = getattr(reason.value, "exitCode", None)
        self._send({"exit": 1 if code is None else code})
        if self._sink is not None:
            self._sink.unregisterProducer()
        self.gone.callback(None)
        if not self.ended.called:
            self.ended.callback(None)

    def _received(self, name: str, data: bytes) -> None:
        self._sent_bytes += len(data)
        if self._sent_bytes > OUTPUT_BYTES_MAX:
            self._give_up(f"It was ended: it has printed more than {OUTPUT_BYTES_MAX} bytes.")
        elif "kill" not in self._calls:
            self._say(name, self._texts[name].decode(data), whole=False)

    def _say(self, name: str, text: str, *, whole: bool) -> None:
        if self._clean is not None:
            text = self._lines[name] + text
            end = len(text) if whole or len(text) > LINE_CHARACTERS_MAX else text.rfind("\n") + 1
            text, self._lines[name] = self._clean(text[:end]), text[end:]
        if text:
            self._send({name: text})

    def _send(self, line: Mapping[str, object]) -> None:
        if self._sink is not None:
            self._sink.write(msgspec.json.encode(line) + b"\n")

    def _say_alive(self) -> None:
        self._send({})
        self._calls["alive"] = self._reactor.callLater(ALIVE_S, self._say_alive)

    def _give_up(self, why: str) -> None:
        if "kill" not in self._calls:
            self._send({"err": f"{why}\n"})
            self.stop()

    def _signal(self, name: str) -> None:
        try:
            cast("Any", self.transport).signalProcess(name)
        except Exception as error:  # noqa: BLE001 - Twisted's ProcessExitedAlready: then there is nothing to do
            del error

    # ---- what the connection asks for

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The client reads too slowly: let the process wait."""
        cast("Any", self.transport).pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The client has read."""
        cast("Any", self.transport).resumeProducing()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The client has gone."""
        self.leave()
