"""HTTP: requests become calls of handlers, and what these answer becomes responses. Klein finds the route."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, unquote

import msgspec
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.server import Request as WebRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from broker.management.jobs import RUNNING
from broker.management.model import JobInfo
from fabric.audit import DONE
from fabric.errors import FabricError
from fabric.web import html
from fabric.web.errors import NotAllowed, NotLoggedIn, Refused, RequestInvalid, code_of, error_body, status_of
from fabric.web.gate import challenge, login_location
from fabric.web.limited import UNLIMITED, LimitedRequest, LimitedSite
from fabric.web.routes import JSON, Answer, Call, Flow, Identity, Request, Route, Stream, redirect
from fabric.web.secret_znodes import without_secrets
from fabric.web.streams import RequestListener
from fabric.web.table import ROUTES
from registry.errors import RegistryError

if TYPE_CHECKING:
    from fabric.web.console import Console
    from fabric.web.settings import WebSettings

log = logging.getLogger("fabric.web")
audit = logging.getLogger("fabric.audit")

BAD: Final = 400
"""The lowest status that is no success."""
PATH_CHARACTERS_LOGGED: Final = 300
VALUE_CHARACTERS_LOGGED: Final = 200
AUDITED_FIELDS: Final = (
    "names",
    "name",
    "container",
    "parent",
    "number",
    "version",
    "profile",
    "profiles",
    "parents",
    "group",
    "broker",
    "queue",
    "target",
    "user",
    "roles",
    "role",
    "id",
    "minimum",
    "maximum",
    "resolver",
    "manual_ip",
    "location",
    "path",
)
"""Fields of bodies that are logged: names, numbers and addresses."""

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
TRANSPORT_SECURITY: Final = "max-age=31536000"


class RoutedSite(LimitedSite):
    """Finds routes in paths whose segments are encoded."""

    def getResourceFor(self, request: WebRequest) -> object:  # noqa: N802 - Twisted's name
        """Find routes by the path as it was sent: a name with a slash in it (`%2F`) is one segment."""
        request.postpath = request.path[1:].split(b"/")
        return super().getResourceFor(request)  # type: ignore[no-untyped-call]  # likewise


def build_site(console: Console, settings: WebSettings = UNLIMITED) -> LimitedSite:
    """The site of a console, which answers so many requests."""
    app = Klein()
    for route in ROUTES:
        _enter(app, route, console)

    def unknown(request: WebRequest, failure: Any) -> Deferred[bytes]:  # noqa: ANN401 - Twisted's Failure
        error = failure.value
        responder = Responder(console, _nowhere(request))
        if isinstance(error, MethodNotAllowed):
            return Deferred.fromCoroutine(responder.refuse_method(request, error.valid_methods or ()))
        status = error.code if error.code and error.code >= 400 else 404  # it would send elsewhere
        what = "There is no such page." if status == 404 else f"This cannot be done here: {error.name}."
        return Deferred.fromCoroutine(responder.refuse(request, Refused(status, what), None))

    app.handle_errors(HTTPException)(unknown)
    site = RoutedSite(app.resource(), settings, requestFactory=LimitedRequest)
    site.displayTracebacks = False
    return site


def _nowhere(request: WebRequest) -> Route:
    """The route of a request for which there is none."""
    return Route(_text(request.method), _text(request.path), _nothing, "", None)


def _nothing(call: Call) -> object:
    raise AssertionError(call)


def _enter(app: Klein, route: Route, console: Console) -> None:
    responder = Responder(console, route)

    def respond(request: WebRequest, **path: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(responder.respond(request, path))

    app.route(
        route.path, methods=[route.method], endpoint=f"{route.method} {route.path}", strict_slashes=False
    )(respond)


class Responder:
    """Answers the requests for one route."""

    def __init__(self, console: Console, route: Route) -> None:
        self._console = console
        self._route = route

    async def respond(self, request: WebRequest, path: Mapping[str, str]) -> Any:  # noqa: ANN401 - Klein's
        """Answer one request."""
        headers = _headers(request)
        identity: Identity | None = None
        call: Call | None = None
        try:
            identity = await self._console.gate.admit(self._route, headers, _remote(request))
            call = Call(
                self._console,
                identity,
                _names(path),
                read_fields(self._route.query, _arguments(request)),
                self._body(request, headers),
                _text(request.uri),
                _remote(request),
                headers,
            )
            found = self._route.handler(call)
            answer = await cast("Awaitable[object]", found) if isinstance(found, Awaitable) else found
            if isinstance(answer, Stream):
                return await self._stream(request, answer, identity)
            if isinstance(answer, Flow):
                self._set_headers(request, {"Content-Type": answer.content_type, "X-Accel-Buffering": "no"})
                await answer.write(request)
                return b""
            sent = self._send(request, _as_answer(answer))
        except CancelledError:  # the client has gone
            self._write_down(request, identity, call, "client gone")
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is answered
            return await self.refuse(request, error, identity, call)
        outcome = outcome_of(answer) if request.code < BAD else str(request.code)
        self._write_down(request, identity, call, outcome)
        return sent

    async def refuse_method(self, request: WebRequest, methods: Iterable[str]) -> bytes:
        """Answer a method that the path does not have."""
        allowed = {"Allow": ", ".join(sorted({*methods, "OPTIONS"}))}
        if request.method == b"OPTIONS":
            return self._send(request, Answer(status=204, headers=allowed))
        what = f"The method {_text(request.method)[:20]} cannot be used here."
        return await self.refuse(request, Refused(405, what, headers=allowed), None)

    async def refuse(
        self, request: WebRequest, error: Exception, identity: Identity | None, call: Call | None = None
    ) -> bytes:
        """Answer with an error."""
        if not isinstance(error, FabricError | RegistryError):
            reference = secrets.token_hex(4)
            log.error(
                "Request %s %s failed, %s:", self._route.method, self._route.path, reference, exc_info=error
            )
            error = Refused(
                500, "Something went wrong here.", f"The log of this container has it as {reference}."
            )
        status = status_of(error)
        headers = dict(error.headers) if isinstance(error, Refused) else {}
        asked = _headers(request)
        if status == 401:
            headers |= challenge(asked)
        who = error.identity if isinstance(error, NotAllowed) and identity is None else identity
        self._write_down(request, who, call, f"{status} {code_of(error)}")
        if self._route.is_api:
            answer = Answer(msgspec.json.encode(error_body(error)), JSON, status, headers)
        elif isinstance(error, NotLoggedIn) and "hx-request" in asked:
            answer = Answer(status=401, headers={"HX-Redirect": "/login"})
        elif isinstance(error, NotLoggedIn):
            answer = redirect(login_location(_text(request.uri)))
        else:
            page = html.error_page(self._console, identity, error, status, is_fragment="hx-request" in asked)
            answer = Answer(page, status=status, headers=headers)
        return self._send(request, answer)

    def _body(self, request: WebRequest, headers: Mapping[str, str]) -> Request | None:
        """What the request's body says. Raises `RequestInvalid`, `Refused`."""
        kind = self._route.body
        if kind is None:
            return None
        content = request.content.read() if request.content else b""
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == JSON:
            try:
                return msgspec.json.decode(content or b"{}", type=kind)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise RequestInvalid(f"The body cannot be understood: {error}.") from None
        if media == "application/x-www-form-urlencoded" or not content:
            return read_fields(kind, _form(content))
        raise Refused(415, f"The body is {media or 'of no kind'}, not {JSON}.")

    def _send(self, request: WebRequest, answer: Answer) -> bytes:
        request.setResponseCode(answer.status)
        self._set_headers(request, {"Content-Type": answer.content_type, **answer.headers})
        for cookie in answer.cookies:
            request.responseHeaders.addRawHeader("Set-Cookie", cookie)
        return answer.body

    def _set_headers(self, request: WebRequest, headers: Mapping[str, str]) -> None:
        secure = {"Strict-Transport-Security": TRANSPORT_SECURITY} if self._console.is_secure else {}
        for name, value in {**SECURITY_HEADERS, **secure, **headers}.items():
            request.setHeader(name, value)
        request.responseHeaders.removeHeader("Server")

    def _write_down(
        self, request: WebRequest, identity: Identity | None, call: Call | None, outcome: str
    ) -> None:
        """Log who has asked for a change, and what became of it. No secret is part of it."""
        if self._route.changes and self._route.role is not None:
            user = "nobody" if identity is None else identity.user
            body = call.body if call is not None else None
            audit.info(
                "%s from %s%s: %s %s%s: %s",
                user,
                _remote(request),
                f" with token {identity.token}" if identity and identity.token else "",
                self._route.method,
                _text(request.path)[:PATH_CHARACTERS_LOGGED],
                described(body),
                outcome,
            )
            action = f"{self._route.method} {_text(request.path)[:PATH_CHARACTERS_LOGGED]}{described(body)}"
            self._console.audit.request(
                identity, _remote(request), without_secrets(action), outcome, is_page=_is_browsers(request)
            )

    async def _stream(self, request: WebRequest, stream: Stream, identity: Identity | None) -> bytes:
        headers = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        if request.method == b"HEAD":
            return self._send(request, Answer(content_type="text/event-stream", headers=headers))
        gate, events = self._console.gate, self._console.events
        listener = RequestListener(
            request, lambda: identity is None or gate.still_holds(identity), self._console.reactor.seconds
        )
        events.add(listener, stream.topics)

        def over(_: object) -> None:
            listener.over()
            events.remove(listener)

        request.notifyFinish().addBoth(over)
        self._set_headers(request, headers)
        listener.begin()
        await listener.ended
        return b""


