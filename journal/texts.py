"""What `python -m journal` prints for people."""

from collections.abc import Iterable, Sequence
from typing import Final

from journal.export import Exported
from journal.figures import Figures
from journal.inspection import Inspection
from journal.listing import ListedRecord
from journal.restore import Restored
from journal.verification import Verification

LOST_SHOWN_MAX: Final = 20
"""Lost messages that are shown one by one; `--json` has more."""
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def printable(text: str) -> str:
    """A text without what would move a terminal's cursor; names come from clients."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_bytes(size: int) -> str:
    """A size with its unit."""
    amount = float(size)
    for unit in _UNITS[:-1]:
        if amount < 1024:  # of the next unit
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} {_UNITS[-1]}"


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Aligned columns: text to the left, numbers to the right."""
    texts = [head, *(tuple(printable(str(cell)) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    numeric = [bool(rows) and isinstance(rows[0][i], int) for i in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in texts
    ]


def describe_inspection(inspection: Inspection) -> str:
    """What `inspect` prints."""
    report, state = inspection.report, inspection.state
    live = ", ".join(map(str, inspection.live)) or "none"
    end = f"{inspection.end[0]}, offset {inspection.end[1]}" if inspection.end else "nowhere"
    lines = [
        f"ruling epoch    {report.ruler} of {printable(report.owner) or 'nobody'}",
        f"claimed         {inspection.claimed}",
        f"live            {live}{' (closed)' if inspection.closed else ''}",
        f"log ends        {end}",
        f"read from       {report.checkpoint or 'the beginning'}",
        f"batches         {report.batches}",
        f"records         {report.records}",
        f"next message    {state.next_ref}",
        f"notes           {len(state.notes)}",
        f"producers       {len(state.producers)}",
        "",
        *table(
            ("data file", "bytes", "role", "live bytes"),
            [(each.name, each.bytes, each.role, each.live_bytes) for each in inspection.data_files],
        ),
    ]
    if inspection.checkpoints:
        rows = [(each.name, each.bytes, "yes" if each.counts else "no") for each in inspection.checkpoints]
        lines += ["", *table(("checkpoint", "bytes", "counts"), rows)]
    if inspection.seals:
        lines += ["", *table(("sealed epoch", "file", "offset", "batch"), inspection.seals)]
    rows_of_claims = [(each.epoch, each.owner or "unknown") for each in inspection.claims]
    lines += ["", *table(("claim", "owner"), rows_of_claims)]
    found = inspection.to_json()
    for kind in ("queues", "topics"):
        if found[kind]:
            rows = [(name, size["messages"], size["bytes"]) for name, size in found[kind].items()]
            lines += ["", *table((kind[:-1], "messages", "bytes"), rows)]
    if state.subscriptions:
        held = [(s.client_id, s.name, s.destination, len(s.pending)) for s in state.subscriptions.values()]
        lines += ["", *table(("client id", "subscription", "destination", "pending"), held)]
    if state.branches.prepared:
        rows_of_branches = [
            (each["xid"], each["user"], sum(each["sent"].values()), sum(each["consumed"].values()))
            for each in found["prepared"]
        ]
        lines += ["", *table(("prepared branch", "user", "sent", "consumed"), rows_of_branches)]
    return "\n".join([*lines, "", _first_verdict(inspection)])


def _first_verdict(inspection: Inspection) -> str:
    """What was noticed by the way; `verify` looks at all of it."""
    report = inspection.report
    lines = [str(damage) for damage in report.damages]
    if report.torn is not None:
        lines.append(_torn(*report.torn))
    summary = f"{report.records} records in {report.batches} batches were read"
    hint = "`verify` says what that means" if report.damages else "`verify` reads everything"
    lines.append(f"{'DAMAGED' if report.damages else 'sound'}: {summary}; {hint}")
    return "\n".join(lines)


def _torn(file: str, offset: int) -> str:
    return f"torn tail: {file} from offset {offset}; being written, or never acknowledged and ignored"


def describe_records(records: Iterable[ListedRecord]) -> Iterable[str]:
    """What `inspect --records` prints, line by line."""
    yield f"{'offset':>10} {'length':>9} {'batch':>8}  record"
    for each in records:
        fields = "  ".join(f"{name}={_value(value)}" for name, value in each.fields.items())
        yield f"{each.offset:>10} {each.length:>9} {each.batch or '':>8}  {each.kind:<24} {fields}".rstrip()


def _value(value: object) -> str:
    return printable(value) or '""' if isinstance(value, str) else str(value)


def describe_verification(found: Verification) -> str:
    """What `verify` prints."""
    lines: list[str] = []
    for finding in found.findings:
        lines += [str(finding), f"    lost: {finding.lost}", f"    to do: {finding.advice}"]
    lines += [
        f"lost: message {each.ref} of {printable(each.destination)}, "
        f"{each.length} bytes at {each.file} offset {each.offset}"
        for each in found.lost[:LOST_SHOWN_MAX]
    ]
    if found.lost_count > LOST_SHOWN_MAX:
        lines.append(f"lost: {found.lost_count - LOST_SHOWN_MAX} messages more; --json lists them")
    lines += found.notes
    whole = (
        f"{found.messages} live messages, {found.records} records in {found.batches} batches "
        f"of {found.files} data files, {found.checkpoints} checkpoints"
    )
    if found.sound:
        lines.append(f"sound: {whole}")
    else:
        lines.append(
            f"DAMAGED in {len(found.findings)} places, {found.lost_count} live messages cannot be read; "
            f"whole are {whole}"
        )
    return "\n".join(lines)


def describe_figures(figures: Figures) -> str:
    """What `stats` prints."""
    lines = [
        f"messages        {figures.messages}",
        f"live            {in_bytes(figures.live_bytes)}",
        f"data files      {in_bytes(figures.data_bytes)} written in {len(figures.files)}",
        f"checkpoints     {in_bytes(figures.checkpoint_bytes)}",
        f"reserve         {in_bytes(figures.reserve_bytes)}",
        f"other files     {in_bytes(figures.other_bytes)}",
        f"disk            {in_bytes(figures.disk_bytes)}, bound {in_bytes(figures.bound_bytes)}: "
        + ("within" if figures.disk_bytes <= figures.bound_bytes else "ABOVE, a running master tidies up"),
        f"producers       {figures.producers}",
        f"next message    {figures.next_ref}",
        "",
        *table(
            ("data file", "bytes", "role", "live", "dead", "live %"),
            [
                (
                    each.name,
                    each.bytes,
                    each.role,
                    each.live_bytes,
                    max(each.bytes - each.live_bytes, 0),
                    100 * each.live_bytes // max(each.bytes, 1),
                )
                for each in figures.files
            ],
        ),
    ]
    if figures.destinations:
        rows = [
            (each.name, each.messages, each.bytes, each.oldest_ref, each.newest_ref)
            for each in figures.destinations
        ]
        lines += ["", *table(("destination", "messages", "bytes", "oldest", "newest"), rows)]
    if figures.subscriptions:
        held = [
            (each.client_id, each.name, each.destination, each.pending, each.oldest_ref)
            for each in figures.subscriptions
        ]
        lines += ["", *table(("client id", "subscription", "destination", "pending", "oldest"), held)]
    return "\n".join(lines)


def describe_export(done: Exported) -> str:
    """What `export` prints when it is through."""
    lines = [f"lost: {error}" for error in done.errors[:LOST_SHOWN_MAX]]
    text = (
        f"exported {done.messages} messages ({in_bytes(done.body_bytes)}) of {done.destinations} "
        f"destinations, {done.subscriptions} durable subscriptions, {done.producers} producers"
    )
    if done.rolled_back:
        text += f"; {done.rolled_back} prepared branches are left out as if they were rolled back"
    if done.gone:
        text += f"; {done.gone} messages were consumed meanwhile"
    if done.damaged:
        text += f"; {done.damaged} messages CANNOT BE READ and are missing"
    return "\n".join([*lines, text])


def describe_import(done: Restored, *, checked_only: bool = False) -> str:
    """What `import` prints when it is through."""
    what = "checked, nothing stored:" if checked_only else "imported"
    earlier = f" and {done.earlier} by an earlier run" if done.earlier else ""
    text = (
        f"{what} {done.messages} messages{earlier} ({in_bytes(done.body_bytes)}) of {done.destinations} "
        f"destinations, {done.subscriptions} durable subscriptions, {done.producers} producers"
    )
    if done.shift:
        text += f"; their numbers were raised by {done.shift}"
    return text
