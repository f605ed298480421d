"""The mq-client command as a process, against the model broker on a real socket."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.model_broker_server import ModelBroker
from support.waiting import wait_until

TIMEOUT_S = 30.0


def start(*arguments: str, home: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start mq-client; without FABRIC_HOME of the machine it runs on."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("FABRIC_")}
    variables |= {"FABRIC_HOME": str(home or "/nonexistent"), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "mqclient.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


def run(*arguments: str, **environment: str) -> tuple[int, list[str], list[str]]:
    """Run mq-client to its end: exit code, lines of standard output, lines of standard error."""
    process = start(*arguments, **environment)
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return process.returncode, out.splitlines(), err.splitlines()


def at(broker: ModelBroker, *arguments: str) -> list[str]:
    """Arguments that lead to the broker's queue."""
    url = f"failover:({broker.url})"
    return [*arguments, "--brokerUrl", url, "--destination", "queue://work"]


def without_times(lines: list[str]) -> list[str]:
    """Lines whose measured times are replaced."""
    return [re.sub(r"\d+ (s|milli seconds)$", r"N \1", line) for line in lines]


def test_producer_says_what_the_original_said(broker: ModelBroker) -> None:
    """Each line has the original's form."""
    code, out, err = run(*at(broker, "producer", "--count", "2"))
    assert without_times(out) == [
        f"Using destination: queue://work, on broker: failover:({broker.url})",
        f"[mqclient.failover] : Successfully connected to {broker.url}",
        "[mqclient.producer] : Thread-0 Started to calculate elapsed time ...",
        "",
        "[mqclient.producer] : Thread-0 Sent: test message: 0",
        "[mqclient.producer] : Thread-0 Sent: test message: 1",
        "[mqclient.producer] : Thread-0 Produced: 2 messages",
        "[mqclient.producer] : Thread-0 Elapsed time in second : N s",
        "[mqclient.producer] : Thread-0 Elapsed time in milli second : N milli seconds",
        "[mqclient.service] : Closed JMS connection",
        "[mqclient.producer] : Thread-0 Producer thread finished",
        "All threads completed their work",
    ]
    assert (code, err) == (0, [])
    assert len(broker.store.bodies()) == 2


def test_consumer_says_what_the_original_said(broker: ModelBroker) -> None:
    """Each line has the original's form, and the last incomplete batch is committed."""
    run(*at(broker, "producer", "--count", "3"))
    code, out, err = run(*at(broker, "consumer", "--count", "3", "--batchSize", "2"))
    assert out[2:] == [
        "[mqclient.consumer] : Thread-0 Waiting for: 3 messages",
        "[mqclient.consumer] : Thread-0 Received test message: 0",
        "[mqclient.consumer] : Thread-0 Received test message: 1",
        "[mqclient.consumer] : Thread-0Committing transaction: 0",
        "[mqclient.consumer] : Thread-0 Received test message: 2",
        "[mqclient.consumer] : Thread-0Committing transaction: 1",
        "Thread-0 Consumed: 3 messages",
        "[mqclient.service] : Closed JMS connection",
        "[mqclient.consumer] : Thread-0 Consumer thread finished",
        "All threads completed their work",
    ]
    assert (code, err) == (0, [])
    assert broker.store.bodies() == []


def test_browse_shows_and_leaves(broker: ModelBroker) -> None:
    """Browsing shows up to its count and takes nothing."""
    run(*at(broker, "producer", "--count", "3"))
    code, out, _ = run(*at(broker, "browse", "--count", "2"))
    assert out[2:5] == [
        "[mqclient.browser] : Thread-0 Browsed test message: 0",
        "[mqclient.browser] : Thread-0 Browsed test message: 1",
        "Thread-0 Browsed: 2 messages",
    ]
    assert code == 0
    assert len(broker.store.bodies()) == 3


