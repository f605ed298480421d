"""Open consoles without browsers: event streams, and for each event the fetches that pages make.

    python -m perf.console_watchers URL PATH COUNT

Prints `ready` when all pages are open, and at the end of its standard input how many parts were fetched.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

USER = "admin"
PASSWORD = "admin"
ANSWER_S = 30.0

_TOPICS = re.compile(r'data-topics="([^"]*)"')
_TAG = re.compile(r"<\w+\s[^>]*hx-get=[^>]*>")
_GET = re.compile(r'hx-get="([^"]*)"')
_LIVE = re.compile(r'hx-trigger="[^"]*?live:(\S+) from:body')
_EVENT = re.compile(rb"^event: (.*?)\r?$", re.MULTILINE)


@dataclass
class Counts:
    """What all pages have done together."""

    events: int = 0
    parts: int = 0
    octets: int = 0
    failed: list[str] = field(default_factory=list)


class Client:
    """Asks one console, a connection kept open for each page."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.cookie = ""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection(self.host, self.port)

    def request(self, path: str, **headers: str) -> bytes:
        """A GET."""
        given = {
            "Host": f"{self.host}:{self.port}",
            "Cookie": self.cookie,
            "Accept-Encoding": "gzip",
            **headers,
        }
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()

    async def log_in(self) -> None:
        """One login for all pages, as of one person."""
        reader, writer = await self.connect()
        body = urlencode({"user": USER, "password": PASSWORD})
        head = f"Host: {self.host}:{self.port}\r\nContent-Type: application/x-www-form-urlencoded"
        writer.write(f"POST /login HTTP/1.1\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        writer.close()
        found = re.search(r"(?i)^set-cookie: ([^;]+)", answer, re.MULTILINE)
        assert found, answer
        self.cookie = found[1]


async def read_body(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer: status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = re.search(r"content-length: (\d+)", head)
    if length:
        return status, await reader.readexactly(int(length[1]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return status, body


class OpenPage:
    """One page that somebody has left open."""

    def __init__(self, client: Client, path: str, counts: Counts) -> None:
        self._client = client
        self._path = path
        self._counts = counts
        self.opened = asyncio.Event()

    async def run(self) -> None:
        """Open it, listen, and fetch what changes, until cancelled."""
        reader, writer = await self._client.connect()
        writer.write(self._client.request(self._path).replace(b"Accept-Encoding: gzip\r\n", b""))
        status, body = await read_body(reader)
        assert status == 200, (status, body[:500])
        topics, parts = parts_of(body.decode(), self._path)
        stream, to_stream = await self._client.connect()
        query = "&".join(f"topic={quote(topic, safe='')}" for topic in topics)
        to_stream.write(self._client.request(f"/api/v1/events?{query}"))
        await stream.readuntil(b"\r\n\r\n")
        self.opened.set()
        while data := await stream.read(65536):
            for topic in _EVENT.findall(data):
                self._counts.events += 1
                for path in parts[topic.decode()]:
                    writer.write(self._client.request(path, HX_Request="true"))
                    async with asyncio.timeout(ANSWER_S):
                        status, body = await read_body(reader)
                    self._counts.parts += 1
                    self._counts.octets += len(body)
                    if status not in (200, 204, 286, 304):
                        self._counts.failed.append(f"{path}: {status}")


def parts_of(text: str, path: str) -> tuple[list[str], dict[str, list[str]]]:
    """The topics that a page listens to, and what it fetches anew for each of them."""
    topics = _TOPICS.search(text)
    parts: dict[str, list[str]] = defaultdict(list)
    for tag in _TAG.findall(text):
        live, get = _LIVE.search(tag), _GET.search(tag)
        if live and get:
            parts[html.unescape(live[1])].append(html.unescape(get[1]) or path)
    return html.unescape(topics[1]).split() if topics else [], parts


async def watch(url: str, path: str, count: int) -> Counts:
    """Keep so many pages open until the standard input ends."""
    counts = Counts()
    client = Client(url)
    await client.log_in()
    pages = [OpenPage(client, path, counts) for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(page.run()) for page in pages]
        for page in pages:
            await page.opened.wait()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
    return counts


def main(arguments: list[str]) -> int:
    """Watch, then say what was done."""
    url, path, count = arguments
    counts = asyncio.run(watch(url, path, int(count)))
    print(
        json.dumps(
            {
                "events": counts.events,
                "parts": counts.parts,
                "bytes": counts.octets,
                "failed": counts.failed[:5],
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
