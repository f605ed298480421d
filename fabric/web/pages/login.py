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
    return page(call, "login.html", next=call.query.next, user="", error="")


async def log_in(call: Call) -> Answer:
    """Log in, in a session that nobody knew before."""
    if call.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "This request comes from another site.", "Use the console's own page.")
    form = call.body
    try:
        session = await call.console.gate.log_in(form.user, form.password, call.remote)
    except Refused as error:
        answer = page(call, "login.html", next=form.next, user=form.user, error=str(error))
        answer.status = error.status
        answer.headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
        return answer
    if call.identity is not None:
        call.console.gate.log_out(call.identity)
    answer = redirect(safe_location(form.next))
    answer.cookies.append(call.console.gate.cookie(session.token))
    return answer


def log_out(call: Call) -> Answer:
    """Log out."""
    if call.identity is not None:
        call.console.gate.log_out(call.identity)
    answer = Answer(status=204, headers={"HX-Redirect": "/login"})
    answer.cookies.append(call.console.gate.cookie(""))
    return answer


ROUTES: Final = (
    Route("GET", "/", first, "The first page."),
    Route("GET", "/login", login, "Asks for user and password.", role=None, query=LoginQuery),
    Route("POST", "/login", log_in, "Logs in.", role=None, body=LoginForm),
    Route("POST", "/logout", log_out, "Logs out.", role=None),
)
