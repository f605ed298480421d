"""The threads of the mq-client."""

import threading

from mqclient.arguments import parse_arguments
from mqclient.workers import Producer


class FactoryWithoutBroker:
    """A factory whose connection never comes."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def create_connection(self, client_id: str | None) -> None:
        """Wait for ever."""
        del client_id
        self.asked.set()
        threading.Event().wait()


def test_an_interrupt_does_not_wait_for_a_broker() -> None:
    """Who waits for a broker has nothing to finish: Ctrl-C ends it at once."""
    factory = FactoryWithoutBroker()
    arguments = parse_arguments(["producer"])
    assert arguments is not None
    worker = Producer(0, factory, arguments, lambda _: None)
    worker.start()
    assert factory.asked.wait(5)
    assert not worker.join(0)
    worker.interrupt()
    assert worker.join(0)
