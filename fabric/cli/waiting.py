"""Long waits: what is waited for is said, and after Ctrl-C what goes on without us."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Final

import click

from fabric.cli.context import CommandContext

MS_PER_S: Final = 1000

provision_timeout_option = click.option(
    "--provision-timeout",
    type=click.IntRange(min=0),
    default=120_000,
    show_default=True,
    metavar="MS",
    help="How long to wait, in milliseconds.",
)


@contextlib.contextmanager
def waiting(text: str, when_interrupted: str) -> Iterator[None]:
    """Say what is waited for; after Ctrl-C, what goes on without us."""
    progress(text)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\n{when_interrupted} See: fabric container-list", err=True)
        raise


def progress(text: str) -> None:
    """Say how far it is, to people only: scripts get the results."""
    if sys.stderr.isatty():
        click.echo(text, err=True)


def wait_provisioned(
    context: CommandContext, name: str, timeout_s: float, say_interrupted: Callable[[], None]
) -> None:
    """Wait until a container is what its profiles ask for.

    Raises:
        ProvisioningFailed, ProvisioningTimedOut: as they say.
    """
    from fabric import provisioning  # noqa: PLC0415 - only when it is needed

    click.echo(f"Waiting for container {name} to provision.")
    try:
        provisioning.wait_provisioned(
            context.session,
            timeout_s,
            names=[name],
            report=lambda record: progress(f"Container {record.id} is {record.provision.status}"),
        )
    except KeyboardInterrupt:
        say_interrupted()
        raise
