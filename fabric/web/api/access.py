"""`/api/v1/tokens`, `/api/v1/users`, `/api/v1/me/password`: who may do what."""

from __future__ import annotations

import time
from typing import Annotated, Final

import msgspec

from fabric.users import PASSWORD_CHARACTERS_MAX, ROLES_MAX, User
from fabric.web.errors import NotAllowed, NotLoggedIn, Refused
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route
from fabric.web.tokens import DAYS, DAYS_MAX, NAME_CHARACTERS_MAX, TokenRecord

ACCESS_TOPIC: Final = "access"
"""Users or tokens have changed."""

Password = Annotated[str, msgspec.Meta(max_length=PASSWORD_CHARACTERS_MAX)]
RoleName = Annotated[str, msgspec.Meta(max_length=70)]
UserName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Roles = Annotated[list[RoleName], msgspec.Meta(max_length=ROLES_MAX)]


class Token(msgspec.Struct, frozen=True):
    """A token without its secret.

    Attributes:
        role: what it may at most.
        created, expires: seconds since 1970.
        expired: it is worth nothing any more.
    """

    id: str
    user: str
    role: str
    name: str
    created: int
    expires: int
    expired: bool


class NewToken(msgspec.Struct, frozen=True):
    """A token that was made.

    Attributes:
        token: what to send as `Authorization: Bearer …`; it is shown only this once.
    """

    id: str
    token: str
    role: str
    expires: int
    message: str


class TokensQuery(Request):
    """Whose tokens.

    Attributes:
        user: his; `*` for everybody's; left out: your own. Others' are for administrators.
    """

    user: Annotated[str, msgspec.Meta(max_length=64)] = ""