def outcome_of(answer: object) -> str:
    """What has become of a change: done, or begun as a job of a broker, which tells of its end itself."""
    job = getattr(answer, "job", None)
    return f"begun as job {job.id}" if isinstance(job, JobInfo) and job.state == RUNNING else DONE


def _is_browsers(request: WebRequest) -> bool:
    return request.getHeader("hx-request") is not None


def described(body: object) -> str:
    """What a request's body asks for, as far as it is a name, for the log."""
    said = []
    for name in AUDITED_FIELDS:
        value = getattr(body, name, None)
        if value not in (None, "", [], ()):
            text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            said.append(f"{name}={text[:VALUE_CHARACTERS_LOGGED]!r}")
    return f" ({', '.join(said)})" if said else ""


def _names(path: Mapping[str, str]) -> dict[str, str]:
    """The variable parts of a path, decoded. Raises `RequestInvalid` if they are no text."""
    try:
        return {name: unquote(value, errors="strict") for name, value in path.items()}
    except UnicodeDecodeError:
        raise RequestInvalid("The address is not UTF-8.") from None


def read_fields(kind: type[Request], arguments: Mapping[str, list[str]]) -> Request:
    """A query or a form as what a route reads.

    An empty field says nothing where a text is not what is asked for.

    Raises:
        RequestInvalid: it is something else.
    """
    given: dict[str, object] = {}
    known = {each.encode_name: each.type for each in msgspec.structs.fields(kind)}
    for name, values in arguments.items():
        wanted = msgspec.inspect.type_info(known[name]) if name in known else None
        if isinstance(wanted, msgspec.inspect.ListType):
            given[name] = values
        elif values[-1] or wanted is None or _takes_text(wanted):
            given[name] = values[-1]
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"This cannot be meant: {error}.") from None


def _takes_text(wanted: msgspec.inspect.Type) -> bool:
    kinds = wanted.types if isinstance(wanted, msgspec.inspect.UnionType) else (wanted,)
    return any(isinstance(kind, msgspec.inspect.StrType) for kind in kinds)


def _as_answer(found: object) -> Answer:
    return found if isinstance(found, Answer) else Answer(msgspec.json.encode(found), JSON)


def _headers(request: WebRequest) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[0].decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _arguments(request: WebRequest) -> dict[str, list[str]]:
    query = request.uri.partition(b"?")[2]
    return _form(query)


def _form(content: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(
            content.decode(),
            keep_blank_values=True,
            strict_parsing=False,
            max_num_fields=10_000,
            errors="strict",
        )
    except ValueError as error:
        raise RequestInvalid(f"The fields cannot be read: {error}.") from None


def _remote(request: WebRequest) -> str:
    return cast("LimitedRequest", request).remote
