"""DIGEST-MD5 against the numbers of its RFC, and what servers may say."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.channel import ChannelSettings
from registry.digest_md5 import ChallengeInvalid, answer, directives, is_proof
from registry.encryption import LoginRefused
from registry.login import log_in, refused

CHALLENGE = b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
SETTINGS = ChannelSettings(sasl_user="shop", sasl_password="secret")


def test_the_example_of_the_rfc() -> None:
    """RFC 2831, section 4: what the client sends and what the server proves itself with."""
    made = answer(
        CHALLENGE, user="chris", password="secret", uri="imap/elwood.innosoft.com", cnonce="OA6MHXh6VqTrRk"
    )
    said = directives(made.response)
    assert said["response"] == b"d388dad90d4bbd760a152321f2143af7"
    assert (said["username"], said["realm"], said["nc"]) == (b"chris", b"elwood.innosoft.com", b"00000001")
    assert is_proof(b"rspauth=ea40f60335c427b5527b84dbabcdfffd", made.expected)
    assert not is_proof(b"rspauth=ea40f60335c427b5527b84dbabcdfff0", made.expected)
    assert not is_proof(b"", made.expected)


@pytest.mark.parametrize(
    ("challenge", "why"),
    [
        (b"", "no nonce"),
        (b'realm="x",algorithm=md5-sess', "no nonce"),
        (b'nonce="x"', "not md5-sess"),
        (b'nonce="x",algorithm=md5', "not md5-sess"),
        (b'nonce="x",algorithm=md5-sess,qop="auth-int,auth-conf"', "more than a login"),
        (b'nonce="x', "no list"),
        (b"\xff\x00", "no list"),
        (b'nonce="a"b', "no list"),
    ],
)
def test_challenges_that_cannot_be_answered(challenge: bytes, why: str) -> None:
    """They are refused with a reason, whatever bytes they are."""
    with pytest.raises(ChallengeInvalid, match=why):
        answer(challenge, user="u", password="p", uri="s/h", cnonce="c")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_challenge_or_refused(challenge: bytes) -> None:
    """No server breaks a client with what it says."""
    with contextlib.suppress(ChallengeInvalid):
        answer(challenge, user="u", password="p", uri="s/h", cnonce="c")


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_user_comes_out_as_it_went_in(user: str, password: str) -> None:
    """Quotes and backslashes in names do not end them early."""
    user = user.encode(errors="replace").decode()
    password = password.encode(errors="replace").decode()
    made = answer(CHALLENGE, user=user, password=password, uri="s/h", cnonce="c")
    assert directives(made.response)["username"] == user.encode()


def test_a_login_takes_two_questions() -> None:
    """First nothing, then the answer; the server's last word is compared."""
    asked: list[bytes] = []

    def server(token: bytes) -> bytes:
        asked.append(token)
        return CHALLENGE if len(asked) == 1 else b"rspauth=0"

    with pytest.raises(LoginRefused, match="does not prove that it knows the password of 'shop'"):
        log_in("zk:2281", SETTINGS, server)
    assert asked[0] == b""
    assert b"secret" not in asked[1]
    assert len(asked) == 2
    with pytest.raises(LoginRefused, match="asks for no login by DIGEST-MD5: it is no list"):
        log_in("zk:2281", SETTINGS, lambda token: b"?")
    assert "user or password is wrong" in str(refused("zk:2281", SETTINGS))
