"""Asks a provider over HTTP, blocking, with limits of time and size. No answer leads anywhere else."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from fabric.addresses import is_loopback
from fabric.realms import RealmInvalid, RealmUnavailable

ANSWER_BYTES_MAX: Final = 1 << 20
"""Of what the provider says."""
REFUSED: Final = (400, 401)
"""What a provider answers with an error that stands in the answer (RFC 6749, 5.2)."""

_PIECE_BYTES: Final = 1 << 16


class Refusal(Exception):
    """The provider says no; the text is its `error`, and what it says of it."""


class Fetch(Protocol):
    """Gives the JSON at an address."""

    def __call__(
        self, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        """Ask, with POST if there is a form.

        Raises:
            RealmUnavailable: nobody answers, or not in JSON.
            Refusal: the answer to a form is an error.
        """
        ...


def check_address(key: str, url: str) -> None:
    """Let an address pass whose answers nobody on the way can change. Raises `RealmInvalid`."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise RealmInvalid(f"{key} {url[:200]!r} is no https:// address.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise RealmInvalid(
            f"{key} {url[:200]!r} is not encrypted: what somebody can change on the way proves nothing."
        )


def describe(issuer: str, fetch: Fetch) -> dict[str, Any]:
    """What a provider says of itself (OpenID Connect Discovery 1.0, 4). Raises `RealmUnavailable`."""
    described = fetch(issuer.rstrip("/") + "/.well-known/openid-configuration")
    if not isinstance(described, dict) or "issuer" not in described:
        raise RealmUnavailable("its description cannot be understood")
    if described["issuer"] != issuer:
        raise RealmUnavailable(f"it calls itself {str(described['issuer'])[:200]!r}, not {issuer!r}")
    return described


def over_http(timeout_s: float, trusted: str | None) -> Fetch:
    """What asks over HTTP.

    Args:
        timeout_s: for each answer to begin, and again for all of it to come.
        trusted: file with the authorities that count; None: the system's.
    """

    def fetch(
        url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        content = None if form is None else urlencode(form).encode()
        asked = Request(  # noqa: S310 - see `check_address`
            url, content, {"Accept": "application/json", **(headers or {})}
        )
        try:
            opener = build_opener(
                _NoRedirects, HTTPSHandler(context=ssl.create_default_context(cafile=trusted))
            )
            with opener.open(asked, timeout=timeout_s) as answer:
                return _read(answer, url, timeout_s)
        except HTTPError as error:
            with error:
                if form is not None and error.code in REFUSED:
                    raise Refusal(_said(error)) from error
            raise RealmUnavailable(f"{url} answers {error.code}") from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise RealmUnavailable(f"{url}: {error}") from error

    return fetch


def _read(answer: HTTPResponse, url: str, timeout_s: float) -> Any:  # noqa: ANN401 - JSON
    """All of an answer, however slowly it comes, up to both limits."""
    until_s = time.monotonic() + timeout_s
    content = b""
    while piece := answer.read1(_PIECE_BYTES):
        content += piece
        if len(content) > ANSWER_BYTES_MAX:
            raise RealmUnavailable(f"{url} says more than {ANSWER_BYTES_MAX} bytes")
        if time.monotonic() > until_s:
            raise RealmUnavailable(f"{url} has not said all within {timeout_s:g} s")
    return json.loads(content)


def _said(error: HTTPError) -> str:
    """What an answer says of its error, as far as it can be shown."""
    try:
        found = json.loads(error.read(_PIECE_BYTES))
        words = [str(found[key]) for key in ("error", "error_description") if found.get(key)]
    except (OSError, HTTPException, ValueError, RecursionError, TypeError, AttributeError, KeyError):
        words = []
    return shown(": ".join(words)) or str(error.code)


def shown(text: str, characters_max: int = 200) -> str:
    """What somebody else has said, cut to what a line of a page or a log bears."""
    return "".join(each if each.isprintable() else " " for each in text[:characters_max]).strip()


class _NoRedirects(HTTPRedirectHandler):
    """Addresses are checked before they are asked, so no answer leads elsewhere."""

    def redirect_request(self, *args: object, **more: object) -> None:
        """None."""
        del args, more
