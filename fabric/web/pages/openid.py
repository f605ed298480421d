"""Logging in by the pages of an OpenID provider: where it begins, and where browsers come back to.

A browser that comes back comes from another site, and would not send the cookie of its new login with what
it is redirected to. So it is shown a page, and that page leads on.
"""

from __future__ import annotations

from typing import Final

from fabric.realms.code_flow import CALLBACK, START
from fabric.web import cookies
from fabric.web.errors import Refused
from fabric.web.gate import safe_location
from fabric.web.html import page
from fabric.web.pages.login import LoginQuery, login_page
from fabric.web.pending_logins import PENDING_S_MAX
from fabric.web.routes import Answer, Call, Request, Route, redirect

COOKIE: Final = "fabric-login"


class ComeBack(Request, forbid_unknown_fields=False):
    """What a provider says when it sends a browser back; some say more (RFC 6749, 4.1.2)."""

    state: str = ""
    code: str = ""
    iss: str = ""
    error: str = ""
    error_description: str = ""


async def begin(call: Call) -> Answer:
    """Send a browser to the provider, unless somebody is logged in."""
    if call.identity is not None:
        return redirect(safe_location(call.query.next))
    try:
        logins = call.console.provider_logins
        location, pending = await logins.begin(call.path["realm"], call.query.next, call.remote)
    except Refused as error:
        return login_page(call, call.query.next, error)
    answer = redirect(location)
    answer.cookies.append(_cookie(call, pending.browser))
    return answer


async def come_back(call: Call) -> Answer:
    """Log in who comes from the provider, in a session that nobody knew before."""
    logins, said = call.console.provider_logins, call.query
    browser = cookies.found(call.headers, COOKIE, is_secure=call.console.is_secure)
    try:
        pending = logins.come_back(call.path["realm"], said.state, browser)
    except Refused as error:
        return login_page(call, "/", error)
    try:
        if said.error or not said.code:
            raise logins.refused(pending, said.error or "no code", said.error_description, call.remote)
        session = await logins.finish(pending, said.code, said.iss, call.remote)
    except Refused as error:
        answer = login_page(call, pending.next, error)
        answer.cookies.append(_cookie(call, ""))
        return answer
    if call.identity is not None:
        call.console.gate.log_out(call.identity)
    location = safe_location(pending.next)
    answer = page(call, "login_done.html", next=location)
    answer.headers["Refresh"] = f"0; url={location}"
    answer.cookies += [call.console.gate.cookie(session.token), _cookie(call, "")]
    return answer


def _cookie(call: Call, token: str) -> str:
    """What binds a login to the browser that began it; sent when the provider's page leads back."""
    secure = call.console.is_secure
    return cookies.to_set(COOKIE, token, is_secure=secure, same_site="Lax", age_s_max=int(PENDING_S_MAX))


ROUTES: Final = (
    Route(
        "GET",
        START.format(realm="<realm>"),
        begin,
        "Sends a browser to the pages of an OpenID provider.",
        role=None,
        query=LoginQuery,
    ),
    Route(
        "GET",
        CALLBACK.format(realm="<realm>"),
        come_back,
        "Logs in who comes from the pages of an OpenID provider.",
        role=None,
        query=ComeBack,
    ),
)
