"""The mq-client's command line, taken apart; no I/O.

Options, defaults and the wording of usage errors are the original's (fabric8's mq-client), whose single
values are ``--name value``; ``--name=value`` works too. ``-Dname=value`` stands for the Java system
properties that used to configure the registry.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

DEFAULT_BROKER_URL = "failover://tcp://localhost:61616"
COUNT_MAX = 2**31 - 1
"""The original's numbers are Java ints."""
SIZE_MAX = 64 * 1024 * 1024
"""Bytes of one message; larger ones do not fit into brokers' default frame limit with certainty."""
TTL_MAX = 2**62
"""Milliseconds; added to the present time it still fits Java's long."""
THREADS_MAX = 1000
"""Parallel threads, each with its own connection: ActiveMQ's default limit of connections."""


class Action(Enum):
    """What to do."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    BROWSE = "browse"


@dataclass(slots=True)
class Arguments:
    """A command line, checked.

    Attributes:
        destination: None: ``queue://TEST``, or ``topic://TEST`` with a client id.
        count: messages, for each thread.
        sleep_ms: after each message; a consumer also after each receive that found nothing.
        size: bytes of a BytesMessage; 0: a TextMessage.
        text_size: 100b, 1K or 10K; None: a short counting text.
        ttl_ms: 0: messages never expire.
        batch_size: messages in each transaction; 0: no transactions.
        client_id: consumer: a durable subscriber with this client id.
        properties: from -Dname=value.
        json_output: a summary as JSON at the end, and nothing else on standard output.
    """

    action: Action = Action.PRODUCER
    destination: str | None = None
    broker_url: str = DEFAULT_BROKER_URL
    user: str | None = None
    password: str | None = None
    count: int = 100
    sleep_ms: int = 0
    persistent: bool = True
    size: int = 0
    text_size: str | None = None
    ttl_ms: int = 0
    group_id: str | None = None
    batch_size: int = 0
    parallel_threads: int = 1
    client_id: str | None = None
    selector: str | None = None
    json_output: bool = False
    properties: dict[str, str] | None = None

    @property
    def effective_destination(self) -> str:
        """The destination, or the default one."""
        if self.destination is not None:
            return self.destination
        return "topic://TEST" if self.client_id is not None else "queue://TEST"


class UsageError(Exception):
    """The command line is not valid.

    Attributes:
        detail: a second line, which the original did not have; "" for none.
        on_stdout: the original tells this error on standard output.
    """

    def __init__(self, message: str, detail: str = "", *, on_stdout: bool = False) -> None:
        super().__init__(message)
        self.detail = detail
        self.on_stdout = on_stdout


def _integer(name: str, text: str, minimum: int, maximum: int) -> int:
    try:
        value = int(text, 10)
    except ValueError:
        raise UsageError("argument not a number", f"{name} {text}") from None
    if value < minimum:
        raise UsageError(f"{name} must be at least {minimum}, not {value}")
    if value > maximum:
        raise UsageError(f"{name} must be at most {maximum}, not {value}")
    return value


def _whole(minimum: int, maximum: int) -> Callable[[str, str], int]:
    return lambda name, text: _integer(name, text, minimum, maximum)


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UsageError(f"{name} must be true or false, not {text}")
    return text.lower() == "true"


def _text(name: str, text: str) -> str:
    if not text:
        raise UsageError(f"{name} must not be empty")
    return text


def _any_text(_name: str, text: str) -> str:
    return text


def _output(name: str, text: str) -> bool:
    if text not in ("text", "json"):
        raise UsageError(f"{name} must be text or json, not {text}")
    return text == "json"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, the field it sets, its parser, and its line of help."""

    name: str
    field: str
    parse: Callable[[str, str], int | bool | str]
    shown: str
    help: str


OPTIONS = (
    Option("--destination", "destination", _text, "(queue://..|topic://..)", "where to; default TEST"),
    Option("--persistent", "persistent", _boolean, "true|false", "messages survive a broker; default true"),
    Option("--count", "count", _whole(1, COUNT_MAX), "N", "messages to send or receive; default 100"),
    Option(
        "--size",
        "size",
        _whole(0, SIZE_MAX),
        "N",
        "bytes of a BytesMessage; default 0, a TextMessage is sent",
    ),
    Option(
        "--textSize", "text_size", _text, "N", "100b, 1K or 10K of filler text; default a short counting text"
    ),
    Option("--sleep", "sleep_ms", _whole(0, COUNT_MAX), "N", "milliseconds between messages; default 0"),
    Option(
        "--batchSize", "batch_size", _whole(0, COUNT_MAX), "N", "messages in a transaction; default 0, none"
    ),
    Option(
        "--ttl", "ttl_ms", _whole(0, TTL_MAX), "N", "milliseconds until messages expire; default 0, never"
    ),
    Option("--parallelThreads", "parallel_threads", _whole(1, THREADS_MAX), "N", "connections; default 1"),
    Option("--groupId", "group_id", _text, "id", "message group of the messages; default none"),
    Option("--clientId", "client_id", _text, "id", "subscribe durably with this client id; default none"),
    Option("--selector", "selector", _text, "..", "receive only messages that match; default all"),
    Option("--brokerUrl", "broker_url", _text, "URL", f"default {DEFAULT_BROKER_URL}"),
    Option("--user", "user", _any_text, "..", "user name"),
    Option("--password", "password", _any_text, "..", "password"),
    Option("--output", "json_output", _output, "text|json", "json: a summary at the end; default text"),
)

