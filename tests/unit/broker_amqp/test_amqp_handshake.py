"""What is said before AMQP: SASL, byte by byte."""

from support.amqp_client import Broker
from support.amqp_frames import SASL_HEADER, frame

from broker.amqp.types import Symbol, UByte


def test_a_mechanism_that_is_not_offered() -> None:
    """The client is told that its login has failed, and not only hung up on."""
    server = Broker().server()
    server.receive_data(SASL_HEADER + frame(0x41, Symbol("ANONYMOUS"), b"", "host", kind=1), 0.0)
    assert server.data_to_send().endswith(frame(0x44, UByte(1), kind=1))
    assert server.closing
