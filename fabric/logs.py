"""The log of a container: a file of its own, bounded by rotation, in text for people or JSON for programs.

    text   2026-11-28 06:18:25,123 INFO    [fabric.container] Container root starts
    json   {"time": "2026-11-28T06:18:25.123Z", "level": "info", "container": "root", "logger": …, …}

In JSON a line also has what the code that logged it gave as `extra`: `broker`, `connection`, `destination`.
Format and levels may change while the container runs.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, cast

from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner

from fabric.errors import FabricError
from fabric.log_lines import utc_text

LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_BACKUPS = 3
"""A container's log takes at most four times 10 MiB. Source: the rolling appender of the original."""

TEXT, JSON = "text", "json"
FORMATS: Final = (TEXT, JSON)
FORMAT_VARIABLE: Final = "FABRIC_LOG_FORMAT"

LOGGING_PID: Final = "org.ops4j.pax.logging"
"""Where profiles say what is logged. Source: the original's, with the keys of log4j."""
ROOT_KEY: Final = "log4j.rootLogger"
LOGGER_PREFIX: Final = "log4j.logger."
FORMAT_KEY: Final = "fabric.log.format"

LEVELS_FIELD: Final = "log-levels"
"""Field of a container's configuration: levels that were set while it runs, JSON."""
ROOT: Final = "ROOT"
"""What the original calls the logger above all others."""
LEVELS: Final = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "OFF": logging.CRITICAL + 1,
}
"""By the original's names."""
DEFAULT_LEVEL: Final = "DEFAULT"
"""Takes a level back: the logger does as the profiles, or the loggers above it, say."""
LOGGERS_MAX: Final = 100

_TEXT_FORMAT = "%(asctime)s %(levelname)-7s [%(name)s] %(message)s"
_LOGGER_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,199}")


class LevelInvalid(FabricError):
    """A logger or level that there is not."""


def check_level(level: str, logger: str) -> tuple[str, str]:
    """Return level and logger as they are written. Raises `LevelInvalid`."""
    known = level.upper()
    if known not in (*LEVELS, DEFAULT_LEVEL):
        raise LevelInvalid(
            f"There is no level {level}.", f"Levels are: {', '.join((*LEVELS, DEFAULT_LEVEL))}."
        )
    if logger.upper() == ROOT:
        return known, ROOT
    if not _LOGGER_NAME.fullmatch(logger):
        raise LevelInvalid(
            f"{logger!r} is not the name of a logger.", "Such as broker.mqtt, or ROOT for all."
        )
    return known, logger


def parse_levels(text: str) -> dict[str, str]:
    """Levels by logger from the field of a container; what cannot be understood counts as none."""
    try:
        content = json.loads(text or "{}")
        return {str(name): str(level) for name, level in content.items() if str(level) in LEVELS}
    except (ValueError, AttributeError):
        return {}


def profile_levels(properties: Mapping[str, str]) -> dict[str, str]:
    """Levels by logger from the PID of profiles; appenders, which there are none of here, are left out."""
    found = {}
    for key, value in properties.items():
        level = value.partition(",")[0].strip().upper()
        name = ROOT if key == ROOT_KEY else key.removeprefix(LOGGER_PREFIX)
        if level in LEVELS and (name == ROOT or key.startswith(LOGGER_PREFIX)):
            found[name] = level
    return found


class ContainerLog:
    """What this process logs, Twisted's own messages included, in a file.

    Args:
        path: of the file.
        container: in each line of JSON.
        form: `text` or `json`.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, container: str, form: str = TEXT) -> None:
        self._container = container
        self._handler = RotatingFileHandler(
            path, maxBytes=LOG_BYTES_MAX, backupCount=LOG_BACKUPS, encoding="utf-8"
        )
        self._profile: Mapping[str, str] = {}
        self._set: Mapping[str, str] = {}
        self._changed: set[str] = set()
        self.form = ""
        self.use_format(form)

    def begin(self) -> None:
        """Write from now on what anybody logs."""
        logging.getLogger().addHandler(self._handler)
        self._apply()
        globalLogBeginner.beginLoggingTo([cast(ILogObserver, STDLibLogObserver())], redirectStandardIO=False)

    def write(self, record: logging.LogRecord) -> None:
        """Write one line, whatever levels count."""
        self._handler.handle(record)

    def close(self) -> None:
        """Write nothing more."""
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()

    def use_format(self, form: str) -> bool:
        """Write the next lines as `text` or `json`; returns False for what is neither."""
        if form not in FORMATS:
            return False
        if form != self.form:
            self.form = form
            self._handler.setFormatter(
                json_formatter({"container": self._container})
                if form == JSON
                else logging.Formatter(_TEXT_FORMAT)
            )
        return True

    def use_profile(self, properties: Mapping[str, str]) -> None:
        """The profiles say which levels count."""
        self._profile = profile_levels(properties)
        self._apply()

    def use_levels(self, levels: Mapping[str, str]) -> None:
        """Somebody says which levels count, and goes before the profiles."""
        self._set = levels
        self._apply()

    def _apply(self) -> None:
        wanted = {ROOT: "INFO", **self._profile, **self._set}
        for name in self._changed - wanted.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in wanted.items():
            logging.getLogger("" if name == ROOT else name).setLevel(LEVELS[level])
        self._changed = set(wanted) - {ROOT}


def json_formatter(context: Mapping[str, str]) -> logging.Formatter:
    """Makes a line of JSON of what is logged; `context` stands in each."""
    import structlog  # noqa: PLC0415 - a container that logs text stays smaller without it

    def stamped(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        record: logging.LogRecord = event["_record"]
        head = {"time": utc_text(record.created), "level": record.levelname.lower(), **context}
        return {**head, "logger": record.name, **event}

    formatter: logging.Formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), stamped],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
    )
    return formatter
