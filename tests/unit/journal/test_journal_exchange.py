"""The lines of an export: every line that is wrong is named, and a cut is noticed wherever it is."""

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.journal_stores import fill

from journal.errors import ExportInvalid
from journal.exchange import ExportReader, encode_line
from journal.export import export_files
from journal.files import PosixFiles

Lines = list[dict[str, Any]]


def written(lines: Lines) -> bytes:
    """An export of some lines, with counts and checksum that fit."""
    counts = {f"{kind}s": 0 for kind in ("destination", "subscription", "producer", "message")}
    for each in lines:
        counts[f"{each['type']}s"] = counts.get(f"{each['type']}s", 0) + 1
    head = {"type": "export", "version": 1, "format": 1, "next_ref": 9, "filter": [], **counts}
    data = b"".join(json.dumps(each).encode() + b"\n" for each in (head, *lines))
    end = {"type": "end", "messages": counts["messages"], "body_bytes": 0, "damaged": 0, "gone": 0}
    return data + json.dumps({**end, "sha256": hashlib.sha256(data).hexdigest()}).encode() + b"\n"


def problem(export: bytes) -> str:
    """What is wrong with an export."""
    with pytest.raises(ExportInvalid) as caught:
        list(ExportReader(io.BytesIO(export)).messages())
    return str(caught.value)


def queue(name: str = "queue://a") -> dict[str, Any]:
    """A destination."""
    return {"type": "destination", "name": name}


def message(ref: int = 1, **fields: Any) -> dict[str, Any]:
    """A message."""
    return {"type": "message", "ref": ref, "destination": "queue://a", "body": "eA==", **fields}


def subscription(destination: str = "topic://t", **fields: Any) -> dict[str, Any]:
    """A durable subscription."""
    texts = {"client_id": "c", "name": "s", "destination": destination, "selector": "", "no_local": False}
    return {"type": "subscription", **texts, **fields}


def producer(**fields: Any) -> dict[str, Any]:
    """A producer."""
    return {"type": "producer", "id": "p", "sequence": 3, **fields}


def test_a_whole_export_is_read() -> None:
    """Fields of later versions are ignored; what is known is kept."""
    lines = [
        queue(),
        queue("topic://t"),
        subscription(later="x"),
        producer(),
        message(1, later=[1]),
        message(2, destination="topic://t", pending=[0]),
    ]
    reader = ExportReader(io.BytesIO(written(lines)))
    messages = list(reader.messages())
    assert [(each.ref, each.body, each.pending) for each in messages] == [(1, b"x", ()), (2, b"x", (0,))]
    assert reader.contents.producers == {"p": 3}
    assert reader.contents.lowest_ref == 1


TOPIC_MESSAGE = message(destination="topic://t")
DELIVERY = {"counter": 1, "not_before_ms": 0}
LINES = [
    ([queue(), queue()], "line 3: queue://a stands here twice"),
    ([queue("")], "line 2: the destination has no name"),
    ([message()], "line 2: no line before says that there is a destination queue://a"),
    ([queue(), message(2), message(2)], "line 4: the numbers of messages do not ascend: 2 after 2"),
    ([queue(), message(0)], "line 3: `ref` is out of range: 0"),
    ([queue(), message(True)], "line 3: `ref` is missing or has the wrong type"),
    ([queue(), message(body="ä")], "line 3: `body` is no base64"),
    ([queue(), message(body="eA")], "line 3: `body` is no base64"),
    ([queue(), message(body=None)], "line 3: `body` is missing or has the wrong type"),
    ([queue(), message(pending=[0])], "line 3: only messages of topics are pending"),
    ([queue("topic://t"), TOPIC_MESSAGE], "line 3: `pending` is missing or has the wrong type"),
    ([queue("topic://t"), {**TOPIC_MESSAGE, "pending": []}], "line 3: `pending` is not an ascending list"),
    ([queue("topic://t"), {**TOPIC_MESSAGE, "pending": [0]}], "line 3: no subscription 0 receives"),
    (
        [queue("topic://t"), subscription("topic://else"), {**TOPIC_MESSAGE, "pending": [0]}],
        "line 4: no subscription 0 receives",
    ),
    ([queue(), message(redelivered=1)], "line 3: `redelivered` is missing or has the wrong type"),
    ([queue(), message(redelivered=[1])], "line 3: `redelivered` is not a list of objects"),
    ([queue(), message(redelivered=[{"counter": 0}])], "line 3: `counter` is out of range: 0"),
    ([queue(), message(redelivered=[DELIVERY, DELIVERY])], "line 3: `redelivered` speaks twice of the same"),
    (
        [queue("topic://t"), subscription(), {**TOPIC_MESSAGE, "pending": [0], "redelivered": [DELIVERY]}],
        "line 4: `subscription` is missing or has the wrong type",
    ),
    (
        [
            queue("topic://t"),
            subscription(),
            {**TOPIC_MESSAGE, "pending": [0], "redelivered": [{**DELIVERY, "subscription": 1}]},
        ],
        "line 4: the message does not wait for the subscription 1",
    ),
    ([subscription(), subscription()], "line 3: the subscription s of client c stands here twice"),
    ([subscription(no_local=1)], "line 2: `no_local` is missing or has the wrong type"),
    ([producer(), producer()], "line 3: p stands here twice"),
    ([producer(id="")], "line 2: the producer has no id"),
    ([producer(sequence=1 << 63)], "line 2: `sequence` is out of range"),
    ([queue("q" * 65_536)], "line 2: `name` has more than 65535 bytes"),
    ([producer(), queue()], "line 3: a line of type 'destination' does not belong here"),
    ([{"type": "export"}], "line 2: a line of type 'export' does not belong here"),
    ([{"type": "unknown"}], "line 2: a line of type 'unknown' does not belong here"),
]


