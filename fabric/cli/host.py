"""`host-stop` and `systemd-install`: what concerns a host as a whole."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

from fabric.cli.context import CommandContext, command
from fabric.errors import NoFabric

PASSED_ON = ("ZOOKEEPER_HOME", "JAVA_HOME", "FABRIC_LOG_FORMAT", "FABRIC_MASTER_KEY_FILE")
"""Variables that a container heeds, and that a shell's would be missing in a unit."""


@command("host-stop", examples=["fabric host-stop", "fabric host-stop --keep-zookeeper"])
@click.option("--keep-zookeeper", is_flag=True, help="Leave the ZooKeeper that this host runs alone.")
def host_stop(context: CommandContext, keep_zookeeper: bool) -> None:
    """End all container processes of this host, to start again with its root container.

    What they should be stays: unlike after `container-stop`, they come back with the root container, by
    `fabric container-start root` or when the host boots. Masters are taken over by slaves on other hosts.
    """
    from fabric.host_stop import stop_host  # noqa: PLC0415 - only here

    stop_host(context.home, click.echo, zookeeper=not keep_zookeeper)


@command(
    "systemd-install",
    examples=[
        "fabric systemd-install --shared /shared",
        "fabric systemd-install --directory ./units --user fabric",
    ],
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write the units; default: /etc/systemd/system.",
)
@click.option("--user", "run_as", help="Who runs the fabric; default: who types this.")
@click.option(
    "--shared",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of stores outside the home; may be repeated.",
)
def systemd_install(
    context: CommandContext, directory: Path | None, run_as: str | None, shared: tuple[Path, ...]
) -> None:
    """Write systemd units that run this host's root container, and say what to type next.

    The children of the root container, and its ZooKeeper, go on when it is restarted, and end with the host.
    """
    from fabric.systemd import FOLDER, Host, write_units  # noqa: PLC0415 - only here

    root = context.current_container
    if root is None:
        raise NoFabric(context.home_path)
    host = Host(
        context.home.path,
        run_as or getpass.getuser(),
        Path(sys.executable),
        [path.absolute() for path in shared],
        {name: context.environment[name] for name in PASSED_ON if context.environment.get(name)},
    )
    for path in write_units(host, directory or FOLDER):
        click.echo(f"Wrote {path}")
    click.echo("The containers that run now were not started by systemd. To hand them over:")
    for line in (
        "systemctl daemon-reload",
        f"fabric --home {host.home} host-stop",
        f"systemctl enable --now fabric-host@{root} fabric@{root}",
    ):
        click.echo(f"  {line}")
