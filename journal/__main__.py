"""`python -m journal`: looks at a message store, of a running broker too, and changes nothing."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from journal.errors import JournalError
from journal.inspection import Inspection, inspect_store

EXIT_DAMAGED = 1
EXIT_UNREADABLE = 2  # argparse uses the same for a wrong command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.getLogger("journal").addHandler(logging.NullHandler())  # the damage is told below
    try:
        inspection = inspect_store(options.path)
    except JournalError as error:
        if options.json:
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        else:
            print(f"journal: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    damaged = bool(inspection.report.damages)
    if options.json:
        print(json.dumps(inspection.to_json() | {"sound": not damaged}, indent=2))
    elif options.command == "inspect":
        print(_description(inspection))
    else:
        print(_verdict(inspection))
    return EXIT_DAMAGED if damaged and options.command == "verify" else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m journal",
        description="Looks at the message store of a broker, running or not, and changes nothing.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("inspect", "show what the store holds"),
        ("verify", "read all of it and report damage; exit code 0 sound, 1 damaged, 2 unreadable"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.add_argument("path", type=Path, metavar="PATH", help="directory of the store")
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _description(inspection: Inspection) -> str:
    """What `inspect` prints."""
    report = inspection.report
    state = inspection.state
    live = ", ".join(map(str, inspection.live)) or "none"
    lines = [
        f"ruling epoch    {report.ruler} of {report.owner or 'nobody'}",
        f"claimed         {inspection.claimed}",
        f"live            {live}",
        f"batches         {report.batches}",
        f"records         {report.records}",
        f"next message    {state.next_ref}",
        f"producers       {len(state.producers)}",
        "",
        *_table(("data file", "bytes", "role"), inspection.files),
    ]
    found = inspection.to_json()
    for kind in ("queues", "topics"):
        if found[kind]:
            rows = [(name, size["messages"], size["bytes"]) for name, size in found[kind].items()]
            lines += ["", *_table((kind[:-1], "messages", "bytes"), rows)]
    if state.subscriptions:
        held = [(s.client_id, s.name, s.destination, len(s.pending)) for s in state.subscriptions.values()]
        lines += ["", *_table(("client id", "subscription", "destination", "pending"), held)]
    return "\n".join([*lines, "", _verdict(inspection)])


def _verdict(inspection: Inspection) -> str:
    """What `verify` prints."""
    report = inspection.report
    lines = [str(damage) for damage in report.damages]
    if report.torn is not None:
        lines.append(f"torn tail: {report.torn[0]} from offset {report.torn[1]}; never acknowledged, ignored")
    summary = f"{report.records} records in {report.batches} batches"
    lines.append(f"DAMAGED, whole are {summary}" if report.damages else f"sound: {summary}")
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Aligned columns: text to the left, numbers to the right."""
    texts = [head, *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    numeric = [bool(rows) and isinstance(rows[0][i], int) for i in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in texts
    ]


if __name__ == "__main__":
    sys.exit(main())
