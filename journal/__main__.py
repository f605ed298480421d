"""`python -m journal`: looks at the store of a broker, running or not; copies its messages, restores them.

Only `import` changes anything. The commands are described in `docs/reference/journal-tool.md`.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final

from journal.errors import ImportRefused, JournalError, StoreCorrupt, StoreMissing
from journal.export import Exported, export_files
from journal.figures import figures_of
from journal.files import PosixFiles, taken_bytes
from journal.inspection import inspect_store
from journal.listing import chosen_file, list_records
from journal.progress import Progress
from journal.restore import (
    Interrupted,
    Restored,
    conflicts,
    read_through,
    refuse_other_files,
    refuse_running,
    restore,
)
from journal.texts import (
    describe_export,
    describe_figures,
    describe_import,
    describe_inspection,
    describe_records,
    describe_verification,
)
from journal.verification import verify_files

EXIT_DAMAGED: Final = 1
EXIT_UNREADABLE: Final = 2  # argparse uses the same for a wrong command line
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_NO_READER: Final = 128 + signal.SIGPIPE
RECORDS_SHOWN: Final = 100
"""Without `--limit`; a data file holds tens of thousands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.getLogger("journal").addHandler(logging.NullHandler())  # the damage is told below
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except JournalError as error:
        _tell_error(error, as_json=options.json)
        is_damage = options.command == "verify" and isinstance(error, StoreCorrupt)
        return EXIT_DAMAGED if is_damage else EXIT_UNREADABLE
    except (KeyboardInterrupt, Interrupted) as end:
        print("\n".join(["journal: interrupted", *getattr(end, "__notes__", [])]), file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone; Python would complain at its end once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NO_READER
    except OSError as error:  # of a file that is exported to or imported from
        _tell_error(JournalError(f"{error.filename or 'the file'}: {error.strerror}"), as_json=options.json)
        return EXIT_UNREADABLE
    return code


def _tell_error(error: JournalError, *, as_json: bool) -> None:
    text = " ".join([str(error), *getattr(error, "__notes__", [])])
    if as_json:
        print(json.dumps({"error": text, "kind": type(error).__name__}))
    else:
        print(f"journal: {text}", file=sys.stderr)


def _progress() -> Progress:
    """A bar, if somebody looks."""
    return Progress(sys.stderr if sys.stderr.isatty() else None)


def _show(found: dict[str, Any], text: Callable[[], str], *, as_json: bool) -> None:
    print(json.dumps(found, indent=2) if as_json else text())


# ---- looking


def _inspect(options: argparse.Namespace) -> int:
    inspection = inspect_store(options.path, _progress())
    if not options.records:
        _show(inspection.to_json(), lambda: describe_inspection(inspection), as_json=options.json)
        return 0
    name = chosen_file(inspection, options.file)
    records = list_records(inspection, name)
    shown = islice(records, options.limit or None)
    if options.json:
        listed = [each.to_json() for each in shown]
        more = next(records, None) is not None
        print(json.dumps({"file": str(name), "records": listed, "more": more}, indent=2))
        return 0
    print(name)
    for line in describe_records(shown):
        print(line)
    if next(records, None) is not None:
        print(f"... and more; --limit 0 shows all of {name}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    found = verify_files(PosixFiles(options.path), str(options.path), _progress())
    _show(found.to_json(), lambda: describe_verification(found), as_json=options.json)
    return 0 if found.sound else EXIT_DAMAGED


def _stats(options: argparse.Namespace) -> int:
    inspection = inspect_store(options.path, _progress())
    figures = figures_of(inspection, taken_bytes(options.path))
    _show(figures.to_json(), lambda: describe_figures(figures), as_json=options.json)
    return 0


# ---- copying


def _export(options: argparse.Namespace) -> int:
    files, globs = PosixFiles(options.path), options.destination or ()
    to_stdout = options.file is None or str(options.file) == "-"
    if to_stdout:
        done = export_files(files, str(options.path), sys.stdout.buffer, globs, _progress())
        sys.stdout.buffer.flush()
    else:
        with _new_file(options.file, options.path, overwrite=options.force) as stream:
            done = export_files(files, str(options.path), stream, globs, _progress())
    _tell_done(done, describe_export(done), to_stderr=to_stdout, as_json=options.json)
    return EXIT_DAMAGED if done.damaged else 0


def _tell_done(done: Exported | Restored, text: str, *, to_stderr: bool, as_json: bool) -> None:
    print(json.dumps(done.to_json()) if as_json else text, file=sys.stderr if to_stderr else sys.stdout)


@contextmanager
def _new_file(path: Path, store: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that is there when it is whole, and not before.

    Raises:
        JournalError: it is there already, or would be within the store.
    """
    if path.exists() and not overwrite:
        raise JournalError(f"{path} exists; --force overwrites it")
    if path.resolve().parent == store.resolve():
        raise JournalError(f"{path} would lie within the store: choose another folder")
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=1024 * 1024) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


# ---- putting back


def _import(options: argparse.Namespace) -> int:
    path: Path = options.path
    progress = _progress()
    names = PosixFiles(path).names()
    refuse_other_files(names, str(path))
    with _whole_input(options.file) as stream:
        size = os.fstat(stream.fileno()).st_size
        contents = read_through(stream, progress, size)
        try:
            inspection = inspect_store(path, progress)
        except StoreMissing:
            pass  # an empty directory becomes a new store
        else:
            if not options.take_over:
                refuse_running(inspection, _runs)
            if wrong := conflicts(inspection.state, contents):
                raise ImportRefused("; ".join(wrong))
        if options.check:
            counts = len(contents.destinations), len(contents.subscriptions), len(contents.producers)
            done = Restored(0, contents.messages, 0, contents.body_bytes, *counts, 0)
        else:
            if path.stat().st_uid != os.geteuid():
                print(
                    f"journal: {path} belongs to another user; what is made in it is yours", file=sys.stderr
                )
            stream.seek(0)
            owner = f"journal import (pid {os.getpid()} on {socket.gethostname()})"
            with _asked_to_end() as interrupted:
                done = restore(
                    path,
                    stream,
                    contents,
                    owner=owner,
                    again=options.again,
                    interrupted=interrupted,
                    progress=progress,
                )
    text = describe_import(done, checked_only=options.check)
    _tell_done(done, text, to_stderr=False, as_json=options.json)
    return 0


@contextmanager
def _whole_input(path: Path | None) -> Iterator[BinaryIO]:
    """The export, which is read twice: standard input goes through a temporary file."""
    if path is not None and str(path) != "-":
        with path.open("rb") as stream:
            yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy


@contextmanager
def _asked_to_end() -> Iterator[Callable[[], bool]]:
    """While the store is ours the first Ctrl-C is a wish; the second ends this process at once."""
    wishes: list[int] = []

    def wish(number: int, _frame: FrameType | None) -> None:
        wishes.append(number)
        signal.signal(number, signal.SIG_DFL)
        print("journal: taking back what was stored; once more ends at once", file=sys.stderr)

    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(wishes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _runs(pid: int, host: str) -> bool | None:
    """Whether a process is running, None if it is one of another host."""
    if host != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# ---- the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m journal",
        description="Looks at the message store of a broker, running or not. Only `import` changes anything.",
        epilog="Exit codes: 0 fine, 1 damage was found, 2 it cannot be done, 130 Ctrl-C.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = _command(commands, "inspect", _inspect, "show what the store holds")
    inspect.add_argument("--records", action="store_true", help="list the records of one data file instead")
    inspect.add_argument(
        "--file", metavar="NAME", help="of the data file; default: that in which the log ends"
    )
    inspect.add_argument(
        "--limit",
        type=_count,
        default=RECORDS_SHOWN,
        metavar="N",
        help=f"records to list, 0 for all; default {RECORDS_SHOWN}",
    )
    _command(commands, "verify", _verify, "read all that counts, report damage, and say what to do about it")
    _command(commands, "stats", _stats, "show what is queued where, and what takes the disk")
    export = _command(commands, "export", _export, "write the live messages as lines of JSON")
    export.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="to write; default: standard output"
    )
    export.add_argument(
        "--destination",
        action="append",
        metavar="GLOB",
        help="only these, like 'queue://orders.*'; without a scheme queues; may be repeated",
    )
    export.add_argument("--force", action="store_true", help="overwrite FILE")
    put = _command(commands, "import", _import, "store the messages of an export; the broker must be stopped")
    put.add_argument("file", nargs="?", type=Path, metavar="FILE", help="to read; default: standard input")
    put.add_argument("--check", action="store_true", help="only check whether it could be imported")
    put.add_argument("--take-over", action="store_true", help="even if the store's master may be running")
    put.add_argument("--again", action="store_true", help="even if this export was imported before")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("path", type=Path, metavar="PATH", help="directory of the store")
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _count(text: str) -> int:
    """A number of records from the command line."""
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of records")
    return count


if __name__ == "__main__":
    sys.exit(main())
