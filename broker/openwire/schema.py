"""OpenWire's types as one table: the source from which commands.py and every codec are made.

A type is one paragraph of ``_TABLE``: ``Name(Base) = code``, a sentence, and its own fields in wire order,
which follow those of its base. Without a code a type is abstract. ``since N`` and ``until N`` name the first
and the last of the versions 1 to 12 that know a type or carry a field. ``[value]`` marks ids: hashable,
compared by value, never changed after they were made. ``[marshal aware]`` marks types that carry one more bit
when they are nested in tight encoding. The kinds of fields:

========== ================================================================= =============================
kind       value                                                             in Python
========== ================================================================= =============================
bool       one bit (tight) or one byte (loose)                               bool
byte       signed, 8 bits                                                    int
int        signed, 32 bits                                                   int
long       signed, 64 bits; compressed in tight encoding                     int
string     modified UTF-8, may be null                                       str or None
bytes      may be null                                                       bytes or None
magic      exactly eight bytes, never null                                   bytes
nested     one structure of the named type, may be null                      that type or None
cached     as nested, and replaced by its index in the sender's cache        that type or None
array      structures of the named type, may be null                         tuple of that type or None
throwable  class name, message, with stack traces also those; may be null    Throwable or None
========== ================================================================= =============================

The names are Apache's in snake case, with its misspellings mended.

Source: the OpenWire specification, version 2, and Apache ActiveMQ's published marshallers, versions 1 to 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

VERSION_MIN = 1
VERSION_MAX = 12

_TABLE = """
DataStructure
  # Anything that has a type byte.
BaseCommand(DataStructure)
  # A command: the peer answers it with a Response if response_required.
  command_id: int, response_required: bool
Identity(DataStructure) [value]
  # Names a connection, session, consumer, producer or broker.
ConnectionId(Identity) = 120 [value]
  # A connection, named by its client.
  value: string
SessionId(Identity) = 121 [value]
  # A session of a connection.
  connection_id: string, value: long
ConsumerId(Identity) = 122 [value]
  # A consumer of a session.
  connection_id: string, session_id: long, value: long
ProducerId(Identity) = 123 [value]
  # A producer of a session.
  connection_id: string, value: long, session_id: long
BrokerId(Identity) = 124 [value]
  # A broker.
  value: string
MessageId(DataStructure) = 110 [value]
  # A message: its producer and the number the producer gave it; text_view replaces both if it is set.
  text_view: string since 10, producer_id: cached ProducerId, producer_sequence_id: long,
  broker_sequence_id: long
TransactionId(DataStructure) [value]
  # A transaction.
LocalTransactionId(TransactionId) = 111 [value]
  # A transaction of one connection.
  value: long, connection_id: cached ConnectionId
XATransactionId(TransactionId) = 112 [value]
  # A branch of a distributed transaction.
  format_id: int, global_transaction_id: bytes, branch_qualifier: bytes
ActiveMQDestination(DataStructure) [value]
  # A destination; several, separated by commas, make a composite one.
  physical_name: string
ActiveMQQueue(ActiveMQDestination) = 100 [value]
  # A queue.
ActiveMQTopic(ActiveMQDestination) = 101 [value]
  # A topic.
ActiveMQTempDestination(ActiveMQDestination) [value]
  # A destination that lives with its connection.
ActiveMQTempQueue(ActiveMQTempDestination) = 102 [value]
  # A temporary queue.
ActiveMQTempTopic(ActiveMQTempDestination) = 103 [value]
  # A temporary topic.
WireFormatInfo(DataStructure) = 1
  # What one end offers; the first frame each way, always loose and uncached.
  magic: magic, version: int, marshalled_properties: bytes
BrokerInfo(BaseCommand) = 2
  # The broker introduces itself.
  broker_id: cached BrokerId, broker_url: string, peer_broker_infos: array BrokerInfo,
  broker_name: string, slave_broker: bool, master_broker: bool, fault_tolerant_configuration: bool,
  duplex_connection: bool since 2, network_connection: bool since 2, connection_id: long since 2,
  broker_upload_url: string since 3, network_properties: string since 3
