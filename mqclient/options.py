"""The options of a broker URL: names, types, defaults; anything else is refused with the list of known ones.

Names and defaults are those of Apache's client, so that URLs can be taken over unchanged.
Source: ActiveMQ's failover, TCP and wire format references; docs/reference/mq-client.md tells the
    differences.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from mqclient.errors import InvalidUrl

UNLIMITED = -1
"""Of attempts or milliseconds: no limit."""


@dataclass(frozen=True, slots=True)
class FailoverOptions:
    """When to reconnect, and to which broker. Times are milliseconds, -1 is "no limit".

    Attributes:
        initial_reconnect_delay: wait after the first failed round over all URLs.
        max_reconnect_delay: the longest wait between two rounds.
        use_exponential_back_off: multiply the wait by back_off_multiplier after each failed round.
        back_off_multiplier: at least 1.
        max_reconnect_attempts: failed rounds after which the connection is given up; 0: do not retry.
        startup_max_reconnect_attempts: the same until the first success; -1: as max_reconnect_attempts.
        randomize: try the URLs in random order.
        timeout: a send gives up after this time without a broker.
        warn_after_reconnect_attempts: log a warning each so many failed rounds; 0: never.
        reconnect_supported: follow a broker that names another one to go to.
        update_uris_supported: add the brokers that a broker names to the list.
        rebalance_update_uris: move if a broker asks its clients to spread.
        track_messages: ask for answers to non-persistent sends too, and repeat the unanswered ones.
        track_transaction_producers: accepted; producers are always replayed before their transaction.
    """

    initial_reconnect_delay: int = 10
    max_reconnect_delay: int = 30_000
    use_exponential_back_off: bool = True
    back_off_multiplier: float = 2.0
    max_reconnect_attempts: int = UNLIMITED
    startup_max_reconnect_attempts: int = UNLIMITED
    randomize: bool = True
    timeout: int = UNLIMITED
    warn_after_reconnect_attempts: int = 10
    reconnect_supported: bool = True
    update_uris_supported: bool = True
    rebalance_update_uris: bool = True
    track_messages: bool = False
    track_transaction_producers: bool = True


@dataclass(frozen=True, slots=True)
class WireOptions:
    """What one socket offers its broker. Times are milliseconds, sizes bytes.

    Attributes:
        connection_timeout: how long a TCP connect may take.
        tcp_no_delay: send small frames at once.
        keep_alive: TCP keep-alive probes.
        socket_buffer_size: of the kernel, each way; 0: as the kernel likes.
        verify_host_name: with TLS, the broker's certificate has to be for the host in the URL.
        version: the highest OpenWire version offered.
        tight_encoding_enabled, cache_enabled, cache_size: how commands are encoded; off is faster here.
        stack_trace_enabled: ask for stack traces in errors.
        max_inactivity_duration: a broker that is silent for so long is lost; 0: never.
        max_inactivity_duration_inital_delay: grace for the first frame (the original's spelling).
        max_frame_size: larger frames from the broker end the connection.
    """

    connection_timeout: int = 30_000
    tcp_no_delay: bool = True
    keep_alive: bool = False
    socket_buffer_size: int = 0
    verify_host_name: bool = True
    version: int = 12
    tight_encoding_enabled: bool = False
    cache_enabled: bool = False
    cache_size: int = 1024
    stack_trace_enabled: bool = False
    max_inactivity_duration: int = 30_000
    max_inactivity_duration_inital_delay: int = 10_000
    max_frame_size: int = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How the connection's sessions behave (``jms.<option>``). Times are milliseconds.

    Attributes:
        use_async_send: persistent sends return before the broker has answered.
        async_send_window: how many such sends may be unanswered; the next one waits.
        always_sync_send: non-persistent sends wait for the broker's answer too.
        dispatch_async: the broker dispatches to our consumers in its own time (its own choice in ours).
        close_timeout: how long close waits for the broker's answer.
        send_timeout: a send gives up after this time without an answer; 0: never.
        queue_prefetch, topic_prefetch, durable_topic_prefetch, queue_browser_prefetch: messages that the
            broker sends ahead; 0: each receive asks for one message.
        maximum_redeliveries: a message rolled back more often goes to the dead letter queue; -1: never.
        initial_redelivery_delay: wait before a rolled back message is delivered again; the options down to
            pre_dispatch_check are told in `mqclient.modes.RedeliveryPolicy`.
        non_blocking_redelivery: while a message waits to come again, those behind it are delivered.
        failover_redelivery_wait_period: how long a commit waits, after a failover, for the new broker to
            send again what the transaction has consumed.
        use_compression: bodies are sent deflated.
        client_id: the client id, unless the program gives one.
        producer_window_size: bytes of one-way sends that the broker has not taken; the next one waits. 0:
            nothing but the socket bounds them.
        exclusive_consumer: consumers are exclusive unless their destination says otherwise.
        use_retroactive_consumer: likewise retroactive.
        disable_time_stamps_by_default: producers begin with `disable_timestamp`.
        maximum_pending_message_limit: of a topic consumer, beyond its prefetch, that the broker keeps; 0: as
            many as the broker likes.
        user_name, password: unless the program gives others.
        consumer_expiry_check_enabled: expired messages are not delivered; otherwise they are.
    """

    use_async_send: bool = False
    async_send_window: int = 256
    always_sync_send: bool = False
    dispatch_async: bool = True
    close_timeout: int = 15_000
    send_timeout: int = 0
    queue_prefetch: int = 1000
    topic_prefetch: int = 32_767
    durable_topic_prefetch: int = 100
    queue_browser_prefetch: int = 500
    maximum_redeliveries: int = 6
    initial_redelivery_delay: int = 1000
    redelivery_delay: int = 1000
    redelivery_use_exponential_back_off: bool = False
    redelivery_back_off_multiplier: float = 5.0
    maximum_redelivery_delay: int = UNLIMITED
    use_collision_avoidance: bool = False
    collision_avoidance_percent: int = 15
    pre_dispatch_check: bool = True
    non_blocking_redelivery: bool = False
    failover_redelivery_wait_period: int = 2000
    use_compression: bool = False
    client_id: str = ""
    producer_window_size: int = 0
    exclusive_consumer: bool = False
    use_retroactive_consumer: bool = False
    disable_time_stamps_by_default: bool = False
    maximum_pending_message_limit: int = 0
    user_name: str = ""
    password: str = ""
    consumer_expiry_check_enabled: bool = True


OptionValue = bool | int | float | str

UNSUPPORTED = {
    "backup": "this client keeps no spare connections; it reconnects within milliseconds without them",
    "backupPoolSize": "this client keeps no spare connections",
    "priorityBackup": "this client does not prefer some brokers over others",
    "priorityURIs": "this client does not prefer some brokers over others",
    "updateURIsURL": "this client reads no list from a file; use discovery:(fabric:<group>)",
    "maxCacheSize": "unanswered sends are bounded by jms.asyncSendWindow",
    "maxReconnects": "say maxReconnectAttempts",
    "jms.consumerFailoverRedeliveryWaitPeriod": "say jms.failoverRedeliveryWaitPeriod",
}

WITHOUT_MEANING = {
    "jms.alwaysSessionAsync": "messages always go from the network thread to the program's",
    "jms.auditDepth": "repeats are recognised by what was acknowledged",
    "jms.auditMaximumProducerNumber": "repeats are recognised by what was acknowledged",
    "jms.checkForDuplicates": "repeats are recognised by what was acknowledged",
    "jms.clientIDPrefix": "ids are unique without one",
    "jms.connectResponseTimeout": "a login has 10 s, and is tried again",
    "jms.connectionIDPrefix": "ids are unique without one",
    "jms.copyMessageOnSend": "a message is encoded when it is sent, and may be changed after that",
    "jms.maxThreadPoolSize": "a session has one thread, if it has listeners",
    "jms.messagePrioritySupported": "the broker dispatches by priority",
    "jms.nestedMapAndListEnabled": "maps and lists within bodies are always possible",
    "jms.objectMessageSerializationDefered": "nothing is serialised here",
    "jms.optimizeAcknowledge": "acknowledgements that nobody waits for go in batches",
    "jms.optimizeAcknowledgeTimeOut": "acknowledgements that nobody waits for go in batches",
    "jms.optimizedAckScheduledAckInterval": "acknowledgements that nobody waits for go in batches",
    "jms.optimizedMessageDispatch": "messages always go straight to their consumer",
    "jms.prefetchPolicy.optimizeDurableTopicPrefetch": "acknowledgements do not change the prefetch",
    "jms.rmIdFromConnectionId": "there are no resource managers here",
    "jms.sendAcksAsync": "acknowledgements are never waited for",
    "jms.statsEnabled": "the broker counts",
    "jms.transactedIndividualAck": "acknowledgements of a transaction go with its commit",
    "jms.trustAllPackages": "objects are bytes here and never deserialised",
    "jms.trustedPackages": "objects are bytes here and never deserialised",
    "jms.useDedicatedTaskRunner": "a session has one thread, if it has listeners",
    "jms.warnAboutUnstartedConnectionTimeout": "nothing is warned of",
    "jms.watchTopicAdvisories": "the broker refuses sends to temporary destinations that are gone",
}
"""Options of Apache's client that ask for nothing here; they are accepted, so that URLs can be taken over."""

_EXTERNAL = {  # field name → external name, where camel case is not enough
    "update_uris_supported": "updateURIsSupported",
    "rebalance_update_uris": "rebalanceUpdateURIs",
    "queue_prefetch": "prefetchPolicy.queuePrefetch",
    "topic_prefetch": "prefetchPolicy.topicPrefetch",
    "durable_topic_prefetch": "prefetchPolicy.durableTopicPrefetch",
    "queue_browser_prefetch": "prefetchPolicy.queueBrowserPrefetch",
    "maximum_redeliveries": "redeliveryPolicy.maximumRedeliveries",
    "initial_redelivery_delay": "redeliveryPolicy.initialRedeliveryDelay",
    "redelivery_delay": "redeliveryPolicy.redeliveryDelay",
    "redelivery_use_exponential_back_off": "redeliveryPolicy.useExponentialBackOff",
    "redelivery_back_off_multiplier": "redeliveryPolicy.backOffMultiplier",
    "maximum_redelivery_delay": "redeliveryPolicy.maximumRedeliveryDelay",
    "use_collision_avoidance": "redeliveryPolicy.useCollisionAvoidance",
    "collision_avoidance_percent": "redeliveryPolicy.collisionAvoidancePercent",
    "pre_dispatch_check": "redeliveryPolicy.preDispatchCheck",
    "client_id": "clientID",
    "verify_host_name": "socket.verifyHostName",
    "maximum_pending_message_limit": "prefetchPolicy.maximumPendingMessageLimit",
}

ALL_PREFETCHES = "jms.prefetchPolicy.all"
"""Sets the four prefetches; what is said of one of them counts more."""

_PREFETCHES = ("queue_prefetch", "topic_prefetch", "durable_topic_prefetch", "queue_browser_prefetch")

_SOCKET_FIELDS = frozenset(
    {"connection_timeout", "tcp_no_delay", "keep_alive", "socket_buffer_size", "verify_host_name"}
)

_MINIMUM: dict[str, float] = {
    "max_reconnect_attempts": UNLIMITED,
    "startup_max_reconnect_attempts": UNLIMITED,
    "timeout": UNLIMITED,
    "maximum_redeliveries": UNLIMITED,
    "maximum_redelivery_delay": UNLIMITED,
    "back_off_multiplier": 1.0,
    "version": 1,
    "cache_size": 101,
    "async_send_window": 1,
    "max_frame_size": 1024,
}
"""The lowest value of a number; 0 where nothing is said."""


def external_name(field_name: str) -> str:
    """The option as it stands in a URL: ``max_reconnect_delay`` → ``maxReconnectDelay``."""
    if field_name in _EXTERNAL:
        return _EXTERNAL[field_name]
    head, *rest = field_name.split("_")
    camel = head + "".join(word.capitalize() for word in rest)
    return camel


def _wire_name(field_name: str) -> str:
    name = external_name(field_name)
    return name if field_name in _SOCKET_FIELDS else f"wireFormat.{name}"


def _jms_name(field_name: str) -> str:
    return f"jms.{external_name(field_name)}"


_NAMING: dict[type, Callable[[str], str]] = {
    FailoverOptions: external_name,
    WireOptions: _wire_name,
    ClientOptions: _jms_name,
}


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise ValueError("true or false")
    return lowered == "true"


def _integer(text: str) -> int:
    try:
        return int(text, 10)
    except ValueError:
        raise ValueError("a whole number") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("a number") from None
    if not value < float("inf"):
        raise ValueError("a finite number")
    return value


_PARSERS: dict[type, Callable[[str], OptionValue]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: str,
}


Options = TypeVar("Options", FailoverOptions, WireOptions, ClientOptions)


def parse_options(defaults: Options, given: Mapping[str, str]) -> Options:
    """Put the texts of a query over an options record.

    Raises:
        InvalidUrl: an unknown option (with the known ones), or a value of the wrong kind or range.
    """
    if ALL_PREFETCHES in given:
        every = dict.fromkeys(map(_jms_name, _PREFETCHES), given[ALL_PREFETCHES])
        given = {**every, **{name: text for name, text in given.items() if name != ALL_PREFETCHES}}
    naming = _NAMING[type(defaults)]
    known = {naming(field.name): field for field in fields(defaults)}
    values: dict[str, OptionValue] = {field.name: getattr(defaults, field.name) for field in known.values()}
    for name, text in given.items():
        field = known.get(name)
        if field is None and name in WITHOUT_MEANING:
            continue
        if field is None:
            raise InvalidUrl(_unknown(name, list(known)))
        parser = _PARSERS[type(field.default)]
        try:
            value = parser(text)
        except ValueError as error:
            raise InvalidUrl(f"option {name} must be {error}, not {text!r}") from None
        _check_minimum(name, field.name, value)
        values[field.name] = value
    make: Callable[..., Options] = type(defaults)
    return make(**values)


def _check_minimum(name: str, field_name: str, value: OptionValue) -> None:
    if isinstance(value, bool | str):
        return
    minimum = _MINIMUM.get(field_name, 0)
    if value < minimum:
        raise InvalidUrl(f"option {name} must be at least {minimum:g}, not {value:g}")


def _unknown(name: str, known: list[str]) -> str:
    if name.startswith("jms.blobTransferPolicy."):
        return f"option {name} is not supported: this client sends no messages whose body lies elsewhere"
    if name in UNSUPPORTED:
        return f"option {name} is not supported: {UNSUPPORTED[name]}"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown option {name}{hint}; known here: {', '.join(sorted(known))}"
