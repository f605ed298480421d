"""`audit-list`: who did what."""

from __future__ import annotations

import datetime
import re
import time

import click

from fabric.audit import AuditFile, audit_table, chosen, read_entries
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records

_AGO = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LIMIT = 100


def parse_since(text: str, now_s: float) -> int:
    """The milliseconds since 1970 that `30m`, `2h`, `7d`, or a date and time in ISO 8601 mean."""
    match = _AGO.fullmatch(text)
    if match:
        return int((now_s - int(match[1]) * _SECONDS[match[2]]) * 1000)
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither a time ago, such as 30m, 2h or 7d, nor one such as 2026-01-31T08:00.",
            param_hint="--since",
        ) from None


@command(
    "audit-list",
    examples=[
        "fabric audit-list",
        "fabric audit-list --since 2h --user ann",
        "fabric audit-list --output json",
    ],
)
@click.option("--since", default="", metavar="TIME", help="Not older than 30m, 2h, 7d, or 2026-01-31T08:00.")
@click.option("--user", default="", help="Only what this user did.")
@click.option(
    "--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="So many, the newest."
)
@click.option(
    "--local", is_flag=True, help="From the file of this host, which has more of what was done here."
)
@output_option
def audit_list(
    context: CommandContext, *, since: str, user: str, limit: int, local: bool, output: str
) -> None:
    """List who did what in the fabric, the newest first.

    From the command line, the console, the API, and the management of brokers; logins that were refused are
    among it. The registry keeps the newest thousand entries of all hosts, FABRIC_HOME/audit.log those of this
    one.
    """
    since_ms = parse_since(since, time.time()) if since else 0
    if local:
        found = chosen(AuditFile(context.home.audit_log).read(), since_ms, user)
    else:
        found = read_entries(context.session, since_ms=since_ms, user=user)
    shown = found[:limit]
    print_records(
        output,
        [entry.to_json() for entry in shown],
        lambda: audit_table(shown) if shown else "Nothing is written down.",
    )