ConnectionInfo(BaseCommand) = 3
  # The client introduces itself, with its credentials.
  connection_id: cached ConnectionId, client_id: string, password: string, user_name: string,
  broker_path: array BrokerId, broker_master_connector: bool, manageable: bool,
  client_master: bool since 2, fault_tolerant: bool since 6, failover_reconnect: bool since 6,
  client_ip: string since 8
SessionInfo(BaseCommand) = 4
  # Opens a session.
  session_id: cached SessionId
ConsumerInfo(BaseCommand) = 5
  # Opens a consumer.
  consumer_id: cached ConsumerId, browser: bool, destination: cached ActiveMQDestination,
  prefetch_size: int, maximum_pending_message_limit: int, dispatch_async: bool, selector: string,
  client_id: string since 10, subscription_name: string, no_local: bool, exclusive: bool,
  retroactive: bool, priority: byte, broker_path: array BrokerId,
  additional_predicate: nested DataStructure, network_subscription: bool,
  optimized_acknowledge: bool, no_range_acks: bool, network_consumer_path: array ConsumerId since 4
ProducerInfo(BaseCommand) = 6
  # Opens a producer; without a destination each message names its own.
  producer_id: cached ProducerId, destination: cached ActiveMQDestination,
  broker_path: array BrokerId, dispatch_async: bool since 2, window_size: int since 3
TransactionInfo(BaseCommand) = 7
  # One step of a transaction.
  connection_id: cached ConnectionId, transaction_id: cached TransactionId, type: byte
DestinationInfo(BaseCommand) = 8
  # Adds (0) or removes (1) a destination.
  connection_id: cached ConnectionId, destination: cached ActiveMQDestination,
  operation_type: byte, timeout: long, broker_path: array BrokerId
RemoveSubscriptionInfo(BaseCommand) = 9
  # Deletes a durable subscription.
  connection_id: cached ConnectionId, subscription_name: string, client_id: string
KeepAliveInfo(BaseCommand) = 10
  # Shows that the sender lives.
ShutdownInfo(BaseCommand) = 11
  # The sender is about to close the connection.
RemoveInfo(BaseCommand) = 12
  # Closes a connection, session, consumer or producer.
  object_id: cached Identity, last_delivered_sequence_id: long since 5
ControlCommand(BaseCommand) = 14
  # A command as text.
  command: string
FlushCommand(BaseCommand) = 15
  # Asks the broker to flush what it holds.
ConnectionError(BaseCommand) = 16
  # A fault that answers no command.
  exception: throwable, connection_id: nested ConnectionId
ConsumerControl(BaseCommand) = 17
  # Changes a consumer while it is open.
  destination: nested ActiveMQDestination since 6, close: bool, consumer_id: nested ConsumerId,
  prefetch: int, flush: bool since 2, start: bool since 2, stop: bool since 2
ConnectionControl(BaseCommand) = 18
  # The broker steers its clients.
  close: bool, exit: bool, fault_tolerant: bool, resume: bool, suspend: bool,
  connected_brokers: string since 6, reconnect_to: string since 6,
  rebalance_connection: bool since 6, token: bytes since 8
ProducerAck(BaseCommand) = 19 since 3
  # The broker has dealt with so many bytes of a producer.
  producer_id: nested ProducerId, size: int
MessagePull(BaseCommand) = 20 since 2
  # A consumer without prefetch asks for one message.
  consumer_id: cached ConsumerId, destination: cached ActiveMQDestination, timeout: long,
  correlation_id: string since 3, message_id: nested MessageId since 3
MessageDispatch(BaseCommand) = 21
  # A message to a consumer; without a message the end of a browse, or of a pull that timed out.
  consumer_id: cached ConsumerId, destination: cached ActiveMQDestination, message: nested Message,
  redelivery_counter: int
MessageAck(BaseCommand) = 22
  # A consumer acknowledges a message or a range.
  destination: cached ActiveMQDestination, transaction_id: cached TransactionId,
  consumer_id: cached ConsumerId, ack_type: byte, first_message_id: nested MessageId,
  last_message_id: nested MessageId, message_count: int, poison_cause: throwable since 7
