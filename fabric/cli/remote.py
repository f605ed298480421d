"""`fabric --url URL COMMAND …`: the command runs on the host of that console, its output comes here."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from fabric.addresses import is_loopback
from fabric.cli.asking import ask_secret
from fabric.errors import ConsoleRefused, ConsoleUnreachable

CONNECT_S_MAX: Final = 10.0
"""For the connection, and again for the beginning of TLS."""
SILENT_S_MAX: Final = 60.0
"""The console says every few seconds that it is there."""
ERROR_BYTES_MAX: Final = 64 * 1024
LINE_BYTES_MAX: Final = 8 * 1024 * 1024
PATH: Final = "/api/v1/commands"
CANNOT_ASK: Final = "Give a token with --token, or --user and --password; in the environment FABRIC_TOKEN, …"


@dataclass(frozen=True, slots=True)
class Outside:
    """Where a console is, and who asks it.

    Attributes:
        url: of the console.
        authority: PEM file of who signs its certificate; None: whom this system trusts.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: Path | None = None


def run_outside(outside: Outside, argv: Sequence[str]) -> int:
    """Run a command on the console's host; prints what it prints and returns its exit code.

    Raises:
        ConsoleRefused: the console does not do it.
        ConsoleUnreachable: it cannot be asked, or the connection has ended too early.
    """
    connection = _connection(outside)
    columns = min(max(shutil.get_terminal_size((100, 24)).columns, 20), 1_000)
    body = json.dumps({"argv": list(argv), "columns": columns})
    headers = {"Content-Type": "application/json", "Authorization": _authorization(outside)}
    try:
        _connect(connection, outside)
        connection.request("POST", f"{urlsplit(outside.url).path.rstrip('/')}{PATH}", body, headers)
        with connection.getresponse() as response:
            if response.status != http.client.OK:
                raise _refusal(response)
            return _copy(response)
    except ssl.SSLCertVerificationError as error:
        raise ConsoleUnreachable(
            outside.url,
            f"its certificate is not accepted: {error.verify_message}",
            "Name who has signed it with --ca: there it is FABRIC_HOME/certificates/ca.pem.",
        ) from error
    except ssl.SSLError as error:
        raise ConsoleUnreachable(
            outside.url, f"it does not speak TLS as this does: {error.reason}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ConsoleUnreachable(outside.url, str(error) or type(error).__name__) from error
    finally:
        connection.close()


def _connection(outside: Outside) -> http.client.HTTPConnection:
    parts = urlsplit(outside.url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query:
        raise click.BadParameter(
            f"{outside.url!r} is not the URL of a console, such as https://host:8181.", param_hint="--url"
        )
    if parts.scheme == "http":
        if not is_loopback(host):
            click.echo(f"What is sent to {host} can be read on the way: it is not https.", err=True)
        return http.client.HTTPConnection(host, port, timeout=CONNECT_S_MAX)
    try:
        authority = str(outside.authority) if outside.authority else None
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise click.BadParameter(f"{outside.authority} cannot be read: {error}", param_hint="--ca") from error
    return http.client.HTTPSConnection(host, port, timeout=CONNECT_S_MAX, context=context)


def _connect(connection: http.client.HTTPConnection, outside: Outside) -> None:
    """Connect, and be patient from then on.

    Raises:
        ConsoleUnreachable: nobody answers, by this protocol at least.
    """
    try:
        connection.connect()
    except TimeoutError as error:
        is_tls = isinstance(connection, http.client.HTTPSConnection)
        hint = " A console without TLS does not answer to https: its URL begins with http." if is_tls else ""
        raise ConsoleUnreachable(
            outside.url,
            f"it has not answered within {CONNECT_S_MAX:g} s",
            f"Look at the host, the port and what is between.{hint}",
        ) from error
    connection.sock.settimeout(SILENT_S_MAX)


def _authorization(outside: Outside) -> str:
    if outside.token:
        try:
            return f"Bearer {outside.token.strip().encode('ascii').decode()}"
        except UnicodeEncodeError:
            raise click.BadParameter("This is no token.", param_hint="--token") from None
    if not outside.user:
        raise click.UsageError(CANNOT_ASK)
    password = outside.password
    if password is None:
        password = ask_secret(f"Password of {outside.user}", CANNOT_ASK)
    return "Basic " + base64.b64encode(f"{outside.user}:{password}".encode()).decode()


def _refusal(response: http.client.HTTPResponse) -> ConsoleRefused:
    """Why the console does not do it, in its words."""
    try:
        said: Any = json.loads(response.read(ERROR_BYTES_MAX))["error"]
        return ConsoleRefused(str(said["message"]), str(said["do_next"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ConsoleRefused(
            f"It was answered {response.status} {response.reason}.", "Is this the URL of a console?"
        )


def _copy(response: http.client.HTTPResponse) -> int:
    """Print what comes; returns the exit code, which comes last."""
    while line := response.readline(LINE_BYTES_MAX):
        try:
            said: Any = json.loads(line)
            if "exit" in said:
                return int(said["exit"])
            for name, to_stderr in (("out", False), ("err", True)):
                if name in said:
                    click.echo(str(said[name]), nl=False, err=to_stderr)
        except (ValueError, TypeError, RecursionError) as error:
            raise http.client.HTTPException("what it answers cannot be understood") from error
    raise http.client.HTTPException("the connection has ended before the command has")
