"""Broker URLs and their options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqclient.errors import InvalidUrl
from mqclient.options import WITHOUT_MEANING, FailoverOptions
from mqclient.url import DiscoveryAgent, parse_url


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("tcp://broker:61617", ["tcp://broker:61617"]),
        ("tcp://broker", ["tcp://broker:61616"]),
        ("nio://broker:1", ["nio://broker:1"]),
        ("tcp://[::1]:61617", ["tcp://[::1]:61617"]),
        ("failover:(tcp://a:1,tcp://b:2)", ["tcp://a:1", "tcp://b:2"]),
        ("failover:( tcp://a:1 , tcp://b:2 )", ["tcp://a:1", "tcp://b:2"]),
        ("failover://tcp://localhost:61616", ["tcp://localhost:61616"]),
        ("failover://(tcp://a:1,tcp://b:2)?timeout=5", ["tcp://a:1", "tcp://b:2"]),
        ("failover:tcp://a:1,tcp://b:2", ["tcp://a:1", "tcp://b:2"]),
        ("failover:(tcp://a:1,tcp://a:1)", ["tcp://a:1"]),
    ],
)
def test_addresses_of_a_url(text: str, urls: list[str]) -> None:
    """Every form of the original names the brokers it did."""
    assert [address.url for address in parse_url(text).addresses] == urls


@pytest.mark.parametrize(
    ("text", "group", "broker_id"),
    [
        ("discovery:fabric:default", "default", None),
        ("discovery:(fabric:default)", "default", None),
        ("discovery://(fabric://default)", "default", None),
        ("discovery:(fabric:)", "default", None),
        ("discovery:(fabric:a-mq-east?id=one)?timeout=10", "a-mq-east", "one"),
        ("discovery:fabric:east?id=one", "east", "one"),
    ],
)
def test_discovery_agent(text: str, group: str, broker_id: str | None) -> None:
    """Every form of the original names the group and the broker it did."""
    url = parse_url(text)
    assert url.discovery == DiscoveryAgent(group, broker_id)
    assert url.addresses == ()


def test_failover_options_have_the_originals_defaults() -> None:
    """Without options a URL behaves as the original's did."""
    assert parse_url("failover:(tcp://a)").failover == FailoverOptions()
    options = FailoverOptions()
    assert (options.initial_reconnect_delay, options.max_reconnect_delay) == (10, 30_000)
    assert (options.use_exponential_back_off, options.back_off_multiplier) == (True, 2.0)
    assert (options.max_reconnect_attempts, options.startup_max_reconnect_attempts) == (-1, -1)
    assert (options.randomize, options.timeout, options.warn_after_reconnect_attempts) == (True, -1, 10)


def test_options_reach_their_place() -> None:
    """Options are told apart by their prefix."""
    url = parse_url(
        "failover:(tcp://a?connectionTimeout=100)"
        "?randomize=false&maxReconnectDelay=250&nested.wireFormat.cacheSize=500&jms.useAsyncSend=true"
        "&jms.prefetchPolicy.queuePrefetch=1"
    )
    assert url.failover is not None
    assert (url.failover.randomize, url.failover.max_reconnect_delay) == (False, 250)
    assert url.addresses[0].wire.connection_timeout == 100
    assert url.addresses[0].wire.cache_size == 500
    assert (url.client.use_async_send, url.client.queue_prefetch) == (True, 1)


@pytest.mark.parametrize(
    ("text", "is_tls"),
    [
        ("tcp://a", False),
        ("nio://a", False),
        ("auto://a", False),
        ("ssl://a", True),
        ("nio+ssl://a", True),
        ("auto+ssl://a:1?socket.verifyHostName=false", True),
    ],
)
def test_the_scheme_says_whether_it_is_tls(text: str, is_tls: bool) -> None:
    """The names of the original; its option for the broker's host name, too."""
    [address] = parse_url(text).addresses
    assert address.is_tls is is_tls
    assert address.wire.verify_host_name is ("false" not in text)