Message(BaseCommand) [marshal aware]
  # What every message carries.
  producer_id: cached ProducerId, destination: cached ActiveMQDestination,
  transaction_id: cached TransactionId, original_destination: cached ActiveMQDestination,
  message_id: nested MessageId, original_transaction_id: cached TransactionId, group_id: string,
  group_sequence: int, correlation_id: string, persistent: bool, expiration: long, priority: byte,
  reply_to: nested ActiveMQDestination, timestamp: long, type: string, content: bytes,
  marshalled_properties: bytes, data_structure: nested DataStructure,
  target_consumer_id: cached ConsumerId, compressed: bool, redelivery_counter: int,
  broker_path: array BrokerId, arrival: long, user_id: string, received_by_df_bridge: bool,
  droppable: bool since 2, cluster: array BrokerId since 3, broker_in_time: long since 3,
  broker_out_time: long since 3, jmsx_group_first_for_consumer: bool since 10
ActiveMQMessage(Message) = 23 [marshal aware]
  # A message without a body.
ActiveMQBytesMessage(ActiveMQMessage) = 24 [marshal aware]
  # A message whose body is bytes.
ActiveMQMapMessage(ActiveMQMessage) = 25 [marshal aware]
  # A message whose body is a primitive map.
ActiveMQObjectMessage(ActiveMQMessage) = 26 [marshal aware]
  # A message whose body is an opaque Java object.
ActiveMQStreamMessage(ActiveMQMessage) = 27 [marshal aware]
  # A message whose body is a row of primitive values.
ActiveMQTextMessage(ActiveMQMessage) = 28 [marshal aware]
  # A message whose body is text.
ActiveMQBlobMessage(ActiveMQMessage) = 29 since 3 [marshal aware]
  # A message whose body lies elsewhere.
  remote_blob_url: string, mime_type: string, deleted_by_broker: bool
Response(BaseCommand) = 30
  # Answers a command.
  correlation_id: int
ExceptionResponse(Response) = 31
  # The command failed.
  exception: throwable
DataResponse(Response) = 32
  # Answers with a structure.
  data: nested DataStructure
DataArrayResponse(Response) = 33
  # Answers with structures.
  data: array DataStructure
IntegerResponse(Response) = 34
  # Answers with a number.
  result: int
DiscoveryEvent(DataStructure) = 40
  # A broker was found or lost.
  service_name: string, broker_name: string
JournalTopicAck(DataStructure) = 50
  # Apache's journal only.
  destination: nested ActiveMQDestination, message_id: nested MessageId, message_sequence_id: long,
  subscription_name: string, client_id: string, transaction_id: nested TransactionId
JournalQueueAck(DataStructure) = 52
  # Apache's journal only.
  destination: nested ActiveMQDestination, message_ack: nested MessageAck
JournalTrace(DataStructure) = 53
  # Apache's journal only.
  message: string
JournalTransaction(DataStructure) = 54
  # Apache's journal only.
  transaction_id: nested TransactionId, type: byte, was_prepared: bool
SubscriptionInfo(DataStructure) = 55
  # A durable subscription.
  client_id: string, destination: cached ActiveMQDestination, selector: string,
  subscription_name: string, subscribed_destination: nested ActiveMQDestination since 3,
  no_local: bool since 11
PartialCommand(DataStructure) = 60
  # A piece of a command (datagram transports).
  command_id: int, data: bytes
LastPartialCommand(PartialCommand) = 61
  # The last piece of a command.
ReplayCommand(BaseCommand) = 65
  # Asks for commands again (datagram transports).
  first_nak_number: int, last_nak_number: int
MessageDispatchNotification(BaseCommand) = 90
  # A master tells its slave of a dispatch.
  consumer_id: cached ConsumerId, destination: cached ActiveMQDestination,
  delivery_sequence_id: long, message_id: nested MessageId
NetworkBridgeFilter(DataStructure) = 91
  # Keeps messages from going round between brokers.
  network_ttl: int until 9, network_broker_id: cached BrokerId, message_ttl: int since 10,
  consumer_ttl: int since 10
BrokerSubscriptionInfo(BaseCommand) = 92 since 12
  # A broker's durable subscriptions, for a network connector.
  broker_id: nested BrokerId, broker_name: string, subscription_infos: array ConsumerInfo
