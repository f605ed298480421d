"""Broker URLs.

::

    tcp://host:port[?wireFormat.x=…&jms.x=…]           one broker, no reconnecting
    ssl://host:port[?socket.verifyHostName=false&…]    the same with TLS
    failover:(tcp://a:1,tcp://b:2)[?option=…]          also failover://tcp://a:1 and failover:tcp://a:1,tcp://b:2
    discovery:(fabric:group[?id=broker])[?option=…]    also discovery:fabric:group

``nio`` and ``auto`` mean ``tcp``, ``nio+ssl`` and ``auto+ssl`` mean ``ssl``. Discovery takes failover's
options; those for each broker's URL need the prefix ``discovered.`` (failover: ``nested.``). Options that
start with ``jms.`` are the connection's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from mqclient.errors import InvalidUrl
from mqclient.options import ClientOptions, FailoverOptions, WireOptions, parse_options

DEFAULT_PORT = 61616
DEFAULT_GROUP = "default"
BROKER_URLS_MAX = 1000
"""URLs in one failover list; a longer one is a mistake."""

TCP_SCHEMES = ("tcp", "nio", "auto")
TLS_SCHEMES = ("ssl", "nio+ssl", "auto+ssl")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where one broker listens, and how to talk to it.

    Attributes:
        url: without options, as it is logged and compared: ``tcp://host:port``.
    """

    url: str
    host: str
    port: int
    wire: WireOptions = field(default_factory=WireOptions)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.partition("://")[0] in TLS_SCHEMES

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class DiscoveryAgent:
    """Which brokers of the registry to use: a group's, or those of one broker id in it."""

    group: str = DEFAULT_GROUP
    broker_id: str | None = None


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker URL, taken apart.

    Attributes:
        text: as given.
        addresses: the brokers it names; empty with discovery.
        discovery: where to find brokers; None without discovery.
        failover: None for a plain ``tcp://`` URL: the first failure is final.
        discovered: options for the sockets to discovered brokers.
    """

    text: str
    addresses: tuple[BrokerAddress, ...] = ()
    discovery: DiscoveryAgent | None = None
    failover: FailoverOptions | None = None
    client: ClientOptions = field(default_factory=ClientOptions)
    discovered: WireOptions = field(default_factory=WireOptions)


def parse_url(text: str) -> BrokerUrl:
    """Take a broker URL apart.

    Raises:
        InvalidUrl: it cannot be used; the message says why and names the URL.
    """
    try:
        return _parse(text.strip())
    except InvalidUrl as error:
        raise InvalidUrl(f"{error} (in broker URL {text})") from None


def parse_address(text: str, defaults: WireOptions | None = None) -> BrokerAddress:
    """Take the URL of one broker apart; its own options go over ``defaults``."""
    location, given = _split_query(text.strip())
    try:
        parts = urlsplit(location)
        port = parts.port if parts.port is not None else DEFAULT_PORT
    except ValueError as error:
        raise InvalidUrl(f"{text}: {error}") from None
    if parts.scheme not in (*TCP_SCHEMES, *TLS_SCHEMES):
        raise InvalidUrl(f"{text or 'nothing'} is not a broker URL; use tcp://host:port or ssl://host:port")
    if not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.username is not None:
        raise InvalidUrl(f"{text} is not of the form {parts.scheme}://host:port")
    wire = parse_options(defaults or WireOptions(), given)
    shown_host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return BrokerAddress(f"{parts.scheme}://{shown_host}:{port}", parts.hostname, port, wire)


def _parse(text: str) -> BrokerUrl:
    scheme = text.partition(":")[0].lower()
    if scheme == "failover":
        return _parse_failover(text)
    if scheme == "discovery":
        return _parse_discovery(text)
    location, given = _split_query(text)
    client, rest = _take(given, "jms.", keep_prefix=True)
    address = parse_address(location, parse_options(WireOptions(), rest))
    return BrokerUrl(text, (address,), client=parse_options(ClientOptions(), client))


def _parse_failover(text: str) -> BrokerUrl:
    inner, given = _split_composite(text.partition(":")[2])
    client, given = _take(given, "jms.", keep_prefix=True)
    nested, given = _take(given, "nested.")
    wire = parse_options(WireOptions(), nested)
    names = [name for name in _split_list(inner) if name]
    if not names:
        raise InvalidUrl("failover needs at least one broker, such as failover:(tcp://host:61616)")
    if len(names) > BROKER_URLS_MAX:
        raise InvalidUrl(f"more than {BROKER_URLS_MAX} brokers")
    addresses = tuple(dict.fromkeys(parse_address(name, wire) for name in names))
    return BrokerUrl(
        text,
        addresses,
        failover=parse_options(FailoverOptions(), given),
        client=parse_options(ClientOptions(), client),
        discovered=wire,
    )


def _parse_discovery(text: str) -> BrokerUrl:
    inner, given = _split_composite(text.partition(":")[2])
    client, given = _take(given, "jms.", keep_prefix=True)
    discovered, given = _take(given, "discovered.")
    nested, given = _take(given, "nested.")
    return BrokerUrl(
        text,
        discovery=_parse_agent(inner),
        failover=parse_options(FailoverOptions(), given),
        client=parse_options(ClientOptions(), client),
        discovered=parse_options(WireOptions(), {**nested, **discovered}),
    )


def _parse_agent(text: str) -> DiscoveryAgent:
    location, given = _split_query(text)
    scheme, colon, group = location.partition(":")
    if scheme != "fabric" or not colon:
        raise InvalidUrl(f"{text or 'nothing'} is not a discovery agent; use discovery:(fabric:<group>)")
    broker_id = given.pop("id", None)
    if given:
        raise InvalidUrl(f"unknown option {next(iter(given))} of the fabric discovery agent; known here: id")
    group = group.removeprefix("//").strip("/") or DEFAULT_GROUP
    if group in (".", "..") or "/" in group or not group.isprintable():
        raise InvalidUrl(f"{group!r} is not a group name")
    return DiscoveryAgent(group, broker_id)


def _split_composite(text: str) -> tuple[str, dict[str, str]]:
    """``//(a,b)?x=1`` → ``a,b`` and {x: 1}; without parentheses the query belongs to the outside, too."""
    text = text.strip()
    if text.startswith("//"):
        text = text[2:]
    if not text.startswith("("):
        if text.startswith("fabric:") and "?id=" in text:
            return text, {}
        return _split_query(text)
    end = text.rfind(")")
    if end < 0:
        raise InvalidUrl("a parenthesis is not closed")
    behind = text[end + 1 :].strip()
    if behind and not behind.startswith("?"):
        raise InvalidUrl(f"{behind!r} behind the closing parenthesis")
    return text[1:end].strip(), _split_query(behind)[1]


def _split_list(text: str) -> list[str]:
    """Split at commas outside of parentheses."""
    names, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            names.append(text[start:index].strip())
            start = index + 1
    names.append(text[start:].strip())
    return names


def _split_query(text: str) -> tuple[str, dict[str, str]]:
    location, mark, query = text.partition("?")
    if not mark or not query:
        return location, {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise InvalidUrl(f"options must be of the form name=value&name=value, not {query!r}") from None
    return location, dict(pairs)


def _take(
    given: Mapping[str, str], prefix: str, *, keep_prefix: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """Options that start with ``prefix`` (stripped, unless kept), and the others."""
    taken = {
        (name if keep_prefix else name.removeprefix(prefix)): value
        for name, value in given.items()
        if name.startswith(prefix)
    }
    return taken, {name: value for name, value in given.items() if not name.startswith(prefix)}