def test_the_summary_is_the_only_output_as_json(broker: ModelBroker) -> None:
    """Scripts read one JSON object from standard output."""
    code, out, err = run(
        *at(broker, "producer", "--count", "2", "--parallelThreads", "2", "--output", "json")
    )
    (line,) = out
    summary = json.loads(line)
    assert (code, summary["exit_code"], summary["messages"]) == (0, 0, 4)
    assert [thread["messages"] for thread in summary["threads"]] == [2, 2]
    assert err[0].startswith("Using destination")


@pytest.mark.parametrize(
    ("options", "length"),
    [
        (["--size", "300"], 300),
        (["--textSize", "100b"], 4 + len("0::") + 100),
        (["--textSize", "1K"], 4 + len("0::") + 1024),
        (["--textSize", "10K"], 4 + len("0::") + 10240),
        (["--textSize", "7K"], 4 + len("0::") + 100),
    ],
)
def test_sizes(broker: ModelBroker, options: list[str], length: int) -> None:
    """Bodies have the size asked for; an unknown text size is told and replaced."""
    code, out, _ = run(*at(broker, "producer", "--count", "1", *options))
    assert code == 0
    assert [len(body or b"") for body in broker.store.bodies()] == [length]
    told = "[mqclient.producer] : Type size unknown : 7K, we will use a text message of 100b"
    assert (told in out) == ("7K" in options)


def test_producer_batches_are_committed_with_the_last(broker: ModelBroker) -> None:
    """Five messages in batches of two are three transactions."""
    _, out, _ = run(*at(broker, "producer", "--count", "5", "--batchSize", "2", "--groupId", "g"))
    assert [line for line in out if "Committing" in line] == [
        f"[mqclient.producer] : Thread-0 Committing transaction: {number}" for number in range(3)
    ]
    assert len(broker.store.bodies()) == 5
    assert broker.store.committed == 3


def test_a_durable_subscriber_has_the_originals_name(broker: ModelBroker) -> None:
    """With --clientId the consumer subscribes to topic TEST as fuseSub."""
    process = start("consumer", "--brokerUrl", broker.url, "--clientId", "me", "--count", "1")
    wait_until(lambda: broker.connections and "ConsumerInfo" in broker.connections[-1].names())
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert out.startswith("Using destination: topic://TEST")
    names = [
        (each.subscription_name, each.destination.physical_name)
        for each in broker.connections[-1].received
        if type(each).__name__ == "ConsumerInfo"
    ]
    assert names == [("fuseSub", "TEST")]


