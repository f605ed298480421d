"""How commands print: a table for people, JSON or YAML for scripts, once or again at every change."""

import json
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fabric.cli.context import CommandContext
from fabric.table import Table
from registry.errors import RegistryUnavailable

F = TypeVar("F", bound=Callable[..., Any])

WATCH_REDRAW_MIN_S = 0.2
"""Pause between two drawings of `--watch`: changes come in bursts."""

_CLEAR_SCREEN = "\x1b[2J\x1b[H"


def output_option(function: F) -> F:
    """Add `--output table|json|yaml`, handed over as `output`."""
    return click.option(
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(function)


def watch_option(function: F) -> F:
    """Add `--watch`, handed over as `watch`."""
    return click.option("--watch", is_flag=True, help="Print again at every change, until Ctrl-C.")(function)


def print_records(output: str, records: Any, table: Callable[[], Table | str]) -> None:  # noqa: ANN401 - JSON
    """Print records as `output` says.

    Args:
        output: `table`, `json` or `yaml`.
        records: Lists and dictionaries of plain values.
        table: Makes the table, if it is wanted.
    """
    click.echo(render(output, records, table))


def render(output: str, records: Any, table: Callable[[], Table | str]) -> str:  # noqa: ANN401 - JSON
    """Return what `print_records` prints."""
    if output == "json":
        return json.dumps(records, indent=2, ensure_ascii=False)
    if output == "yaml":
        import yaml  # noqa: PLC0415 - only when it is needed

        return str(yaml.safe_dump(records, sort_keys=False, allow_unicode=True)).rstrip()
    return str(table())


def print_drawing(text: str) -> None:
    """Print what takes the place of what was printed before; elsewhere than on a terminal it follows it."""
    click.echo((_CLEAR_SCREEN if sys.stdout.isatty() else "") + text)


def show_registry(context: CommandContext, path: str, draw: Callable[[], str], *, watch: bool) -> None:
    """Print what `draw` returns, once or, with `watch`, whenever something below `path` changes.

    It goes on until Ctrl-C; only drawings that differ from the one before are printed.
    """
    if not watch:
        click.echo(draw())
        return
    changed = threading.Event()
    pause = threading.Event()
    following = context.session.watch_tree(path, changed.set)
    try:
        shown: str | None = None
        while True:
            changed.clear()
            try:
                text = draw()
            except RegistryUnavailable as error:  # the watch reports again when it is back
                text = f"{error} Waiting for it."
            if text != shown:
                print_drawing(text)
                shown = text
            changed.wait()
            pause.wait(WATCH_REDRAW_MIN_S)
    finally:
        following.cancel()
