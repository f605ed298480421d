"""OpenWire's structures, made by ``python -m broker.openwire.generate`` from schema.py.

Value types (ids and destinations) are hashable and must not be changed after they were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from broker.openwire.throwable import Throwable


@dataclass(slots=True)
class DataStructure:
    """Anything that has a type byte."""

    TYPE_CODE: ClassVar[int] = 0


@dataclass(slots=True)
class BaseCommand(DataStructure):
    """A command: the peer answers it with a Response if response_required."""

    command_id: int = 0
    response_required: bool = False


@dataclass(slots=True, unsafe_hash=True)
class Identity(DataStructure):
    """Names a connection, session, consumer, producer or broker."""


@dataclass(slots=True, unsafe_hash=True)
class ConnectionId(Identity):
    """A connection, named by its client."""

    TYPE_CODE: ClassVar[int] = 120
    value: str | None = None


@dataclass(slots=True, unsafe_hash=True)
class SessionId(Identity):
    """A session of a connection."""

    TYPE_CODE: ClassVar[int] = 121
    connection_id: str | None = None
    value: int = 0


@dataclass(slots=True, unsafe_hash=True)
class ConsumerId(Identity):
    """A consumer of a session."""

    TYPE_CODE: ClassVar[int] = 122
    connection_id: str | None = None
    session_id: int = 0
    value: int = 0


@dataclass(slots=True, unsafe_hash=True)
class ProducerId(Identity):
    """A producer of a session."""

    TYPE_CODE: ClassVar[int] = 123
    connection_id: str | None = None
    value: int = 0
    session_id: int = 0


@dataclass(slots=True, unsafe_hash=True)
class BrokerId(Identity):
    """A broker."""

    TYPE_CODE: ClassVar[int] = 124
    value: str | None = None


@dataclass(slots=True, unsafe_hash=True)
class MessageId(DataStructure):
    """A message: its producer and the number the producer gave it; text_view replaces both if it is set."""

    TYPE_CODE: ClassVar[int] = 110
    text_view: str | None = None
    producer_id: ProducerId | None = None
    producer_sequence_id: int = 0
    broker_sequence_id: int = 0


@dataclass(slots=True, unsafe_hash=True)
class TransactionId(DataStructure):
    """A transaction."""


@dataclass(slots=True, unsafe_hash=True)
class LocalTransactionId(TransactionId):
    """A transaction of one connection."""

    TYPE_CODE: ClassVar[int] = 111
    value: int = 0
    connection_id: ConnectionId | None = None


@dataclass(slots=True, unsafe_hash=True)
class XATransactionId(TransactionId):
    """A branch of a distributed transaction."""

    TYPE_CODE: ClassVar[int] = 112
    format_id: int = 0
    global_transaction_id: bytes | None = None
    branch_qualifier: bytes | None = None


@dataclass(slots=True, unsafe_hash=True)
class ActiveMQDestination(DataStructure):
    """A destination; several, separated by commas, make a composite one."""

    physical_name: str | None = None


@dataclass(slots=True, unsafe_hash=True)
class ActiveMQQueue(ActiveMQDestination):
    """A queue."""

    TYPE_CODE: ClassVar[int] = 100


@dataclass(slots=True, unsafe_hash=True)
class ActiveMQTopic(ActiveMQDestination):
    """A topic."""

    TYPE_CODE: ClassVar[int] = 101


@dataclass(slots=True, unsafe_hash=True)
class ActiveMQTempDestination(ActiveMQDestination):
    """A destination that lives with its connection."""


@dataclass(slots=True, unsafe_hash=True)
class ActiveMQTempQueue(ActiveMQTempDestination):
    """A temporary queue."""

    TYPE_CODE: ClassVar[int] = 102


@dataclass(slots=True, unsafe_hash=True)
class ActiveMQTempTopic(ActiveMQTempDestination):
    """A temporary topic."""

    TYPE_CODE: ClassVar[int] = 103


@dataclass(slots=True)
class WireFormatInfo(DataStructure):
    """What one end offers; the first frame each way, always loose and uncached."""

    TYPE_CODE: ClassVar[int] = 1
    magic: bytes = b"ActiveMQ"
    version: int = 0
    marshalled_properties: bytes | None = None


@dataclass(slots=True)
class BrokerInfo(BaseCommand):
    """The broker introduces itself."""

    TYPE_CODE: ClassVar[int] = 2
    broker_id: BrokerId | None = None
    broker_url: str | None = None
    peer_broker_infos: tuple[BrokerInfo, ...] | None = None
    broker_name: str | None = None
    slave_broker: bool = False
    master_broker: bool = False
    fault_tolerant_configuration: bool = False
    duplex_connection: bool = False
    network_connection: bool = False
    connection_id: int = 0
    broker_upload_url: str | None = None
    network_properties: str | None = None


@dataclass(slots=True)
class ConnectionInfo(BaseCommand):
    """The client introduces itself, with its credentials."""

    TYPE_CODE: ClassVar[int] = 3
    connection_id: ConnectionId | None = None
    client_id: str | None = None
    password: str | None = None
    user_name: str | None = None
    broker_path: tuple[BrokerId, ...] | None = None
    broker_master_connector: bool = False
    manageable: bool = False
    client_master: bool = False
    fault_tolerant: bool = False
    failover_reconnect: bool = False
    client_ip: str | None = None


@dataclass(slots=True)
class SessionInfo(BaseCommand):
    """Opens a session."""

    TYPE_CODE: ClassVar[int] = 4
    session_id: SessionId | None = None


@dataclass(slots=True)
class ConsumerInfo(BaseCommand):
    """Opens a consumer."""

    TYPE_CODE: ClassVar[int] = 5
    consumer_id: ConsumerId | None = None
    browser: bool = False
    destination: ActiveMQDestination | None = None
    prefetch_size: int = 0
    maximum_pending_message_limit: int = 0
    dispatch_async: bool = False
    selector: str | None = None
    client_id: str | None = None
    subscription_name: str | None = None
    no_local: bool = False
    exclusive: bool = False
    retroactive: bool = False
    priority: int = 0
    broker_path: tuple[BrokerId, ...] | None = None
    additional_predicate: DataStructure | None = None
    network_subscription: bool = False
    optimized_acknowledge: bool = False
    no_range_acks: bool = False
    network_consumer_path: tuple[ConsumerId, ...] | None = None


@dataclass(slots=True)
class ProducerInfo(BaseCommand):
    """Opens a producer; without a destination each message names its own."""

    TYPE_CODE: ClassVar[int] = 6
    producer_id: ProducerId | None = None
    destination: ActiveMQDestination | None = None
    broker_path: tuple[BrokerId, ...] | None = None
    dispatch_async: bool = False
    window_size: int = 0


@dataclass(slots=True)
class TransactionInfo(BaseCommand):
    """One step of a transaction."""

    TYPE_CODE: ClassVar[int] = 7
    connection_id: ConnectionId | None = None
    transaction_id: TransactionId | None = None
    type: int = 0


@dataclass(slots=True)
class DestinationInfo(BaseCommand):
    """Adds (0) or removes (1) a destination."""

    TYPE_CODE: ClassVar[int] = 8
    connection_id: ConnectionId | None = None
    destination: ActiveMQDestination | None = None
    operation_type: int = 0
    timeout: int = 0
    broker_path: tuple[BrokerId, ...] | None = None


@dataclass(slots=True)
class RemoveSubscriptionInfo(BaseCommand):
    """Deletes a durable subscription."""

    TYPE_CODE: ClassVar[int] = 9
    connection_id: ConnectionId | None = None
    subscription_name: str | None = None
    client_id: str | None = None


@dataclass(slots=True)
class KeepAliveInfo(BaseCommand):
    """Shows that the sender lives."""

    TYPE_CODE: ClassVar[int] = 10


@dataclass(slots=True)
class ShutdownInfo(BaseCommand):
    """The sender is about to close the connection."""

    TYPE_CODE: ClassVar[int] = 11


@dataclass(slots=True)
class RemoveInfo(BaseCommand):
    """Closes a connection, session, consumer or producer."""

    TYPE_CODE: ClassVar[int] = 12
    object_id: Identity | None = None
    last_delivered_sequence_id: int = 0


@dataclass(slots=True)
class ControlCommand(BaseCommand):
    """A command as text."""

    TYPE_CODE: ClassVar[int] = 14
    command: str | None = None


@dataclass(slots=True)
class FlushCommand(BaseCommand):
    """Asks the broker to flush what it holds."""

    TYPE_CODE: ClassVar[int] = 15


@dataclass(slots=True)
class ConnectionError(BaseCommand):
    """A fault that answers no command."""

    TYPE_CODE: ClassVar[int] = 16
    exception: Throwable | None = None
    connection_id: ConnectionId | None = None


@dataclass(slots=True)
class ConsumerControl(BaseCommand):
    """Changes a consumer while it is open."""

    TYPE_CODE: ClassVar[int] = 17
    destination: ActiveMQDestination | None = None
    close: bool = False
    consumer_id: ConsumerId | None = None
    prefetch: int = 0
    flush: bool = False
    start: bool = False
    stop: bool = False


@dataclass(slots=True)
class ConnectionControl(BaseCommand):
    """The broker steers its clients."""

    TYPE_CODE: ClassVar[int] = 18
    close: bool = False
    exit: bool = False
    fault_tolerant: bool = False
    resume: bool = False
    suspend: bool = False
    connected_brokers: str | None = None
    reconnect_to: str | None = None
    rebalance_connection: bool = False
    token: bytes | None = None


@dataclass(slots=True)
class ProducerAck(BaseCommand):
    """The broker has dealt with so many bytes of a producer."""

    TYPE_CODE: ClassVar[int] = 19
    producer_id: ProducerId | None = None
    size: int = 0


@dataclass(slots=True)
class MessagePull(BaseCommand):
    """A consumer without prefetch asks for one message."""

    TYPE_CODE: ClassVar[int] = 20
    consumer_id: ConsumerId | None = None
    destination: ActiveMQDestination | None = None
    timeout: int = 0
    correlation_id: str | None = None
    message_id: MessageId | None = None


@dataclass(slots=True)
class MessageDispatch(BaseCommand):
    """A message to a consumer; without a message the end of a browse, or of a pull that timed out."""

    TYPE_CODE: ClassVar[int] = 21
    consumer_id: ConsumerId | None = None
    destination: ActiveMQDestination | None = None
    message: Message | None = None
    redelivery_counter: int = 0


@dataclass(slots=True)
class MessageAck(BaseCommand):
    """A consumer acknowledges a message or a range."""

    TYPE_CODE: ClassVar[int] = 22
    destination: ActiveMQDestination | None = None
    transaction_id: TransactionId | None = None
    consumer_id: ConsumerId | None = None
    ack_type: int = 0
    first_message_id: MessageId | None = None
    last_message_id: MessageId | None = None
    message_count: int = 0
    poison_cause: Throwable | None = None


@dataclass(slots=True)
class Message(BaseCommand):
    """What every message carries."""

    producer_id: ProducerId | None = None
    destination: ActiveMQDestination | None = None
    transaction_id: TransactionId | None = None
    original_destination: ActiveMQDestination | None = None
    message_id: MessageId | None = None
    original_transaction_id: TransactionId | None = None
    group_id: str | None = None
    group_sequence: int = 0
    correlation_id: str | None = None
    persistent: bool = False
    expiration: int = 0
    priority: int = 0
    reply_to: ActiveMQDestination | None = None
    timestamp: int = 0
    type: str | None = None
    content: bytes | None = None
    marshalled_properties: bytes | None = None
    data_structure: DataStructure | None = None
    target_consumer_id: ConsumerId | None = None
    compressed: bool = False
    redelivery_counter: int = 0
    broker_path: tuple[BrokerId, ...] | None = None
    arrival: int = 0
    user_id: str | None = None
    received_by_df_bridge: bool = False
    droppable: bool = False
    cluster: tuple[BrokerId, ...] | None = None
    broker_in_time: int = 0
    broker_out_time: int = 0
    jmsx_group_first_for_consumer: bool = False


@dataclass(slots=True)
class ActiveMQMessage(Message):
    """A message without a body."""

    TYPE_CODE: ClassVar[int] = 23


@dataclass(slots=True)
class ActiveMQBytesMessage(ActiveMQMessage):
    """A message whose body is bytes."""

    TYPE_CODE: ClassVar[int] = 24


@dataclass(slots=True)
class ActiveMQMapMessage(ActiveMQMessage):
    """A message whose body is a primitive map."""

    TYPE_CODE: ClassVar[int] = 25


@dataclass(slots=True)
class ActiveMQObjectMessage(ActiveMQMessage):
    """A message whose body is an opaque Java object."""

    TYPE_CODE: ClassVar[int] = 26


@dataclass(slots=True)
class ActiveMQStreamMessage(ActiveMQMessage):
    """A message whose body is a row of primitive values."""

    TYPE_CODE: ClassVar[int] = 27


@dataclass(slots=True)
class ActiveMQTextMessage(ActiveMQMessage):
    """A message whose body is text."""

    TYPE_CODE: ClassVar[int] = 28


@dataclass(slots=True)
class ActiveMQBlobMessage(ActiveMQMessage):
    """A message whose body lies elsewhere."""

    TYPE_CODE: ClassVar[int] = 29
    remote_blob_url: str | None = None
    mime_type: str | None = None
    deleted_by_broker: bool = False


@dataclass(slots=True)
class Response(BaseCommand):
    """Answers a command."""

    TYPE_CODE: ClassVar[int] = 30
    correlation_id: int = 0


@dataclass(slots=True)
class ExceptionResponse(Response):
    """The command failed."""

    TYPE_CODE: ClassVar[int] = 31
    exception: Throwable | None = None


@dataclass(slots=True)
class DataResponse(Response):
    """Answers with a structure."""

    TYPE_CODE: ClassVar[int] = 32
    data: DataStructure | None = None


@dataclass(slots=True)
class DataArrayResponse(Response):
    """Answers with structures."""

    TYPE_CODE: ClassVar[int] = 33
    data: tuple[DataStructure, ...] | None = None


@dataclass(slots=True)
class IntegerResponse(Response):
    """Answers with a number."""

    TYPE_CODE: ClassVar[int] = 34
    result: int = 0


@dataclass(slots=True)
class DiscoveryEvent(DataStructure):
    """A broker was found or lost."""

    TYPE_CODE: ClassVar[int] = 40
    service_name: str | None = None
    broker_name: str | None = None


@dataclass(slots=True)
class JournalTopicAck(DataStructure):
    """Apache's journal only."""

    TYPE_CODE: ClassVar[int] = 50
    destination: ActiveMQDestination | None = None
    message_id: MessageId | None = None
    message_sequence_id: int = 0
    subscription_name: str | None = None
    client_id: str | None = None
    transaction_id: TransactionId | None = None


