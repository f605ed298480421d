"""`certificate-renew` and `certificate-rollover`: new certificates and a new authority, no restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from fabric.cli.certificate import changing, days_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.certificates import Authority, Certificate
    from fabric.renewal import Issued

BEGIN_NEXT: Final = (
    "Give {ca} to every client and every other host of the fabric: it has both authorities.\n"
    "When all have it: fabric certificate-rollover switch"
)
SWITCH_NEXT: Final = (
    "Copy what was made anew to where it is used; certificates that lie elsewhere only are made with\n"
    "`fabric certificate-create`. When all are replaced: fabric certificate-rollover finish"
)
FINISH_NEXT: Final = (
    "Give {ca} to every client and every other host once more: the old authority is gone from it."
)
SETTLED_NEXT: Final = "A new authority beside it: fabric certificate-rollover begin"


@command(
    "certificate-renew",
    examples=["fabric certificate-renew", "fabric certificate-renew --container node1 --days 90"],
)
@click.option(
    "--container",
    "containers",
    multiple=True,
    metavar="NAME",
    help="Container whose certificate is made anew; may be repeated.  [default: all certificates here]",
)
@click.option("--user", "users", multiple=True, metavar="NAME", help="Likewise, a user.")
@days_option
@output_option
def certificate_renew(
    context: CommandContext,
    *,
    containers: tuple[str, ...],
    users: tuple[str, ...],
    days: int | None,
    output: str,
) -> None:
    """Make certificates anew: a new key, for the names and addresses that they have.

    It is about the files in FABRIC_HOME/certificates that the fabric's authority has signed. Brokers,
    consoles and gateways show the new ones to whoever connects next; they need no restart. ZooKeeper servers
    of the fabric are restarted by their containers, one after the other, if they do not read them themselves.
    """
    from fabric.certificates import DAYS, Authority  # noqa: PLC0415 - cryptography takes long to import
    from fabric.renewal import chosen, issued, renew  # noqa: PLC0415 - likewise

    authority = Authority(context.home.certificates)
    authority.trusted()  # that there is one
    with changing(authority, "certificate-renew"):
        old = chosen(issued(authority), containers, users)
        made = [renew(authority, each, DAYS if days is None else days) for each in old]
    print_records(output, [each.to_json() for each in made], lambda: _table(made))
    if output == "table":
        _say_what_to_copy(context, old)


@command(
    "certificate-rollover",
    examples=[
        "fabric certificate-rollover",
        "fabric certificate-rollover begin",
        "fabric certificate-rollover switch",
        "fabric certificate-rollover finish",
    ],
)
@click.argument("step", required=False, type=click.Choice(["begin", "switch", "finish"]))
@output_option
def certificate_rollover(context: CommandContext, step: str | None, *, output: str) -> None:
    """Replace the fabric's authority while clients go on.

    "begin" makes a new authority that is trusted beside the old one. "switch" makes all certificates here
    anew, signed by the new one. "finish" drops the old one. Each may be repeated, and says what to do next;
    without a step it is said where the rollover stands.
    """
    from fabric.certificates import Authority, Stage  # noqa: PLC0415 - cryptography takes long to import

    authority = Authority(context.home.certificates)
    stage = authority.stage()
    made: list[Certificate] = []
    finished = False
    if step:
        with changing(authority, f"certificate-rollover {step}"):
            if step == "begin":
                authority.begin()
            elif step == "switch":
                made = _switch(authority)
            else:
                finished = bool(_finish(authority))
            stage = authority.stage()
    advice = {Stage.SETTLED: SETTLED_NEXT, Stage.BEGUN: BEGIN_NEXT, Stage.SWITCHED: SWITCH_NEXT}[stage]
    following = (FINISH_NEXT if finished else advice).format(ca=authority.certificate_path)
    rows = _authorities(authority)
    record = {"stage": stage.value, "authorities": rows, "renewed": [each.to_json() for each in made]}
    print_records(output, record, lambda: _authority_table(rows))
    if output == "table":
        if made:
            click.echo(f"\n{_table(made)}")
        click.echo(f"\n{following}")


def _switch(authority: Authority) -> list[Certificate]:
    """Let the new one sign, and sign anew what it has not signed yet."""
    from fabric.renewal import issued, renew  # noqa: PLC0415 - see above

    authority.switch()
    return [renew(authority, each) for each in issued(authority) if not each.is_current]


def _finish(authority: Authority) -> Sequence[object]:
    from fabric.certificates import Stage  # noqa: PLC0415 - see above
    from fabric.errors import CertificatesInvalid  # noqa: PLC0415 - likewise
    from fabric.renewal import issued  # noqa: PLC0415 - likewise

    old = [] if authority.stage() is Stage.BEGUN else [e for e in issued(authority) if not e.is_current]
    if old:
        raise CertificatesInvalid(
            f"Nothing was dropped: the old authority has signed {', '.join(str(each.path) for each in old)}.",
            "`fabric certificate-rollover switch` makes them anew.",
        )
    return authority.finish()


def _authorities(authority: Authority) -> list[dict[str, Any]]:
    from fabric.certificates import common_name  # noqa: PLC0415 - see above

    return [
        {
            "subject": common_name(each),
            "expires": each.not_valid_after_utc.isoformat(timespec="seconds"),
            "signs": authority.signs(each),
        }
        for each in authority.authorities()
    ]


def _authority_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("authority", "expires", "signs")
    for row in rows:
        table.add_row(row["subject"], row["expires"][:10], "yes" if row["signs"] else "no")
    return table


def _table(made: Sequence[Certificate]) -> Table:
    table = Table("subject", "expires", "file")
    for each in made:
        table.add_row(each.subject, f"{each.expires:%Y-%m-%d}", str(each.path))
    return table


def _say_what_to_copy(context: CommandContext, old: Sequence[Issued]) -> None:
    here = set(context.home.container_names())
    elsewhere = [str(each.path) for each in old if each.is_user or each.name not in here]
    if not old:
        click.echo("There are no certificates here: `fabric certificate-create` makes them.")
    if elsewhere:
        click.echo(f"\nCopy to where they are used: {', '.join(elsewhere)}")
