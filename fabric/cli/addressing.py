"""The options that say how a new container is reached, which several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fabric.addresses import RESOLVERS

F = TypeVar("F", bound=Callable[..., Any])

PORT = click.IntRange(0, 65535)

manual_ip_option = click.option(
    "-m", "--manual-ip", metavar="ADDRESS", help="The address of the resolver manualip."
)


def address_options(*, resolver: str, bind_address: str, ports: str) -> Callable[[F], F]:
    """Add `--resolver`, `--manual-ip`, `--bind-address`, `--min-port` and `--max-port`.

    All are None if they are not given; the arguments say what holds then.
    """

    def decorate(function: F) -> F:
        for option in reversed(
            (
                click.option(
                    "-r",
                    "--resolver",
                    type=click.Choice(RESOLVERS),
                    help=f"Which address is told to others; default: {resolver}.",
                ),
                manual_ip_option,
                click.option(
                    "-b",
                    "--bind-address",
                    metavar="ADDRESS",
                    help=f"Where to listen; default: {bind_address}.",
                ),
                click.option("--min-port", type=PORT, help=f"Lowest port; default: {ports}."),
                click.option("--max-port", type=PORT, help=f"Highest port; default: {ports}."),
            )
        ):
            function = option(function)
        return function

    return decorate


def check_ports(port_min: int | None, port_max: int | None) -> None:
    """Raise click.UsageError for a range that holds no port."""
    if port_min is not None and port_max is not None and port_min > port_max:
        raise click.UsageError("--min-port is above --max-port.")
