"""`status`, `info` and `wait-for-provisioning`: how the fabric is."""

from importlib import metadata
from typing import Any

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records, render, show_registry, watch_option
from fabric.cli.waiting import MS_PER_S, provision_timeout_option
from fabric.provisioning import wait_provisioned
from fabric.records import ContainerRecord
from fabric.requirements import profile_status
from fabric.table import fact
from registry import paths

_STATUS_LINE = "{:<40} {:<14} {}"


@command("status", examples=["fabric status", "fabric status --watch", "fabric status --output json"])
@output_option
@watch_option
def status(context: CommandContext, output: str, watch: bool) -> None:
    """Compare the containers that are required with those that run.

    A profile is healthy with 100 %: as many connected containers have it as are required.
    """

    def draw() -> str:
        records = profile_status(context.profiles.requirements(), context.containers.all())
        return render(output, records, lambda: _status_table(records))

    show_registry(context, paths.provision(), draw, watch=watch)


def _status_table(records: list[dict[str, Any]]) -> str:
    lines = [_STATUS_LINE.format("[profile]", "[instances]", "[health]")]
    for record in records:
        required = f" of {record['minimum']}" if record["minimum"] else ""
        lines.append(
            _STATUS_LINE.format(record["profile"], f"{record['instances']}{required}", f"{record['health']}%")
        )
    return "\n".join(lines)


@command("info", examples=["fabric info"])
@output_option
def info(context: CommandContext, output: str) -> None:
    """Show where the parts of the fabric are."""
    facts = {
        "Fabric Release": metadata.version("fabric-mq"),
        "ZooKeeper URI": context.zookeeper_url,
        "Default Version": context.profiles.default_version(),
        "Fabric Home": str(context.home_path),
        "Current Container": context.current_container or "",
        "Containers": str(len(context.containers.names())),
    }
    print_records(output, facts, lambda: "\n".join(fact(f"{name}:", value) for name, value in facts.items()))


@command(
    "wait-for-provisioning",
    examples=[
        "fabric wait-for-provisioning",
        "fabric wait-for-provisioning --verbose --provision-timeout 30000",
    ],
)
@click.option("-v", "--verbose", is_flag=True, help="Say at every change what is waited for.")
@provision_timeout_option
def wait_for_provisioning(context: CommandContext, verbose: bool, provision_timeout: int) -> None:
    """Wait until all containers that should run are provisioned.

    Prints SUCCESS, or ERROR and which container failed; the exit code is then 1.
    """

    def report(container: ContainerRecord) -> None:
        if verbose:
            click.echo(f"Waiting: Container {container.id} is {container.provision.status}", err=True)

    if not verbose:
        click.echo("Waiting for the containers to be provisioned.", err=True)
    done = False
    try:
        wait_provisioned(context.session, provision_timeout / MS_PER_S, report=report)
        done = True
    finally:
        click.echo("SUCCESS" if done else "ERROR")
