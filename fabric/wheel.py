"""A wheel of this very software, made from what is installed here: what another host is given.

A wheel is a zip file with the packages, and beside them a folder that says what they are. No build tool is
needed, and what runs here is what runs there, also from a clone.

Source: the binary distribution format (PEP 427, PEP 376).
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.resources.abc import Traversable

DISTRIBUTION = "fabric-mq"
_WHEEL = "Wheel-Version: 1.0\nGenerator: fabric\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same software makes the same bytes."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel in memory; it is about a megabyte."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """What tells it from any other one: twelve hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Where it is installed on a host."""
        return f"{self.name.split('-py3')[0].replace('_', '-')}-{self.digest}"


def build_wheel(distribution: str = DISTRIBUTION) -> Wheel:
    """Make it of the distribution that is installed."""
    found = metadata.distribution(distribution)
    name = distribution.replace("-", "_")
    info = f"{name}-{found.version}.dist-info"
    files = dict(_package_files((found.read_text("top_level.txt") or "").split()))
    files[f"{info}/METADATA"] = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    record = "".join(f"{path},{_digest(content)},{len(content)}\n" for path, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return Wheel(f"{name}-{found.version}-py3-none-any.whl", _zipped(files))


def _package_files(packages: list[str]) -> Iterator[tuple[str, bytes]]:
    for package in sorted(packages):
        yield from _files(resources.files(package), package)


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            yield from _files(entry, f"{path}/{entry.name}")
        else:
            yield f"{path}/{entry.name}", entry.read_bytes()


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
