"""The command line, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqclient.arguments import OPTIONS, Action, Arguments, UsageError, help_text, parse_arguments


def parsed(*words: str) -> Arguments:
    """Arguments of a command line that does not ask for help."""
    arguments = parse_arguments(words)
    assert arguments is not None
    return arguments


def test_defaults_are_the_originals() -> None:
    """Without options the command does what the original did."""
    arguments = parsed("producer")
    assert arguments.action is Action.PRODUCER
    assert arguments.effective_destination == "queue://TEST"
    assert arguments.broker_url == "failover://tcp://localhost:61616"
    assert (arguments.user, arguments.password, arguments.client_id, arguments.group_id) == (None,) * 4
    assert (arguments.count, arguments.sleep_ms, arguments.persistent, arguments.size) == (100, 0, True, 0)
    assert (arguments.ttl_ms, arguments.batch_size, arguments.parallel_threads) == (0, 0, 1)
    assert arguments.text_size is None


def test_a_client_id_means_a_topic() -> None:
    """A durable subscriber's default destination is a topic."""
    assert parsed("consumer", "--clientId", "me").effective_destination == "topic://TEST"


def test_every_option_is_taken() -> None:
    """Each option sets its field, as two words and as one."""
    words = [
        *("producer", "--destination", "topic://x", "--persistent", "false", "--count", "5", "--size=6"),
        *("--textSize", "1K", "--sleep", "7", "--batchSize", "8", "--ttl", "9", "--parallelThreads", "2"),
        *(
            "--groupId",
            "g",
            "--selector",
            "a = 1",
            "--brokerUrl",
            "tcp://a?x=y",
            "--user=",
            "--password",
            "p",
        ),
        *("--output", "json", "-Dzookeeper.url=h:1,i:2", "-Dzookeeper.password="),
    ]
    assert parsed(*words) == Arguments(
        action=Action.PRODUCER,
        destination="topic://x",
        persistent=False,
        count=5,
        size=6,
        text_size="1K",
        sleep_ms=7,
        batch_size=8,
        ttl_ms=9,
        parallel_threads=2,
        group_id="g",
        selector="a = 1",
        broker_url="tcp://a?x=y",
        user="",
        password="p",
        json_output=True,
        properties={"zookeeper.url": "h:1,i:2", "zookeeper.password": ""},
    )


def test_properties_may_stand_anywhere() -> None:
    """The original's -D stood before the jar; here it may stand before the action, too."""
    arguments = parsed("-Dzookeeper.url=h:1", "consumer", "--count", "1")
    assert arguments.properties == {"zookeeper.url": "h:1"}


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["producer", "--count", "1", "--help"]])
def test_help_is_asked_for(words: list[str]) -> None:
    """Help wins over everything that was right before it."""
    assert parse_arguments(words) is None


@pytest.mark.parametrize(
    ("words", "message", "detail"),
    [
        ([], "Missing argument", ""),
        (["producer", "--count"], "Missing argument", "--count needs a value"),
        (["producer", "--cuont", "1"], "unknown option: --cuont", "did you mean --count?"),
        (["producer", "extra"], "unknown option: extra", ""),
        (["sender"], "unknown action: sender", "known: producer, consumer, browse"),
        (["producer", "--count", "many"], "argument not a number", "--count many"),
        (["producer", "--count", "1.5"], "argument not a number", "--count 1.5"),
        (["producer", "--count", "0"], "--count must be at least 1, not 0", ""),
        (["producer", "--count", "-1"], "--count must be at least 1, not -1", ""),
        (["producer", "--count", "2147483648"], "--count must be at most 2147483647, not 2147483648", ""),
        (["producer", "--sleep", "-1"], "--sleep must be at least 0, not -1", ""),
        (["producer", "--size", "-1"], "--size must be at least 0, not -1", ""),
        (["producer", "--batchSize", "-1"], "--batchSize must be at least 0, not -1", ""),
        (["producer", "--ttl", "-1"], "--ttl must be at least 0, not -1", ""),
        (["producer", "--parallelThreads", "0"], "--parallelThreads must be at least 1, not 0", ""),
        (["producer", "--persistent", "maybe"], "--persistent must be true or false, not maybe", ""),
        (["producer", "--output", "xml"], "--output must be text or json, not xml", ""),
        (["producer", "--destination", ""], "--destination must not be empty", ""),
        (["producer", "-Dx"], "-Dx is not of the form -Dname=value", ""),
        (["consumer", "--clientId", "a", "--destination", "queue://x"], "--clientId subscribes", ""),
        (["consumer", "--clientId", "a", "--parallelThreads", "2"], "--clientId allows one", ""),
        (["browse", "--destination", "topic://x"], "only queues can be browsed", ""),
    ],
)
def test_mistakes_are_told(words: list[str], message: str, detail: str) -> None:
    """Each mistake has its own sentence; the original's sentences are the original's."""
    with pytest.raises(UsageError) as refused:
        parse_arguments(words)
    assert str(refused.value).startswith(message)
    assert refused.value.detail == detail
    assert refused.value.on_stdout == (message == "Missing argument")


def test_help_has_a_line_for_every_option() -> None:
    """Nothing that can be said is left out of the help, and no line is too long for a terminal of 110."""
    text = help_text()
    for option in OPTIONS:
        assert option.name in text
    assert "-Dzookeeper.url" in text
    assert max(map(len, text.splitlines())) <= 110


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_are_arguments_or_a_usage_error(words: list[str]) -> None:
    """No command line makes the parser fail otherwise."""
    try:
        parse_arguments(words)
        parse_arguments(["producer", *words])
    except UsageError:
        return
