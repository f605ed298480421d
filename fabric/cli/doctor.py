"""`doctor`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.errors import FabricError
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.doctor.model import Result
    from fabric.doctor.scene import Scene

PROBLEMS_FOUND = 1
"""Exit code."""


@command(
    "doctor",
    examples=["fabric doctor", "fabric doctor --only mount --only clock", "fabric doctor --output json"],
)
@click.option(
    "--only", multiple=True, metavar="CHECK", help="Only this check or family of checks; may be repeated."
)
@click.option("--list", "list_checks", is_flag=True, help="List the checks there are.")
@click.option(
    "-q", "--quiet", is_flag=True, help="Say nothing of what is as it should be, or needs a registry."
)
@output_option
def doctor(
    context: CommandContext, *, only: tuple[str, ...], list_checks: bool, quiet: bool, output: str
) -> None:
    """Look for what is wrong with this host and its fabric, and say what to do about it.

    Works before there is a fabric, too. The exit code is 1 if there is a problem; warnings are none.
    """
    from fabric.doctor.examine import NO_REGISTRY, chosen, examine, is_healthy  # noqa: PLC0415 - takes long to import
    from fabric.doctor.model import State  # noqa: PLC0415 - likewise

    checks = chosen(only)
    if list_checks:
        table = Table("check", "looks at")
        for check in checks:
            table.add_row(check.name, check.summary)
        records = [{"check": check.name, "looks_at": check.summary} for check in checks]
        print_records(output, records, lambda: table)
        return
    results = []
    for result in examine(_scene(context), checks):
        results.append(result)
        is_plain = result.verdict.state is State.OK or result.verdict == NO_REGISTRY
        if output == "table" and not (quiet and is_plain):
            click.echo(_line(result))
    if output != "table":
        print_records(output, [result.to_json() for result in results], lambda: "")
    else:
        click.echo(_summary(results))
    if not is_healthy(results):
        sys.exit(PROBLEMS_FOUND)


def _scene(context: CommandContext) -> Scene:
    """The host, and its registry if there is one that can be reached."""
    from fabric.doctor.scene import Machine, Scene  # noqa: PLC0415 - takes long to import
    from registry.errors import RegistryError  # noqa: PLC0415 - likewise

    machine = Machine(environment=context.environment)
    try:
        return Scene(context.home, machine, context.session)
    except (FabricError, RegistryError, click.UsageError) as error:
        text = error.message if isinstance(error, click.UsageError) else str(error)
        return Scene(context.home, machine, no_registry=text)


def _line(result: Result) -> str:
    verdict = result.verdict
    line = f"{verdict.state.value:<11}  {result.check:<24}  {verdict.what}"
    return f"{line}\n{'':<39}{verdict.do_next}" if verdict.do_next else line


def _summary(results: Sequence[Result]) -> str:
    from fabric.doctor.model import State  # noqa: PLC0415 - takes long to import

    counts = {state: sum(result.verdict.state is state for result in results) for state in State}
    return ", ".join(
        f"{counts[state]} {word}"
        for state, word in (
            (State.PROBLEM, "problems"),
            (State.WARNING, "warnings"),
            (State.NOT_CHECKED, "not checked"),
            (State.OK, "ok"),
        )
    )
