"""Pages about access: one's own account, and all users."""

from __future__ import annotations

import datetime
import time
from typing import Final

from fabric.web.html import page
from fabric.web.roles import Role
from fabric.web.routes import Answer, Call, Route
from fabric.web.tokens import DAYS, DAYS_MAX, NAME_CHARACTERS_MAX


def day(time_s: float) -> str:
    """A day as pages show it."""
    return f"{datetime.datetime.fromtimestamp(time_s, datetime.UTC):%Y-%m-%d}"


async def account(call: Call) -> Answer:
    """Who is logged in, his tokens and his password; its fragment is the list of tokens."""
    tokens = await call.console.blocking(call.console.tokens.list, call.user.user)
    template = "account_tokens.html" if call.is_fragment else "account.html"
    return page(
        call,
        template,
        tokens=tokens,
        day=day,
        now_s=time.time(),
        roles=[role.label for role in Role if role <= call.user.role],
        days=DAYS,
        days_max=DAYS_MAX,
        name_characters_max=NAME_CHARACTERS_MAX,
    )


async def users(call: Call) -> Answer:
    """All users; its fragment is their list."""
    found = await call.console.blocking(call.console.users.all)
    tokens = await call.console.blocking(call.console.tokens.list)
    owned = [record.user for record in tokens]
    template = "users_list.html" if call.is_fragment else "users.html"
    return page(
        call,
        template,
        users=found,
        token_counts={user.name: owned.count(user.name) for user in found},
        roles=[role.label for role in Role],
    )


ROUTES: Final = (
    Route("GET", "/account", account, "Your account: role, tokens, password."),
    Route("GET", "/users", users, "All users.", Role.ADMIN),
)
