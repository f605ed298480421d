"""A client of the STOMP server without sockets: it says frames and keeps what it is told.

Its reader and writer of frames are its own, so that they do not share the mistakes of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.memory_broker import MemoryBroker

from broker.stomp.server import StompServer

QUEUE = "/queue/workshop.test"
TOPIC = "/topic/prices"


@dataclass
class Frame:
    """One frame that the broker said."""

    command: str
    headers: dict[str, str]
    body: bytes


def written(command: str, headers: dict[str, str], body: bytes = b"", version: str = "1.2") -> bytes:
    """A frame's bytes."""
    text = "".join(
        f"{_escaped(name, version)}:{_escaped(value, version)}\n" for name, value in headers.items()
    )
    return command.encode() + b"\n" + text.encode("utf-8") + b"\n" + body + b"\0"


def _escaped(text: str, version: str) -> str:
    if version == "1.0":
        return text
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace(":", "\\c")
    return text.replace("\r", "\\r") if version == "1.2" else text


def _named(name: str) -> str:
    return name if name.isupper() else name.replace("_", "-")


def _unescaped(text: str, version: str) -> str:
    if version == "1.0":
        return text
    assert ":" not in text, f"a colon in {text!r}"
    meanings = {"n": "\n", "c": ":", "\\": "\\", **({"r": "\r"} if version == "1.2" else {})}
    return re.sub(r"\\(.)", lambda match: meanings[match[1]], text, flags=re.DOTALL)


def read_frames(data: bytes, version: str = "1.2") -> list[Frame]:
    """All frames in some bytes, which must be whole."""
    frames = []
    while data := data.lstrip(b"\n"):
        head, end, rest = data.partition(b"\n\n")
        assert end, f"a frame without end: {data!r}"
        command, *lines = head.decode("utf-8").split("\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"no header: {line!r}"
            if command != "CONNECTED":
                name, value = _unescaped(name, version), _unescaped(value, version)
            headers.setdefault(name, value)
        if "content-length" in headers:
            length = int(headers["content-length"])
            body, rest = rest[:length], rest[length:]
            assert rest[:1] == b"\0", f"no zero byte behind the body of {head!r}"
            rest = rest[1:]
        else:
            body, end, rest = rest.partition(b"\0")
            assert end, f"no zero byte behind the body of {head!r}"
        frames.append(Frame(command, headers, body))
        data = rest
    return frames


class Broker(MemoryBroker[StompServer, "Client"]):
    """The broker of these clients."""

    connector = "stomp"
    make = StompServer
    broker_id = "ID:broker-1-2-0:1"


class Client:
    """One connection.

    Attributes:
        told: everything the broker said that has not been taken, oldest first.
    """

    def __init__(self, broker: Broker, version: str = "1.2", *, login: bool = True, **headers: str) -> None:
        self.broker = broker
        self.version = version
        self.server = broker.server()
        self.told: list[Frame] = []
        self.connected: dict[str, str] = {}
        self._receipts = 0
        broker.clients.append(self)
        if login:
            self.connect(**headers)
            frame = self.told.pop()
            assert frame.command == "CONNECTED", frame
            self.connected = frame.headers

    def connect(self, command: str = "CONNECT", **headers: str) -> None:
        """Log in."""
        given = {"login": "admin", "passcode": "admin", "accept-version": self.version, "host": "x"}
        if self.version == "1.0":
            del given["accept-version"], given["host"]
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.give(written(command, given, version="1.0"))

    def give(self, data: bytes) -> None:
        """Send bytes, and read."""
        self.server.receive_data(data, 0.0)
        self.read()

    def say(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a frame; `_` in a name stands for `-`, but in names of capitals."""
        self.frame(command, {_named(name): value for name, value in headers.items()}, body)

    def frame(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Send a frame."""
        self.give(written(command, headers, body, self.version))

    def read(self) -> None:
        """Take what the broker has to say."""
        self.told += read_frames(self.server.data_to_send(), self.version)

    def take(self, command: str) -> list[Frame]:
        """Take all frames of one kind."""
        taken = [frame for frame in self.told if frame.command == command]
        self.told = [frame for frame in self.told if frame.command != command]
        return taken

    def messages(self) -> list[Frame]:
        """Take the messages."""
        return self.take("MESSAGE")

    def bodies(self) -> list[bytes]:
        """Take the messages' bodies."""
        return [frame.body for frame in self.messages()]

    def receipts(self) -> list[str]:
        """Take the ids of the receipts."""
        return [frame.headers["receipt-id"] for frame in self.take("RECEIPT")]

    def error(self) -> str:
        """Take the message of the error that ended the connection."""
        frames = self.take("ERROR")
        assert len(frames) == 1, self.told
        assert self.server.closing
        return frames[0].headers["message"]

    # ---- what clients do

    def send(self, body: bytes | str = b"hello", destination: str = QUEUE, **headers: str) -> None:
        """Send a message; text without, bytes with content-length."""
        data = body.encode() if isinstance(body, str) else body
        if isinstance(body, bytes):
            headers["content_length"] = str(len(data))
        self.say("SEND", data, destination=destination, **headers)

    def subscribe(self, destination: str = QUEUE, id: str = "1", **headers: str) -> None:
        """Subscribe; names with a dot come in `more`."""
        self.say("SUBSCRIBE", destination=destination, id=id, **headers)

    def request(self, command: str, /, **headers: str) -> None:
        """Send a frame and take its receipt, once the journal is done."""
        self._receipts += 1
        self.say(command, receipt=f"r{self._receipts}", **headers)
        self.broker.settle()
        assert self.receipts() == [f"r{self._receipts}"], self.told

    def ack(self, frame: Frame, command: str = "ACK", **headers: str) -> None:
        """Acknowledge a message."""
        if self.version == "1.2":
            self.say(command, id=frame.headers["ack"], **headers)
            return
        named = {"message_id": frame.headers["message-id"]}
        if self.version == "1.1":
            named["subscription"] = frame.headers["subscription"]
        self.say(command, **named, **headers)