"""


class Kind(Enum):
    """How a field is written; see the table of kinds above."""

    BOOL = "bool"
    BYTE = "byte"
    INT = "int"
    LONG = "long"
    STRING = "string"
    BYTES = "bytes"
    MAGIC = "magic"
    NESTED = "nested"
    CACHED = "cached"
    ARRAY = "array"
    THROWABLE = "throwable"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, kind, the type it holds (nested kinds only), and the versions that carry it."""

    name: str
    kind: Kind
    holds: str | None
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Type:
    """One structure.

    Attributes:
        name: Apache's class name.
        code: the type byte, or None for an abstract type.
        base: the name of the type whose fields come first; None for the root.
        doc: one sentence for the generated class.
        fields: its own fields in wire order, those of all versions.
        since: the first version that knows it.
        is_value: whether it is an identity: hashable, compared by value, never changed after it was made.
        is_marshal_aware: whether a nested one carries one more bit in tight encoding.
    """

    name: str
    code: int | None
    base: str | None
    doc: str
    fields: tuple[Field, ...]
    since: int
    is_value: bool
    is_marshal_aware: bool


_VERSIONS = r"(?: since (?P<since>\d+))?(?: until (?P<until>\d+))?"
_HEAD = re.compile(
    r"(?P<name>\w+)(?:\((?P<base>\w+)\))?(?: = (?P<code>\d+))?"
    + _VERSIONS
    + r"(?P<value> \[value\])?(?P<aware> \[marshal aware\])?"
)
_FIELD = re.compile(r"(?P<name>\w+): (?P<kind>\w+)(?: (?P<holds>[A-Z]\w+))?" + _VERSIONS)


def _parse_field(text: str) -> Field:
    match = _FIELD.fullmatch(text)
    assert match is not None, f"not a field: {text!r}"
    since, until = int(match["since"] or VERSION_MIN), int(match["until"] or VERSION_MAX)
    return Field(match["name"], Kind(match["kind"]), match["holds"], since, until)


def _parse_type(paragraph: list[str]) -> Type:
    head = _HEAD.fullmatch(paragraph[0])
    assert head is not None, f"not a type: {paragraph[0]!r}"
    fields = " ".join(line.strip() for line in paragraph[2:])
    return Type(
        name=head["name"],
        code=int(head["code"]) if head["code"] else None,
        base=head["base"],
        doc=paragraph[1].removeprefix("  # "),
        fields=tuple(_parse_field(each) for each in fields.split(", ")) if fields else (),
        since=int(head["since"] or VERSION_MIN),
        is_value=head["value"] is not None,
        is_marshal_aware=head["aware"] is not None,
    )


def _parse(table: str) -> Iterator[Type]:
    paragraph: list[str] = []
    for line in table.strip().splitlines():
        if paragraph and not line.startswith(" "):
            yield _parse_type(paragraph)
            paragraph = []
        paragraph.append(line)
    yield _parse_type(paragraph)


TYPES: tuple[Type, ...] = tuple(_parse(_TABLE))
BY_NAME: dict[str, Type] = {each.name: each for each in TYPES}
BY_CODE: dict[int, Type] = {each.code: each for each in TYPES if each.code is not None}


def all_fields(each: Type) -> tuple[Field, ...]:
    """The fields of a type in every version, its bases' first."""
    inherited = all_fields(BY_NAME[each.base]) if each.base else ()
    return inherited + each.fields


def wire_fields(each: Type, version: int) -> tuple[Field, ...]:
    """The fields of a type as one version writes them, in wire order."""
    return tuple(field for field in all_fields(each) if field.since <= version <= field.until)


def is_a(each: Type, ancestor: str) -> bool:
    """Whether a type is, or descends from, the named one."""
    while each.name != ancestor:
        if each.base is None:
            return False
        each = BY_NAME[each.base]
    return True


def concrete(ancestor: str, version: int) -> tuple[Type, ...]:
    """The types with a code that may stand where the named one is declared, in one version."""
    return tuple(
        each for each in TYPES if each.code is not None and each.since <= version and is_a(each, ancestor)
    )
