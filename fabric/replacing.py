"""Files that are replaced as a whole: a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int, *, sync: bool = True) -> None:
    """Write a file beside its name, and rename it; nobody but `mode` allows can read it at any moment.

    Args:
        path: Of the file, in a folder that exists.
        content: All of it.
        mode: Its permissions.
        sync: Whether it is on the disk before it takes the place of the old one.

    Raises:
        OSError: the old one is there still.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
