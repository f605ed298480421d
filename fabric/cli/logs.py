"""`container-logs`, `log-set` and `log-get`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.errors import ContainerNotFound, FabricError, LogElsewhere
from fabric.log_lines import readable
from fabric.names import expand
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.home import ContainerHome

F = TypeVar("F", bound=Callable[..., Any])

FOLLOW_INTERVAL_S = 0.2
CHUNK_BYTES = 64 * 1024


@command(
    "container-logs",
    examples=[
        "fabric container-logs root",
        "fabric container-logs brokercontainer -f",
        "fabric container-logs root --zookeeper -n 50",
    ],
)
@click.argument("name", metavar="CONTAINER")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    default=None,
    metavar="N",
    help="Only the last N lines; default: all, with --follow 20.",
)
@click.option("--console", is_flag=True, help="What the process printed beside its log.")
@click.option("--zookeeper", is_flag=True, help="The log of the ZooKeeper server that it runs.")
@click.option("--raw", is_flag=True, help="Lines of JSON as they are; default: as text.")
def container_logs(
    context: CommandContext,
    *,
    name: str,
    follow: bool,
    lines: int | None,
    console: bool,
    zookeeper: bool,
    raw: bool,
) -> None:
    """Show the log of a container of this host."""
    files = context.home.container(name)
    path = _zookeeper_log(files) if zookeeper else files.console if console else files.log
    if not path.exists():
        raise _missing(context, name)
    position = _start(path, 20 if lines is None and follow else lines)
    chunks = _written(path, position, follow=follow)
    for text in chunks if raw else _readable(chunks):
        click.echo(text, nl=False)


def _zookeeper_log(files: ContainerHome) -> Path:
    settings = files.read_managed_zookeeper()
    if settings is None:
        raise FabricError(
            f"Container {files.name} runs no ZooKeeper on this host.", "`fabric info` says who does."
        )
    return Path(settings.data_directory) / "server.log"


def _missing(context: CommandContext, name: str) -> FabricError:
    if not context.containers.exists(name):
        return ContainerNotFound(name)
    return LogElsewhere(name, context.containers.get(name).host)


def _start(path: Path, lines: int | None) -> int:
    """Return the position of the first byte to show."""
    if lines is None:
        return 0
    with path.open("rb") as file:
        end = position = file.seek(0, 2)
        missing = lines + 1  # line ends, the last line's own included
        while position > 0 and lines > 0:
            size = min(CHUNK_BYTES, position)
            position -= size
            file.seek(position)
            chunk = file.read(size)
            count = chunk.count(b"\n")
            if count >= missing:
                for _ in range(count - missing + 1):
                    chunk = chunk[chunk.index(b"\n") + 1 :]
                return position + size - len(chunk)
            missing -= count
        return 0 if lines else end


def _written(path: Path, position: int, *, follow: bool) -> Iterator[str]:
    """Yield what stands behind the position, then what is added, also after a rotation."""
    file = path.open("rb")
    try:
        file.seek(position)
        while True:
            chunk = file.read(CHUNK_BYTES)
            if chunk:
                yield chunk.decode("utf-8", "replace")
                continue
            if not follow:
                return
            time.sleep(FOLLOW_INTERVAL_S)  # a log has no event to wait for
            if path.exists() and not path.samefile(f"/proc/self/fd/{file.fileno()}"):
                file.close()
                file = path.open("rb")
    finally:
        file.close()


def _readable(chunks: Iterator[str]) -> Iterator[str]:
    """Yield whole lines, those of JSON as text; what has no end yet comes at the very end."""
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        if lines:
            yield "".join(f"{readable(line)}\n" for line in lines)
    if rest:
        yield readable(rest)


# log-set, log-get


def _container_options(function: F) -> F:
    """Add `--container`, which may be repeated, and `--all`."""
    for option in (
        click.option("--all", "all_containers", is_flag=True, help="All containers."),
        click.option(
            "--container",
            "patterns",
            multiple=True,
            metavar="NAME",
            help="Container, or a glob; may be repeated; default: this host's root container.",
        ),
    ):
        function = option(function)
    return function


@command(
    "log-set",
    examples=[
        "fabric log-set DEBUG broker.mqtt --container brokercontainer",
        "fabric log-set WARN",
        "fabric log-set DEFAULT broker.mqtt --container 'broker*'",
    ],
)
@click.argument("level")
@click.argument("logger", default="ROOT")
@_container_options
def log_set(
    context: CommandContext, level: str, logger: str, patterns: tuple[str, ...], all_containers: bool
) -> None:
    """Say from which LEVEL on a logger logs: TRACE, DEBUG, INFO, WARN, ERROR, OFF, or DEFAULT.

    It counts at once, goes before what the profiles say, and stays until DEFAULT takes it back.
    """
    # They take long to import.
    from fabric.logs import DEFAULT_LEVEL, LEVELS_FIELD, LOGGERS_MAX, check_level, parse_levels  # noqa: PLC0415
    from fabric.znodes import update_node  # noqa: PLC0415 - likewise
    from registry import paths  # noqa: PLC0415 - likewise

    level, logger = check_level(level, logger)

    def change(data: bytes) -> bytes:
        levels = parse_levels(data.decode(errors="replace"))
        levels.pop(logger, None)
        if level != DEFAULT_LEVEL:
            levels[logger] = level
        if len(levels) > LOGGERS_MAX:
            raise FabricError(f"More than {LOGGERS_MAX} loggers have levels.", "Take some back with DEFAULT.")
        return json.dumps(levels, sort_keys=True).encode()

    for name in _chosen(context, patterns, all_containers=all_containers):
        path = paths.container_config_field(name, LEVELS_FIELD)
        update_node(context.session, path, change, f"The levels of container {name}")


@command("log-get", examples=["fabric log-get", "fabric log-get --all --output json"])
@_container_options
@output_option
def log_get(context: CommandContext, patterns: tuple[str, ...], all_containers: bool, output: str) -> None:
    """Show which levels count: those of the profiles, and those that `log-set` has set over them."""
    # They take long to import.
    from fabric.logs import LEVELS_FIELD, LOGGING_PID, ROOT, parse_levels, profile_levels  # noqa: PLC0415

    records = []
    for name in _chosen(context, patterns, all_containers=all_containers):
        record = context.containers.get(name)
        configuration = context.profiles.overlay(record.profiles, record.version).configuration
        given = {ROOT: "INFO", **profile_levels(configuration.get(LOGGING_PID, {}))}
        levels = parse_levels(record.fields.get(LEVELS_FIELD, ""))
        for logger, level in sorted({**given, **levels}.items()):
            by = "log-set" if logger in levels else "profiles"
            records.append({"container": name, "logger": logger, "level": level, "set_by": by})
    table = Table("container", "logger", "level", "set by")
    for each in records:
        table.add_row(each["container"], each["logger"], each["level"], each["set_by"])
    print_records(output, records, lambda: table)


def _chosen(context: CommandContext, patterns: Sequence[str], *, all_containers: bool) -> list[str]:
    if patterns and all_containers:
        raise click.UsageError("Name containers, or give --all.")
    if all_containers:
        return context.containers.names()
    return expand(patterns or [context.current_container or "root"], context.containers.names())