def test_options_of_discovered_brokers() -> None:
    """The prefix ``discovered.`` is for the sockets to the brokers that are found."""
    url = parse_url("discovery:(fabric:default)?discovered.tcpNoDelay=false&initialReconnectDelay=100")
    assert url.discovered.tcp_no_delay is False
    assert url.failover is not None
    assert url.failover.initial_reconnect_delay == 100


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a broker URL"),
        ("localhost:61616", "not a broker URL"),
        ("http://localhost", "not a broker URL"),
        ("tcp://", "not of the form"),
        ("tcp://host:0", "not of the form"),
        ("tcp://host:99999", "out of range"),
        ("tcp://host:1/queue", "not of the form"),
        ("ssl://host:1?socket.verifyHostName=perhaps", "true or false"),
        ("https://host:1", "use tcp://host:port or ssl://host:port"),
        ("failover:()", "at least one broker"),
        ("failover:(tcp://a", "not closed"),
        ("failover:(tcp://a)x", "behind the closing parenthesis"),
        ("failover:(tcp://a)?timeout", "name=value"),
        ("failover:(tcp://a)?timeout=soon", "must be a whole number"),
        ("failover:(tcp://a)?timeout=-2", "at least -1"),
        ("failover:(tcp://a)?randomize=perhaps", "true or false"),
        ("failover:(tcp://a)?backOffMultiplier=0.5", "at least 1"),
        ("failover:(tcp://a)?backOffMultiplier=nan", "finite"),
        ("failover:(tcp://a)?backup=true", "not supported"),
        ("tcp://a?jms.asyncSendWindow=0", "at least 1"),
        ("discovery:(multicast:default)", "not a discovery agent"),
        ("discovery:(fabric:default?name=x)", "unknown option name"),
        ("discovery:(fabric:../x)", "not a group name"),
        ("discovery:(fabric:a/b)", "not a group name"),
        ("failover:(" + ",".join(f"tcp://h{n}" for n in range(1001)) + ")", "more than 1000"),
    ],
)
def test_a_bad_url_is_refused_with_its_reason(text: str, reason: str) -> None:
    """A mistake in a URL is told before anything is connected."""
    with pytest.raises(InvalidUrl, match=reason):
        parse_url(text)


def test_an_unknown_option_names_the_known_ones() -> None:
    """A misspelt option is not ignored; the message has the right one."""
    with pytest.raises(InvalidUrl) as refused:
        parse_url("failover:(tcp://a)?maxReconectDelay=1")
    assert "did you mean maxReconnectDelay?" in str(refused.value)
    assert "initialReconnectDelay" in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    """No text makes the parser fail otherwise."""
    for candidate in (text, f"failover:({text})", f"discovery:(fabric:{text})", f"tcp://{text}"):
        try:
            parse_url(candidate)
        except InvalidUrl:
            continue


def test_one_option_sets_all_prefetches() -> None:
    """`prefetchPolicy.all` counts less than what is said of one of them, wherever it stands."""
    options = parse_url(
        "tcp://a:1?jms.prefetchPolicy.topicPrefetch=7&jms.prefetchPolicy.all=3&jms.useAsyncSend=true"
    ).client
    assert options.queue_prefetch == options.durable_topic_prefetch == options.queue_browser_prefetch == 3
    assert options.topic_prefetch == 7
    assert options.use_async_send


@pytest.mark.parametrize("name", WITHOUT_MEANING)
def test_options_without_meaning_are_accepted(name: str) -> None:
    """URLs of Apache's client can be taken over."""
    assert parse_url(f"failover:(tcp://a:1)?{name}=whatever").client == parse_url("tcp://a:1").client


def test_blob_messages_are_refused_with_the_reason() -> None:
    """What would silently not work is refused."""
    with pytest.raises(InvalidUrl, match="sends no messages whose body lies elsewhere"):
        parse_url("tcp://a:1?jms.blobTransferPolicy.uploadUrl=http://b/")
