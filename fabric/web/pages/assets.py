"""Style sheets, scripts and pictures. They come with the package; nothing is fetched from elsewhere."""

from __future__ import annotations

import gzip
from functools import cache
from importlib import metadata, resources
from typing import Final

from fabric.web.errors import Refused
from fabric.web.routes import Answer, Call, Route

TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
CACHE: Final = "public, max-age=31536000, immutable"
"""A release's assets never change: pages ask for them with the release's number."""


@cache
def _asset(name: str) -> tuple[bytes, bytes] | None:
    """An asset as it is, and compressed."""
    folder = resources.files("fabric.web").joinpath("static")
    names = {entry.name for entry in folder.iterdir()}
    if name not in names or name.rpartition(".")[2] not in TYPES:
        return None
    content = folder.joinpath(name).read_bytes()
    return content, gzip.compress(content)


def asset(call: Call) -> Answer:
    """One file of `static/`."""
    name = call.path["name"]
    found = _asset(name)
    if found is None:
        raise Refused(404, "There is no such file.")
    headers = {"Cache-Control": CACHE, "Vary": "Accept-Encoding"}
    compress = "gzip" in call.headers.get("accept-encoding", "")
    if compress:
        headers["Content-Encoding"] = "gzip"
    return Answer(found[1 if compress else 0], TYPES[name.rpartition(".")[2]], headers=headers)


ROUTES: Final = (
    Route(
        "GET", f"/static/{metadata.version('fabric-mq')}/<name>", asset, "A file of the console.", role=None
    ),
)