def test_control_c_says_what_was_done(broker: ModelBroker) -> None:
    """An interrupted consumer tells its count, commits what it has, and exits with 130."""
    run(*at(broker, "producer", "--count", "3"))
    process = start(*at(broker, "consumer", "--count", "10", "--batchSize", "2"))
    wait_until(lambda: broker.store.committed == 1 and len(broker.store.owners) == 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Interrupted after 3 messages" in out
    assert "Traceback" not in err
    assert broker.store.bodies() == []


def test_control_c_ends_a_producer_that_waits_for_a_broker() -> None:
    """Without a broker in sight Ctrl-C ends the command as well."""
    with ModelBroker() as broker:
        url = broker.url
    process = start("producer", "--brokerUrl", f"failover:({url})")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Using destination")
    wait_until(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) >= 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_waiting_for_a_broker_is_told(tmp_path: Path) -> None:
    """Within seconds standard error says that it waits, for whom and why; with many threads once."""
    with ModelBroker() as broker:
        url = broker.url
    process = start("producer", "--brokerUrl", f"failover:({url})", "--parallelThreads", "3", home=tmp_path)
    assert process.stderr is not None
    line = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert line.startswith(
        f"[mqclient.waiting] : No broker yet: {url} cannot be reached: Connection refused."
    )
    assert "timeout=10000" in line
    assert "No broker yet" not in out + err


def test_a_wait_that_was_bounded_says_what_was_waited_for() -> None:
    """The option timeout ends the first wait, however short it is."""
    with ModelBroker() as broker:
        url = broker.url
    code, _, err = run("producer", "--brokerUrl", f"failover:({url})?timeout=100")
    assert code == 2
    assert err == [
        "Thread-0Execution failed with: No broker appeared in time. Failover timeout of 100 ms reached. "
        f"No broker: {url} cannot be reached: Connection refused."
    ]


def test_a_wrong_password_is_an_error_not_a_loop(broker: ModelBroker) -> None:
    """The login is refused once, and the exit code is 2."""
    broker.password = "right"
    code, _, err = run(*at(broker, "producer", "--user", "admin", "--password", "wrong"))
    assert code == 2
    assert "Thread-0Execution failed with: The user name or password is wrong." in err[0]
    assert len(broker.connections) == 1


def test_a_failed_producer_exits_with_2(broker: ModelBroker) -> None:
    """Better than the original, whose exit code was 0."""
    broker.prepare = lambda model: model.refuse.update(ActiveMQTextMessage="javax.jms.JMSException")
    code, out, err = run(*at(broker, "producer", "--count", "3"))
    assert code == 2
    assert "[mqclient.producer] : Thread-0 Produced: 0 messages" in out
    assert "JMSException" in err[0]


def test_a_batch_that_is_rolled_back_is_sent_again(broker: ModelBroker) -> None:
    """A commit in doubt costs a repetition, never a message."""
    broker.prepare = lambda model: setattr(model, "answers_commits", bool(broker.connections))
    process = start(*at(broker, "producer", "--count", "2", "--batchSize", "2"))
    wait_until(lambda: broker.store.committed == 1)
    broker.cut()
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert "Sending batch 0 again" in out
    assert len(broker.store.bodies()) == 4


def test_the_registry_must_answer() -> None:
    """Discovery without ZooKeeper says what is missing and exits with 2."""
    with ModelBroker() as gone:
        port = gone.port
    code, _, err = run(
        "producer", "--brokerUrl", "discovery:fabric:default", f"-Dzookeeper.url=127.0.0.1:{port}"
    )
    assert code == 2
    assert f"127.0.0.1:{port}" in err[0]


def test_a_damaged_settings_file_is_told(tmp_path: Path) -> None:
    """A fabric.json that cannot be read is not ignored."""
    (tmp_path / "fabric.json").write_text("{", "utf-8")
    process = start("producer", "--brokerUrl", "discovery:fabric:default", home=tmp_path)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert str(tmp_path / "fabric.json") in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["producer", "--brokerUrl", "failover:(tcp://a)?nonsense=1"], "unknown option nonsense"),
        (["producer", "--brokerUrl", "http://a"], "not a broker URL"),
        (["producer", "--destination", "nonsense://a"], "a destination is"),
    ],
)
def test_bad_values_are_usage_errors(arguments: list[str], message: str) -> None:
    """What can be known to be wrong beforehand exits with 1."""
    code, _, err = run(*arguments)
    assert code == 1
    assert err[0].startswith("Invalid usage: ")
    assert message in err[0]


def test_usage_errors_show_the_help() -> None:
    """The original's wording and streams, then the help, exit code 1."""
    code, out, err = run("producer", "--nonsense")
    assert (code, out) == (1, [])
    assert err[0] == "Invalid usage: unknown option: --nonsense"
    assert " usage   : (producer|consumer|browse) [OPTIONS]" in err
    code, out, err = run()
    assert (code, err) == (1, [])
    assert out[0] == "Invalid usage: Missing argument"


def test_a_plain_url_loads_neither_zookeeper_nor_twisted() -> None:
    """The command starts quickly because it loads only what it needs."""
    script = (
        "import sys, mqclient.main; early = set(sys.modules); import mqclient.command;"
        "print('broker.openwire.codec' in early, {'kazoo', 'twisted'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False set()\n"
