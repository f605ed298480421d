"""`container-logs`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from fabric.cli.context import CommandContext, command
from fabric.errors import ContainerNotFound, FabricError, LogElsewhere

FOLLOW_INTERVAL_S = 0.2
CHUNK_BYTES = 64 * 1024


@command(
    "container-logs", examples=["fabric container-logs root", "fabric container-logs brokercontainer -f"]
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
def container_logs(
    context: CommandContext, name: str, follow: bool, lines: int | None, console: bool
) -> None:
    """Show the log of a container of this host."""
    files = context.home.container(name)
    path = files.console if console else files.log
    if not path.exists():
        raise _missing(context, name)
    position = _start(path, 20 if lines is None and follow else lines)
    for text in _written(path, position, follow=follow):
        click.echo(text, nl=False)


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
