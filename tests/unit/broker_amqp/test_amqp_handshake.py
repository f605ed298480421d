"""What is said before AMQP: SASL, byte by byte."""

import pytest
from support.amqp_client import Broker
from support.amqp_frames import SASL_HEADER, frame, opened

from broker.amqp.handshake import PLAIN, XOAUTH2, Handshake, LoginAsked, ProtocolViolation
from broker.amqp.server import AmqpServer
from broker.amqp.types import Array, Symbol, UByte
from broker.errors import AccessDenied, ClientError

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


def init(response: bytes | None, mechanism: str = XOAUTH2) -> bytes:
    """A client's first words."""
    return SASL_HEADER + frame(0x41, Symbol(mechanism), response, "host", kind=1)


def test_a_mechanism_that_is_not_offered() -> None:
    """The client is told that its login has failed, and not only hung up on."""
    server = Broker().server()
    server.receive_data(SASL_HEADER + frame(0x41, Symbol("ANONYMOUS"), b"", "host", kind=1), 0.0)
    assert server.data_to_send().endswith(frame(0x44, UByte(1), kind=1))
    assert server.closing


# ---- tokens


def offered(broker: Broker) -> list[str]:
    """What a client may choose from."""
    server = broker.server()
    server.receive_data(SASL_HEADER, 0.0)
    data = server.data_to_send()
    names = ["PLAIN", "XOAUTH2", "ANONYMOUS"]
    found = [name for name in names if name.encode() in data]
    assert data == SASL_HEADER + frame(0x40, Array(Symbol(name) for name in found), kind=1)
    return found


def test_tokens_are_asked_for_where_somebody_takes_them() -> None:
    """Behind PLAIN, which who has a password shall choose; nobody else hears of it."""
    broker = Broker(anonymous=True)
    assert offered(broker) == ["PLAIN", "ANONYMOUS"]
    broker.users.takes_tokens = True
    assert offered(broker) == ["PLAIN", "XOAUTH2", "ANONYMOUS"]
    server = Broker().server()
    server.receive_data(init(f"user=a\1auth=Bearer {TOKEN}\1\1".encode()), 0.0)
    assert server.closing and server.data_to_send().endswith(frame(0x44, UByte(1), kind=1))


@pytest.mark.parametrize(
    ("response", "user"),
    [
        (f"user=oauth2\1auth=Bearer {TOKEN}\1\1", "oauth2"),
        (f"auth=bearer  {TOKEN}\1user=\1\1", ""),
        (f"auth=Bearer {TOKEN}\1\1", ""),
    ],
)
def test_a_token_is_read(response: str, user: str) -> None:
    """At once, or when it is asked for; split at every byte."""
    data = init(response.encode())
    for at in range(len(data)):
        handshake = Handshake([PLAIN, XOAUTH2])
        events = handshake.receive_data(data[:at]) + handshake.receive_data(data[at:])
        assert events == [LoginAsked(XOAUTH2, user, TOKEN)]
    handshake = Handshake([PLAIN, XOAUTH2])
    assert handshake.receive_data(init(None)) == []
    assert handshake.data_to_send().endswith(frame(0x42, b"", kind=1))
    assert handshake.receive_data(frame(0x43, response.encode(), kind=1)) == [
        LoginAsked(XOAUTH2, user, TOKEN)
    ]


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\0admin\0admin",
        TOKEN.encode(),
        f"auth=Bearer {TOKEN}".encode(),
        f"user=a\1auth={TOKEN}\1\1".encode(),
        b"user=a\1auth=Bearer \1\1",
        b"user=\xff\1auth=Bearer x\1\1",
        b"\1" * 16_000,
    ],
)
def test_what_is_no_token_ends_the_connection(response: bytes) -> None:
    """With a reason, and before anybody is asked."""
    (event,) = Handshake([PLAIN, XOAUTH2]).receive_data(init(response))
    assert isinstance(event, ProtocolViolation) and ("XOAUTH2" in event.reason or "UTF-8" in event.reason)


class TokenUsers:
    """Knows one token, and asks for no name beside it."""

    takes_tokens = True

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str | None]] = []

    def authenticate(self, user: str | None, password: str | None, done: object) -> None:
        """See `broker.security.Authenticator`."""
        self.asked.append((user, password))
        verdict: ClientError | None = None if password == TOKEN else AccessDenied("Not with this token.")
        assert callable(done)
        done(verdict)

    def admit(self, user: str, done: object) -> None:
        """Likewise."""
        raise AssertionError((user, done))

    def name_of(self, user: str, password: str | None) -> str:
        """Likewise."""
        return "ann" if password == TOKEN else user


def logged_in(response: str, mechanism: str, certified: str | None = None) -> tuple[AmqpServer, TokenUsers]:
    """A client that has shown something, and opens a connection."""
    broker = Broker()
    users = TokenUsers()
    broker.users = users  # type: ignore[assignment]  # for these tests
    server = broker.server()
    server.transport_user = certified
    server.receive_data(init(response.encode(), mechanism) + opened(), 0.0)
    return server, users


@pytest.mark.parametrize(
    ("mechanism", "response", "asked"),
    [
        (XOAUTH2, f"user=admin\1auth=Bearer {TOKEN}\1\1", None),
        (PLAIN, f"\0oauth2\0{TOKEN}", "oauth2"),
    ],
)
@pytest.mark.parametrize("certified", [None, "bob"])
def test_a_token_names_its_user(
    mechanism: str, response: str, asked: str | None, certified: str | None
) -> None:
    """Whatever user is named beside it, and whoever's certificate it is; he is who has the rights."""
    server, users = logged_in(response, mechanism, certified)
    assert server.connection is not None and server.connection.user == server.user == "ann"
    assert users.asked == [(asked, TOKEN)]


def test_a_wrong_token_is_no_login() -> None:
    """The outcome says so, and a password in its place is none either."""
    for token in ("eyJ.eyJ.x", "admin"):
        server, users = logged_in(f"user=admin\1auth=Bearer {token}\1\1", XOAUTH2)
        assert server.closing and server.connection is None and users.asked == [(None, token)]
        assert server.data_to_send().endswith(frame(0x44, UByte(1), kind=1))
