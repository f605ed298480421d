"""What the commands have in common that make containers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def profile_options(function: F) -> F:
    """Add `--profile`, which may be repeated, and `--version`."""
    for option in (
        click.option("--version", help="Version of the profiles; default: the fabric's default version."),
        click.option(
            "--profile", "profiles", multiple=True, help="Profile of the containers; default: default."
        ),
    ):
        function = option(function)
    return function


def say_created(created: Iterable[str], failed: Mapping[str, str]) -> None:
    """Print which containers were made, and why others were not; end with 1 if there are such."""
    for number, name in enumerate(created):
        if not number:
            click.echo("The following containers have been created successfully:")
        click.echo(f"\tContainer: {name}.")
    if failed:
        click.echo("The following containers have failed:", err=True)
        for name, message in failed.items():
            click.echo(f"\t{name}: {message}", err=True)
        sys.exit(1)
