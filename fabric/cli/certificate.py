"""`certificate-create`: an authority of the fabric's own, and certificates for its containers and users."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fabric.addresses import certified_names
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.certificates import Authority, Certificate

days_option = click.option("--days", type=int, help="How long they are valid.  [default: 825]")


@command(
    "certificate-create",
    examples=[
        "fabric certificate-create",
        "fabric certificate-create --container node1 --host mq.example.com",
        "fabric certificate-create --user ann --out /home/ann/ann.pem",
    ],
)
@click.option(
    "--container",
    "containers",
    multiple=True,
    metavar="NAME",
    help="Container to make one for; may be repeated.  [default: all that have a folder on this host]",
)
@click.option("--user", "users", multiple=True, metavar="NAME", help="User to make one for; may be repeated.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME|ADDRESS",
    help="Where clients find the containers besides; may be repeated.",
)
@days_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, if it is one certificate.  [default: in FABRIC_HOME/certificates]",
)
@click.option("--new-authority", is_flag=True, help="Make a new authority: all earlier certificates end.")
@output_option
def certificate_create(
    context: CommandContext,
    *,
    containers: tuple[str, ...],
    users: tuple[str, ...],
    hosts: tuple[str, ...],
    days: int | None,
    out: Path | None,
    new_authority: bool,
    output: str,
) -> None:
    """Make certificates for connectors with TLS, and for users, signed by the fabric's own authority.

    The authority is made first if there is none: its key stays in the folder of the fabric on this host and
    is readable by its owner only. Brokers read a new certificate by themselves; they need no restart.
    """
    from fabric.certificates import DAYS, Authority  # noqa: PLC0415 - cryptography takes long to import

    chosen = containers or (() if users else tuple(context.home.container_names()))
    if not chosen and not users:
        raise click.UsageError("There are no containers on this host: name one with --container, or a user.")
    if out is not None and len(chosen) + len(users) != 1:
        raise click.UsageError("--out is for one certificate; name one container or one user.")
    names = {container: _hosts(context, container, hosts) for container in chosen}
    authority = Authority(context.home.certificates)
    with changing(authority, "certificate-create"):
        made = [authority.create()] if new_authority or not authority.exists else []
        made += _sign(
            context, authority, containers=names, users=users, out=out, days=DAYS if days is None else days
        )
    print_records(output, [each.to_json() for each in made], lambda: _table(made))
    if output == "table":
        click.echo(f"\nClients trust what is in {authority.certificate_path}")


def changing(authority: Authority, command_name: str) -> AbstractContextManager[None]:
    """Let no other command change certificates on this host meanwhile; it is said whom is waited for."""
    return authority.changing(f"fabric {command_name}", lambda text: click.echo(text, err=True))


def _sign(
    context: CommandContext,
    authority: Authority,
    *,
    containers: Mapping[str, list[str]],
    users: tuple[str, ...],
    out: Path | None,
    days: int,
) -> list[Certificate]:
    home = context.home
    return [
        *(
            authority.sign_container(name, hosts, out or home.container_certificate(name), days)
            for name, hosts in containers.items()
        ),
        *(authority.sign_user(name, out or home.user_certificate(name), days) for name in users),
    ]


def _hosts(context: CommandContext, container: str, more: tuple[str, ...]) -> list[str]:
    """Names and addresses by which clients find a container."""
    context.containers.check_exists(container)
    fields = context.containers.fields(container)
    return certified_names(fields, more, is_here=container in context.home.container_names())


def _table(made: list[Certificate]) -> Table:
    table = Table("subject", "expires", "file", "hosts")
    for each in made:
        table.add_row(each.subject, f"{each.expires:%Y-%m-%d}", str(each.path), ", ".join(each.hosts) or "-")
    return table
