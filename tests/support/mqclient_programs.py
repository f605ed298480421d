"""What test programs of the client do again and again."""

from support.model_broker_server import ModelBroker

from mqclient import Connection, ConnectionFactory, MessageConsumer, RedeliveryPolicy, TextMessage

QUICK = RedeliveryPolicy(maximum_redeliveries=2, initial_redelivery_delay_ms=0, redelivery_delay_ms=0)


def connect(broker: ModelBroker, options: str = "", **arguments: str) -> Connection:
    """Connect with failover options."""
    made = ConnectionFactory(f"failover:({broker.url}){options}", **arguments).create_connection()
    made.start()
    return made


def send(connection: Connection, *texts: str) -> None:
    """Put texts into the queue."""
    session = connection.create_session()
    with session.create_producer("work") as producer:
        for text in texts:
            producer.send(TextMessage(text))
    session.close()


def receive(consumer: MessageConsumer, count: int) -> list[str | None]:
    """Take texts from a consumer."""
    found = []
    for _ in range(count):
        message = consumer.receive(30.0)
        assert isinstance(message, TextMessage), f"{found} and then nothing"
        found.append(message.text)
    return found