class TokenBody(Request):
    """A token to make.

    Attributes:
        name: what it is for.
        role: what it may at most; not more than you may.
        days: how long it is valid.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    role: Annotated[str, msgspec.Meta(pattern="^(viewer|operator|admin)$")] = "viewer"
    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] = DAYS


class OwnPasswordBody(Request):
    """Another password for yourself."""

    current: Password
    password: Password


class ShownUser(msgspec.Struct, frozen=True):
    """A user."""

    name: str
    roles: list[str]


class UserBody(Request):
    """A user to make."""

    name: UserName
    password: Password
    roles: Roles = msgspec.field(default_factory=list)


class PasswordBody(Request):
    """A password to give a user."""

    password: Password


class RolesBody(Request):
    """All roles a user is to have."""

    roles: Roles = msgspec.field(default_factory=list)


def shown_token(record: TokenRecord, now_s: float) -> Token:
    """A token as the API shows it."""
    return Token(
        record.id,
        record.user,
        record.role,
        record.name,
        record.created,
        record.expires,
        expired=now_s >= record.expires,
    )


def shown_user(user: User) -> ShownUser:
    """A user as the API shows him."""
    return ShownUser(user.name, list(user.roles))


async def list_tokens(call: Call) -> list[Token]:
    """The tokens of a user."""
    wanted = call.query.user or call.user.user
    if wanted != call.user.user and call.user.role < Role.ADMIN:
        raise NotAllowed(call.user.user, Role.ADMIN.label)
    found = await call.console.blocking(call.console.tokens.list, None if wanted == "*" else wanted)
    return [shown_token(record, time.time()) for record in found]


async def create_token(call: Call) -> NewToken:
    """Make a token for who asks."""
    _needs_password(call)
    body = call.body
    role = Role[body.role.upper()]
    if role > call.user.role:
        raise Refused(403, f"A token of yours may at most what the role {call.user.role.label} may.")
    record, text = await call.console.blocking(
        call.console.tokens.create, call.user.user, role, body.name, body.days, time.time()
    )
    call.console.events.publish(ACCESS_TOPIC)
    return NewToken(record.id, text, record.role, record.expires, f"Token {record.name} was made.")


async def revoke_token(call: Call) -> Done:
    """End a token: one's own, or as administrator anybody's."""
    owner = None if call.user.role >= Role.ADMIN else call.user.user
    record = await call.console.blocking(call.console.tokens.revoke, call.path["token"], owner)
    call.console.events.publish(ACCESS_TOPIC)
    return Done(f"Token {record.name} is revoked.")


async def change_own_password(call: Call) -> Done:
    """Give oneself another password; all logins end."""
    _needs_password(call)
    try:
        await call.console.gate.check_password(call.user.user, call.body.current, call.remote)
    except NotLoggedIn as error:  # he is, and stays so
        raise Refused(403, "The current password is wrong.") from error
    await call.console.blocking(call.console.users.set_password, call.user.user, call.body.password)
    _log_out(call, call.user.user)
    return Done("The password is changed. Log in with it.")


async def list_users(call: Call) -> list[ShownUser]:
    """All users."""
    return [shown_user(user) for user in await call.console.blocking(call.console.users.all)]


async def create_user(call: Call) -> Done:
    """Make a user."""
    body = call.body
    await call.console.blocking(call.console.users.add, body.name, body.password, body.roles)
    call.console.events.publish(ACCESS_TOPIC)
    return Done(f"User {body.name} was made.")


async def delete_user(call: Call) -> Done:
    """Delete a user."""
    name = call.path["name"]
    await call.console.blocking(call.console.users.delete, name)
    _log_out(call, name)
    return Done(f"User {name} is deleted.")


async def set_password(call: Call) -> Done:
    """Give a user another password."""
    name = call.path["name"]
    await call.console.blocking(call.console.users.set_password, name, call.body.password)
    _log_out(call, name)
    return Done(f"User {name} has another password.")


async def set_roles(call: Call) -> Done:
    """Give a user other roles."""
    name = call.path["name"]
    user = await call.console.blocking(call.console.users.set_roles, name, call.body.roles)
    call.console.events.publish(ACCESS_TOPIC)
    return Done(f"User {name} has the roles: {', '.join(user.roles) or 'none'}.")


def _needs_password(call: Call) -> None:
    """Refuse tokens: who has found one must not be able to make it last."""
    if call.user.token:
        raise Refused(403, "This cannot be done with a token.", "Use user and password.")


def _log_out(call: Call, user: str) -> None:
    call.console.gate.end_user(user)
    call.console.events.publish(ACCESS_TOPIC)


_USER: Final = f"{API}/users/<name>"

ROUTES: Final = (
    Route(
        "GET", f"{API}/tokens", list_tokens, "The tokens of a user.", query=TokensQuery, answer=list[Token]
    ),
    Route(
        "POST",
        f"{API}/tokens",
        create_token,
        "Make a token for yourself.",
        Role.VIEWER,
        body=TokenBody,
        answer=NewToken,
    ),
    Route("DELETE", f"{API}/tokens/<token>", revoke_token, "Revoke a token.", Role.VIEWER, answer=Done),
    Route(
        "POST",
        f"{API}/me/password",
        change_own_password,
        "Change your own password; all your logins end.",
        Role.VIEWER,
        body=OwnPasswordBody,
        answer=Done,
    ),
    Route("GET", f"{API}/users", list_users, "All users.", Role.ADMIN, answer=list[ShownUser]),
    Route("POST", f"{API}/users", create_user, "Make a user.", Role.ADMIN, body=UserBody, answer=Done),
    Route("DELETE", _USER, delete_user, "Delete a user, his tokens and logins.", Role.ADMIN, answer=Done),
    Route(
        "POST",
        f"{_USER}/password",
        set_password,
        "Give a user another password; his logins end.",
        Role.ADMIN,
        body=PasswordBody,
        answer=Done,
    ),
    Route(
        "POST",
        f"{_USER}/roles",
        set_roles,
        "Give a user these roles and no others.",
        Role.ADMIN,
        body=RolesBody,
        answer=Done,
    ),
)