@dataclass(slots=True)
class JournalQueueAck(DataStructure):
    """Apache's journal only."""

    TYPE_CODE: ClassVar[int] = 52
    destination: ActiveMQDestination | None = None
    message_ack: MessageAck | None = None


@dataclass(slots=True)
class JournalTrace(DataStructure):
    """Apache's journal only."""

    TYPE_CODE: ClassVar[int] = 53
    message: str | None = None


@dataclass(slots=True)
class JournalTransaction(DataStructure):
    """Apache's journal only."""

    TYPE_CODE: ClassVar[int] = 54
    transaction_id: TransactionId | None = None
    type: int = 0
    was_prepared: bool = False


@dataclass(slots=True)
class SubscriptionInfo(DataStructure):
    """A durable subscription."""

    TYPE_CODE: ClassVar[int] = 55
    client_id: str | None = None
    destination: ActiveMQDestination | None = None
    selector: str | None = None
    subscription_name: str | None = None
    subscribed_destination: ActiveMQDestination | None = None
    no_local: bool = False


@dataclass(slots=True)
class PartialCommand(DataStructure):
    """A piece of a command (datagram transports)."""

    TYPE_CODE: ClassVar[int] = 60
    command_id: int = 0
    data: bytes | None = None


@dataclass(slots=True)
class LastPartialCommand(PartialCommand):
    """The last piece of a command."""

    TYPE_CODE: ClassVar[int] = 61


