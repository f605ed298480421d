"""The log of a container: a file of its own, lines of time, level, logger and text, bounded by rotation."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import cast

from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner

LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_BACKUPS = 3
"""A container's log takes at most four times 10 MiB. Source: the rolling appender of the original."""

_FORMAT = "%(asctime)s %(levelname)-7s [%(name)s] %(message)s"


def log_to(path: Path) -> None:
    """Write what this process logs, Twisted's own messages included, to the file. Raises OSError."""
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=LOG_BACKUPS, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    globalLogBeginner.beginLoggingTo([cast(ILogObserver, STDLibLogObserver())], redirectStandardIO=False)
