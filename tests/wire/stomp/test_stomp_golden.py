r"""Dialogues with Apache's broker, held again with ours.

`apache-5.17.2.tsv` holds what clients said and what Apache ActiveMQ 5.17.2 answered (Debian's
libactivemq-java 5.17.2+dfsg-2+deb12u1, OpenJDK 17, its defaults and KahaDB), recorded from its socket: the
dialogue, `C` or `S` with the connection's number, and the frame, escaped as Python does it. In the broker's
frames the headers are sorted, the zero byte and the bodies of errors are left out, and what no two brokers
have in common is replaced: `ID` for a message-id, `A` for an ack, `T` for a timestamp, `S` for a session,
`V` for a server, `X` for the name of a temporary destination. In a client's frame `{ack}`, `{message-id}` and
`{temp}` are what it was told last, and `CLOSE` is the end of its connection.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stomp_client import Broker

from broker.stomp.server import StompServer

GOLDEN = Path(__file__).with_name("apache-5.17.2.tsv")
REPLACED = {"message-id": "ID", "timestamp": "T", "ack": "A", "session": "S", "server": "V"}

#: What ours says where Apache's says something else: (dialogue, what Apache's says, what ours does).
DIFFERENT = (
    # Consumers are told of groups, which Apache's tells only JMS's clients of.
    (
        "messages",
        rb"^MESSAGE\n(?=(.*\n)+x:y\n)",
        b"MESSAGE\nJMSXGroupFirstForConsumer:true\nJMSXGroupID:g\nJMSXGroupSeq:3\n",
    ),
    # A dead letter says why it is one.
    (
        "nack",
        rb"(?=expires:.*\n(.*\n)*originalExpiration:)",
        b"dlqDeliveryFailureCause:NACK of a STOMP client\n",
    ),
    # The id that is unknown is told.
    ("mistake 4 1.2", rb"\[null\]", b"[zz]"),
    # The specifications want this header.
    ("versions", rb"\n\n$", b"\nversion:1.0,1.1,1.2\n\n"),
    # Who checks passwords in these tests has other words.
    ("refused", rb"User name.*", b"Not with this password."),
)

Step = tuple[str, bytes]


def dialogues() -> dict[str, list[Step]]:
    """The steps of each dialogue, in order."""
    found: dict[str, list[Step]] = {}
    for line in GOLDEN.read_text("ascii").splitlines():
        name, who, frame = line.split("\t")
        found.setdefault(name, []).append((who, frame.encode().decode("unicode_escape").encode("latin-1")))
    return found


def normalised(data: bytes, seen: dict[str, str]) -> Iterator[bytes]:
    """A broker's frames as the file has them.

    Args:
        data: whole frames.
        seen: gets what the client may need for its next frames.
    """
    while data := data.lstrip(b"\n"):
        head, end, rest = data.partition(b"\n\n")
        assert end, data
        length = re.search(rb"\ncontent-length:(\d+)", head)
        size = int(length[1]) if length else rest.index(b"\0")
        body, data = rest[:size], rest[size + 1 :]
        command, *lines = head.decode().split("\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            if name in REPLACED and value != "0":
                seen[name], value = value, REPLACED[name]
            temporary = re.fullmatch(r"/remote-temp-(queue|topic)/.*", value)
            if temporary:
                seen["temp"], value = value, f"/remote-temp-{temporary[1]}/X"
            headers.append(f"{name}:{value}\n")
        head = "".join([f"{command}\n", *sorted(headers), "\n"]).encode()
        yield head if command == "ERROR" else head + body


def filled(frame: bytes, seen: dict[str, str]) -> bytes:
    """A client's frame with what it was told."""
    return re.sub(rb"\{([a-z-]+)\}", lambda match: seen[match[1].decode()].encode(), frame)


def held(steps: list[Step]) -> Iterator[tuple[Step, list[Step]]]:
    """Hold a dialogue with our broker: each of the clients' frames, and what was answered to it."""
    broker = Broker()
    servers: dict[str, StompServer] = {}
    seen: dict[str, str] = {}
    store = broker.region.store
    for who, frame in steps:
        server = servers.setdefault(who[1:], broker.server()) if who[1:] not in servers else servers[who[1:]]
        if frame == b"CLOSE":
            server.connection_lost("")
            del servers[who[1:]]
        else:
            server.receive_data(filled(frame, seen), 0.0)
        told: list[Step] = []
        for _ in range(3):
            store.durable_batch = len(store.batches)
            broker.region.durable(store.durable_batch)
            for each in servers.values():
                each.durable(store.durable_batch)
            broker.region.dispatch()
            for name, each in servers.items():
                told += [(f"S{name}", answer) for answer in normalised(each.data_to_send(), seen)]
        yield (who, frame), told


def ours(name: str, frame: bytes) -> bytes:
    """What our broker says where Apache's said this."""
    for dialogue, pattern, replacement in DIFFERENT:
        if name.startswith(dialogue):
            frame = re.sub(pattern, replacement, frame, count=1)
    return frame


@pytest.mark.parametrize("name", list(dialogues()))
def test_dialogue(name: str) -> None:
    """Our broker answers as Apache's did."""
    steps = dialogues()[name]
    expected: list[tuple[Step, list[Step]]] = []
    for is_client, group in itertools.groupby(steps, lambda step: step[0].startswith("C")):
        if is_client:
            expected += [(step, []) for step in group]
        else:
            expected[-1][1].extend(group)
    for (step, told), (_, answers) in zip(held([step for step, _ in expected]), expected, strict=True):
        wanted = [(who, ours(name, frame)) for who, frame in answers]
        assert sorted(told) == sorted(wanted), f"after {step}"
