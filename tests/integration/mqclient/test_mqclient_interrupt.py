"""Ctrl-C in a program that uses the library."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.model_broker_server import ModelBroker
from support.waiting import wait_until

PROGRAM = """
import sys
from mqclient import ConnectionFactory, TextMessage
factory = ConnectionFactory(f"failover:({sys.argv[1]})?jms.closeTimeout=200")
try:
    with factory.create_connection() as connection:
        connection.start()
        session = connection.create_session()
        consumer, producer = session.create_consumer("q"), session.create_producer("q")
        try:
            print("blocked", flush=True)
            %s
        except KeyboardInterrupt:
            print("interrupted, connected to", connection.broker_url)
            raise
except KeyboardInterrupt:
    print("left")
"""


@pytest.mark.parametrize("call", ["consumer.receive()", "producer.send(TextMessage('x'))"])
def test_an_interrupt_leaves_a_blocking_call(call: str) -> None:
    """Ctrl-C ends a receive or send, leaves the connection usable, and the program can close it."""
    with ModelBroker() as broker:
        broker.prepare = lambda model: setattr(model, "answers_messages", False)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM % call, broker.url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "blocked\n"
        wait_until(lambda: is_asleep(process.pid))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        assert out == f"interrupted, connected to {broker.url}\nleft\n"
        assert process.returncode == 0


def is_asleep(pid: int) -> bool:
    """Whether the process's main thread waits."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "S"
