"""The `user-…`, `role-…` and `token-…` commands: who may do what."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

import click

from fabric.cli.asking import ask_secret
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.errors import UserInvalid
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.users import Users
    from fabric.web.tokens import TokenStore

_password_option = click.option(
    "--password", metavar="PASSWORD", help="The password, of 8 characters at least; default: asked for."
)


def _users(context: CommandContext) -> Users:
    from fabric.users import Users  # noqa: PLC0415 - only these commands need it

    return Users(context.session)


def _tokens(context: CommandContext) -> TokenStore:
    from fabric.web.tokens import TokenStore  # noqa: PLC0415 - likewise

    return TokenStore(context.session)


def _new_password(user: str, password: str | None) -> str:
    if password is not None:
        return password
    return ask_secret(
        f"New password of {user}", "The password is missing: give it with --password.", confirm=True
    )


@command("user-list", examples=["fabric user-list", "fabric user-list --output json"])
@output_option
def user_list(context: CommandContext, output: str) -> None:
    """List the users and their roles."""
    users = _users(context).all()

    def table() -> Table:
        made = Table("user", "roles")
        for user in users:
            made.add_row(user.name, ", ".join(user.roles) or "none")
        return made

    print_records(output, [{"name": user.name, "roles": list(user.roles)} for user in users], table)


@command(
    "user-add",
    examples=["fabric user-add ann --role operator", "fabric user-add shop --role viewer --role buyers"],
)
@click.argument("user")
@_password_option
@click.option(
    "--role", "roles", multiple=True, metavar="ROLE", help="viewer, operator, admin, or one of your own."
)
def user_add(context: CommandContext, user: str, password: str | None, roles: tuple[str, ...]) -> None:
    """Make a USER of brokers, console and API."""
    _users(context).add(user, _new_password(user, password), roles)
    click.echo(f"User {user} was made.")


@command("user-remove", examples=["fabric user-remove ann"])
@click.argument("user")
def user_remove(context: CommandContext, user: str) -> None:
    """Delete a USER, and his tokens."""
    _users(context).delete(user)
    click.echo(f"User {user} is deleted.")


@command("user-password", examples=["fabric user-password ann"])
@click.argument("user")
@_password_option
def user_password(context: CommandContext, user: str, password: str | None) -> None:
    """Give a USER another password; his logins end."""
    _users(context).get(user)
    _users(context).set_password(user, _new_password(user, password))
    click.echo(f"User {user} has another password.")


@command("role-add", examples=["fabric role-add ann operator"])
@click.argument("user")
@click.argument("roles", nargs=-1, required=True)
def role_add(context: CommandContext, user: str, roles: tuple[str, ...]) -> None:
    """Give a USER more ROLES."""
    _say_roles(user, _users(context).add_roles(user, roles).roles)


@command("role-remove", examples=["fabric role-remove ann operator"])
@click.argument("user")
@click.argument("roles", nargs=-1, required=True)
def role_remove(context: CommandContext, user: str, roles: tuple[str, ...]) -> None:
    """Take ROLES from a USER."""
    _say_roles(user, _users(context).remove_roles(user, roles).roles)


def _say_roles(user: str, roles: tuple[str, ...]) -> None:
    click.echo(f"User {user} has the roles: {', '.join(roles) or 'none'}.")


@command("token-list", examples=["fabric token-list", "fabric token-list ann"])
@click.argument("user", default="")
@output_option
def token_list(context: CommandContext, user: str, output: str) -> None:
    """List the tokens of a USER, or of all."""
    tokens = _tokens(context).list(user or None)

    def table() -> Table:
        made = Table("token", "user", "role", "name", "made", "expires")
        for token in tokens:
            expires = "expired" if token.expires <= time.time() else _day(token.expires)
            made.add_row(token.id, token.user, token.role, token.name, _day(token.created), expires)
        return made

    records: list[dict[str, Any]] = [
        {name: getattr(token, name) for name in ("id", "user", "role", "name", "created", "expires")}
        for token in tokens
    ]
    print_records(output, records, table)


def _day(time_s: int) -> str:
    return f"{datetime.datetime.fromtimestamp(time_s, datetime.UTC):%Y-%m-%d}"


@command("token-create", examples=["fabric token-create ann deployment --role operator --days 30"])
@click.argument("user")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    default="viewer",
    show_default=True,
    help="What it may at most.",
)
@click.option("--days", type=int, help="How long it is valid.  [default: 90]")
@output_option
def token_create(
    context: CommandContext, *, user: str, name: str, role: str, days: int | None, output: str
) -> None:
    """Make a token for a USER; NAME says what it is for. It is shown only now."""
    from fabric.web.roles import Role, role_of  # noqa: PLC0415 - likewise
    from fabric.web.tokens import DAYS  # noqa: PLC0415 - likewise

    own = role_of(_users(context).effective_roles(user))
    wanted = Role[role.upper()]
    if own is None or own < wanted:
        raise UserInvalid(f"User {user} has not the role {role} himself.", f"fabric role-add {user} {role}")
    record, text = _tokens(context).create(user, wanted, name, DAYS if days is None else days, time.time())
    shown = {"id": record.id, "token": text, "role": record.role, "expires": record.expires}
    print_records(output, shown, lambda: text)


@command("token-revoke", examples=["fabric token-revoke 0f3a9c51b2d4e678"])
@click.argument("token")
def token_revoke(context: CommandContext, token: str) -> None:
    """End a TOKEN, named by its id."""
    record = _tokens(context).revoke(token)
    click.echo(f"Token {record.name} of {record.user} is revoked.")
