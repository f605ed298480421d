"""The login of a client by SASL, with DIGEST-MD5: the password itself is not sent.

It comes before anything else on a connection, and says nothing about znodes: the ensemble's password is told
besides. The server proves that it knows the login's password, too.

Source: ZooKeeper's ``ZooKeeperSaslClient`` and ``SecurityUtils``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from registry.channel import ChannelSettings
from registry.digest_md5 import ChallengeInvalid, answer, is_proof
from registry.encryption import LoginRefused

MECHANISM = "DIGEST-MD5"
URI = "zookeeper/zk-sasl-md5"
"""What ZooKeeper's servers call themselves in this mechanism, whatever their host is."""

CNONCE_BYTES = 16


def log_in(server: str, settings: ChannelSettings, ask: Callable[[bytes], bytes]) -> None:
    """Log in on a connection that has a session.

    Args:
        server: for the error.
        settings: with the user and his password.
        ask: sends a token to the server and returns its next one; raises `LoginRefused` for an error.

    Raises:
        LoginRefused: user or password is wrong, or the server does not know the password.
    """
    challenge = ask(b"")
    try:
        answered = answer(
            challenge,
            user=settings.sasl_user,
            password=settings.sasl_password,
            uri=URI,
            cnonce=secrets.token_hex(CNONCE_BYTES),
        )
    except ChallengeInvalid as error:
        raise LoginRefused(
            f"ZooKeeper's server {server} asks for no login by {MECHANISM}: {error}."
        ) from error
    if not is_proof(ask(answered.response), answered.expected):
        raise LoginRefused(
            f"ZooKeeper's server {server} does not prove that it knows the password of "
            f"{settings.sasl_user!r}: nothing is said to it."
        )


def refused(server: str, settings: ChannelSettings) -> LoginRefused:
    """The error of a login that a server does not take."""
    return LoginRefused(
        f"ZooKeeper's server {server} does not take the login of {settings.sasl_user!r} (SASL, {MECHANISM}): "
        "user or password is wrong, or it has no such logins."
    )