@pytest.mark.parametrize(("lines", "expected"), LINES)
def test_a_wrong_line_is_named(lines: Lines, expected: str) -> None:
    """Whatever is wrong with a line, its number and the reason are told."""
    assert problem(written(lines)).startswith(expected)


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        (b"", "line 1: the export is cut off here"),
        (b"hello\n", "line 1: this is no export of a journal"),
        (b"\x1f\x8b\x08\x00\n", "line 1: this is no export of a journal; if it is compressed"),
        (b"[" * 100_000 + b"\n", "line 1: this is no export of a journal"),
        (b'{"type":"end"}\n', "line 1: a line of type 'end' does not belong here"),
        (b'{"type":"export","version":3}\n', "line 1: the export has version 3, this software knows 2"),
        (written([queue()]) + b"x", "line 4: something follows the end"),
        (written([queue()]).replace(b"queue://a", b"queue://b"), "line 3: the export was changed or damaged"),
    ],
)
def test_what_is_no_export_is_said_so(export: bytes, expected: str) -> None:
    """Other files, newer versions, changed bytes and additions are noticed."""
    assert problem(export).startswith(expected)


def test_counts_are_compared() -> None:
    """An export that announces more than it holds is not whole."""
    lines = written([queue(), message()]).splitlines(keepends=True)
    head = json.loads(lines[0]) | {"messages": 2}
    data = json.dumps(head).encode() + b"\n" + b"".join(lines[1:-1])
    end = json.loads(lines[-1]) | {"sha256": hashlib.sha256(data).hexdigest()}
    export = data + json.dumps(end).encode() + b"\n"
    assert problem(export) == "line 4: the export has 1 messages where 2 are announced"


def test_a_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    """An export that ends too early, by a byte or by many lines, is never taken for a whole one."""
    fill(tmp_path / "store")
    stream = io.BytesIO()
    export_files(PosixFiles(tmp_path / "store"), "store", stream)
    export = stream.getvalue()
    for length in [*range(0, len(export), 97), len(export) - 1]:
        assert "line " in problem(export[:length])
    whole = export.splitlines(keepends=True)
    for count in range(len(whole)):
        assert "cut off" in problem(b"".join(whole[:count]))


@given(st.binary(max_size=300), st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_changed_bytes_are_noticed(body: bytes, at: int, byte: int) -> None:
    """No changed byte of an export is taken for what it was, and nothing but `ExportInvalid` is raised."""
    export = written([queue(), message(body=base64.b64encode(body).decode())])
    at %= len(export)
    changed = export[:at] + bytes([byte]) + export[at + 1 :]
    try:
        messages = list(ExportReader(io.BytesIO(changed)).messages())
    except ExportInvalid:
        return
    assert [each.body for each in messages] == [body]


def test_every_text_can_be_written() -> None:
    """Names from Java's clients may hold lone surrogates, and bodies any bytes."""
    line = encode_line("message", destination="queue://\ud800ü\n", body=bytes(range(256)))
    fields = json.loads(line)
    assert fields["destination"] == "queue://\ud800ü\n"
    assert base64.b64decode(fields["body"]) == bytes(range(256))
    assert line.count(b"\n") == 1
