"""Logging in and out; the first page."""

from __future__ import annotations

from typing import Final

from fabric.web.errors import Refused
from fabric.web.gate import safe_location
from fabric.web.html import page
from fabric.web.routes import Answer, Call, Request, Route, redirect


class LoginQuery(Request):
    """Where to go then."""

    next: str = "/"


class LoginForm(Request):
    """User and password."""

    user: str
    password: str
    next: str = "/"


def first(call: Call) -> Answer:
    """The first page is the list of containers."""
    del call
    return redirect("/containers")


def login(call: Call) -> Answer:
    """Ask for user and password, unless somebody is logged in."""
    if call.identity is not None:
        return redirect(safe_location(call.query.next))
    return login_page(call, call.query.next)


def login_page(call: Call, next_url: str, error: Refused | None = None, user: str = "") -> Answer:
    """The page that asks for user and password, or offers a provider's; with what went wrong before.

    Args:
        call: the request.
        next_url: where to go then.
        error: what went wrong.
        user: who was typed in.
    """
    said = "" if error is None else str(error)
    offers = call.console.provider_logins.offers(next_url)
    answer = page(call, "login.html", next=next_url, user=user, error=said, offers=offers)
    if error is not None:
        answer.status = error.status
        answer.headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    return answer


async def log_in(call: Call) -> Answer:
    """Log in, in a session that nobody knew before."""
    if call.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "This request comes from another site.", "Use the console's own page.")
    form = call.body
    try:
        session = await call.console.gate.log_in(form.user, form.password, call.remote)
    except Refused as error:
        return login_page(call, form.next, error, form.user)
    if call.identity is not None:
        call.console.gate.log_out(call.identity)
    answer = redirect(safe_location(form.next))
    answer.cookies.append(call.console.gate.cookie(session.token))
    return answer


async def log_out(call: Call) -> Answer:
    """Log out; also at the provider by whose pages somebody came, if the realm says so."""
    ended = None if call.identity is None else call.console.gate.log_out(call.identity)
    away = await call.console.provider_logins.leave(ended.realm) if ended is not None and ended.realm else ""
    answer = Answer(status=204, headers={"HX-Redirect": away or "/login"})
    answer.cookies.append(call.console.gate.cookie(""))
    return answer


ROUTES: Final = (
    Route("GET", "/", first, "The first page."),
    Route("GET", "/login", login, "Asks for user and password.", role=None, query=LoginQuery),
    Route("POST", "/login", log_in, "Logs in.", role=None, body=LoginForm),
    Route("POST", "/logout", log_out, "Logs out.", role=None),
)