@dataclass(slots=True)
class ReplayCommand(BaseCommand):
    """Asks for commands again (datagram transports)."""

    TYPE_CODE: ClassVar[int] = 65
    first_nak_number: int = 0
    last_nak_number: int = 0


@dataclass(slots=True)
class MessageDispatchNotification(BaseCommand):
    """A master tells its slave of a dispatch."""

    TYPE_CODE: ClassVar[int] = 90
    consumer_id: ConsumerId | None = None
    destination: ActiveMQDestination | None = None
    delivery_sequence_id: int = 0
    message_id: MessageId | None = None


@dataclass(slots=True)
class NetworkBridgeFilter(DataStructure):
    """Keeps messages from going round between brokers."""

    TYPE_CODE: ClassVar[int] = 91
    network_ttl: int = 0
    network_broker_id: BrokerId | None = None
    message_ttl: int = 0
    consumer_ttl: int = 0


@dataclass(slots=True)
class BrokerSubscriptionInfo(BaseCommand):
    """A broker's durable subscriptions, for a network connector."""

    TYPE_CODE: ClassVar[int] = 92
    broker_id: BrokerId | None = None
    broker_name: str | None = None
    subscription_infos: tuple[ConsumerInfo, ...] | None = None


BY_TYPE_CODE: dict[int, type[DataStructure]] = {
    120: ConnectionId,
    121: SessionId,
    122: ConsumerId,
    123: ProducerId,
    124: BrokerId,
    110: MessageId,
    111: LocalTransactionId,
    112: XATransactionId,
    100: ActiveMQQueue,
    101: ActiveMQTopic,
    102: ActiveMQTempQueue,
    103: ActiveMQTempTopic,
    1: WireFormatInfo,
    2: BrokerInfo,
    3: ConnectionInfo,
    4: SessionInfo,
    5: ConsumerInfo,
    6: ProducerInfo,
    7: TransactionInfo,
    8: DestinationInfo,
    9: RemoveSubscriptionInfo,
    10: KeepAliveInfo,
    11: ShutdownInfo,
    12: RemoveInfo,
    14: ControlCommand,
    15: FlushCommand,
    16: ConnectionError,
    17: ConsumerControl,
    18: ConnectionControl,
    19: ProducerAck,
    20: MessagePull,
    21: MessageDispatch,
    22: MessageAck,
    23: ActiveMQMessage,
    24: ActiveMQBytesMessage,
    25: ActiveMQMapMessage,
    26: ActiveMQObjectMessage,
    27: ActiveMQStreamMessage,
    28: ActiveMQTextMessage,
    29: ActiveMQBlobMessage,
    30: Response,
    31: ExceptionResponse,
    32: DataResponse,
    33: DataArrayResponse,
    34: IntegerResponse,
    40: DiscoveryEvent,
    50: JournalTopicAck,
    52: JournalQueueAck,
    53: JournalTrace,
    54: JournalTransaction,
    55: SubscriptionInfo,
    60: PartialCommand,
    61: LastPartialCommand,
    65: ReplayCommand,
    90: MessageDispatchNotification,
    91: NetworkBridgeFilter,
    92: BrokerSubscriptionInfo,
}