_BY_NAME = {option.name: option for option in OPTIONS}

USAGE = " usage   : (producer|consumer|browse) [OPTIONS]"

_EXAMPLES = """
 registry, for discovery: URLs
           [-Dzookeeper.url=host:port,..[/path]]
           [-Dzookeeper.password=..]
           otherwise $FABRIC_ZOOKEEPER_URL and $FABRIC_ZOOKEEPER_PASSWORD, then what `fabric create` wrote
           to $FABRIC_HOME/fabric.json (default home ~/.local/share/fabric), then localhost:2181 and admin
           [-Dzookeeper.client.secure=true]               by TLS
           [-Dzookeeper.ssl.trustStore.location=ca.pem]   by TLS, and whom to trust
           [-Dzookeeper.ssl.keyStore.location=me.pem]     a certificate and its key, if it asks for one
           [-Dzookeeper.sasl.user=.. -Dzookeeper.sasl.password=..]   a login by SASL
           otherwise $FABRIC_ZOOKEEPER_TLS, _CA, _CERTIFICATE, _SASL_USER and _SASL_PASSWORD

 TLS:      [-Djavax.net.ssl.trustStore=ca.pem]   whom to trust; default: whom this system trusts
           [-Djavax.net.ssl.keyStore=me.pem]     a certificate and its key, instead of user and password
           otherwise $FABRIC_TRUST_STORE and $FABRIC_KEY_STORE

 examples:
   mq-client producer --brokerUrl discovery:fabric:default --user admin --password admin \\
             --destination queue://workshop.test --count 10
   mq-client consumer --brokerUrl "failover:(tcp://a:61616,tcp://b:61616)?maxReconnectDelay=1000" \\
             --user admin --password admin --destination queue://workshop.test --count 10
   mq-client browse --brokerUrl tcp://localhost:61616 --destination queue://workshop.test

 exit codes: 0 done, 1 wrong usage, 2 failed, 130 interrupted"""


def help_text() -> str:
    """The whole help."""
    lines = [USAGE]
    for index, option in enumerate(OPTIONS):
        head = " options : " if index == 0 else "           "
        lines.append(f"{head}[{option.name:<14} {option.shown}] - {option.help}")
    return "\n".join(lines) + "\n" + _EXAMPLES


def parse_arguments(argv: Sequence[str]) -> Arguments | None:
    """Take a command line apart; None if help is asked for.

    Raises:
        UsageError: it is not valid; its text goes behind ``Invalid usage: ``.
    """
    words = deque(argv)
    arguments = Arguments(properties={})
    action: Action | None = None
    while words:
        word = words.popleft()
        if word in ("--help", "-h", "help"):
            return None
        if word.startswith("-D"):
            _take_property(arguments, word)
        elif action is None:
            action = _action(word)
        else:
            _take_option(arguments, word, words)
    if action is None:
        raise UsageError("Missing argument", on_stdout=True)
    arguments.action = action
    _check_together(arguments)
    return arguments


def _action(word: str) -> Action:
    try:
        return Action(word)
    except ValueError:
        known = ", ".join(action.value for action in Action)
        raise UsageError(f"unknown action: {word}", f"known: {known}") from None


def _take_property(arguments: Arguments, word: str) -> None:
    name, mark, value = word[2:].partition("=")
    if not name or not mark:
        raise UsageError(f"{word} is not of the form -Dname=value")
    assert arguments.properties is not None
    arguments.properties[name] = value


def _take_option(arguments: Arguments, word: str, words: deque[str]) -> None:
    name, mark, value = word.partition("=")
    option = _BY_NAME.get(name)
    if option is None or not name.startswith("--"):
        close = difflib.get_close_matches(name, list(_BY_NAME), n=1)
        raise UsageError(f"unknown option: {name}", f"did you mean {close[0]}?" if close else "")
    if not mark:
        if not words:
            raise UsageError("Missing argument", f"{name} needs a value", on_stdout=True)
        value = words.popleft()
    setattr(arguments, option.field, option.parse(name, value))


def _check_together(arguments: Arguments) -> None:
    if arguments.action is Action.CONSUMER and arguments.client_id is not None:
        if not arguments.effective_destination.startswith("topic://"):
            raise UsageError("--clientId subscribes to a topic; --destination must be topic://name")
        if arguments.parallel_threads > 1:
            raise UsageError("--clientId allows one connection; --parallelThreads must be 1")
    if arguments.action is Action.BROWSE and arguments.effective_destination.startswith("topic://"):
        raise UsageError("only queues can be browsed; --destination must be queue://name")
