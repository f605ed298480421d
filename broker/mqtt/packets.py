"""The packets of MQTT as values, in the form that 5.0 gives them; older versions leave more at its default.

A client's packets are also the events of :class:`broker.mqtt.connection.Connection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class PacketType(IntEnum):
    """The upper four bits of a packet's first byte. Source: MQTT 5.0 §2.1.2."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


V3_1: Final = 3
"""Protocol version of MQTT 3.1."""
V3_1_1: Final = 4
"""Protocol version of MQTT 3.1.1."""
V5: Final = 5
"""Protocol version of MQTT 5.0."""


@dataclass(slots=True, unsafe_hash=True)
class Properties:
    """What 5.0 adds to packets; None: absent. Treated as immutable.

    Attributes:
        payload_format: 1 if the payload is UTF-8, 0 if it is bytes.
        message_expiry_s: lifetime of the message, seconds.
        content_type: of the payload.
        response_topic: where an answer is expected.
        correlation_data: what the answer shall carry.
        subscription_ids: of the subscription; in a PUBLISH of all that it was sent for.
        session_expiry_s: how long the session outlives its connection; 0xFFFFFFFF for ever.
        assigned_client_id: the client's, if it gave none.
        server_keep_alive_s: instead of what the client wanted.
        authentication_method: of enhanced authentication.
        authentication_data: likewise.
        request_problem_information: 0 if only CONNACK, PUBLISH and DISCONNECT may say more than a code.
        will_delay_s: from the connection's end to the will.
        request_response_information: 1 if the client wants `response_information`.
        response_information: what response topics begin with.
        server_reference: another server to use.
        reason_string: for people.
        receive_maximum: unanswered PUBLISH packets of QoS 1 and 2 that its sender takes.
        topic_alias_maximum: highest alias that its sender takes.
        topic_alias: stands for the topic name.
        maximum_qos: highest QoS that is taken.
        retain_available: 0 if retained messages are not supported.
        user: names and values in their order, names may repeat.
        maximum_packet_size: bytes of a packet that its sender takes.
        wildcard_subscription_available: 0 if not.
        subscription_ids_available: 0 if not.
        shared_subscription_available: 0 if not.
    """

    payload_format: int | None = None
    message_expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_ids: tuple[int, ...] = ()
    session_expiry_s: int | None = None
    assigned_client_id: str | None = None
    server_keep_alive_s: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_s: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_ids_available: int | None = None
    shared_subscription_available: int | None = None


NO_PROPERTIES: Final = Properties()
"""Shared by all packets without properties: compare with ``is``."""


@dataclass(slots=True)
class Will:
    """What is published when a client goes without saying so.

    Attributes:
        topic: a valid topic name.
        payload: any bytes.
        qos: 0 to 2.
        retain: keep it as the topic's retained message.
        properties: of the message, and `will_delay_s`.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Connect:
    """A client wants to connect; `Connection.accept` or `Connection.refuse` answers.

    Attributes:
        version: `V3_1`, `V3_1_1` or `V5`.
        client_id: empty: one is to be made up for the client; older than 5.0 only with `clean_start`.
        clean_start: forget what is left of an earlier session; before 5.0 also of this one.
        keep_alive_s: 0 to 65,535 as the client wants it; 0: none.
        will: None if there is none.
        user_name: None if absent.
        password: likewise; any bytes.
        properties: never with an authentication method: such clients are refused before.
    """

    version: int
    client_id: str
    clean_start: bool = True
    keep_alive_s: int = 0
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Publish:
    """A message from the client.

    `send_puback` answers QoS 1; `send_pubrec` QoS 2, and `send_pubcomp` the `Pubrel` that follows.

    Attributes:
        topic: a valid topic name; an alias has been resolved.
        payload: any bytes.
        qos: 0 to 2.
        retain: it is to be kept as the topic's retained message.
        dup: the client may have sent it before.
        packet_id: 0 with QoS 0.
        properties: as sent; `topic_alias` concerns this connection only.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Puback:
    """The client has a message of QoS 1, or refuses it (`reason_code` from 0x80); its identifier is free."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Pubrec:
    """The client has a message of QoS 2, which must not be sent again: `send_pubrel` when that is stored.

    With a `reason_code` from 0x80 it refuses the message, and this is the exchange's end:
    `forget_sent` when that is stored.
    """

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Pubrel:
    """The client will not send a message of QoS 2 again: `send_pubcomp` when that is stored.

    One whose identifier is that of no message has nothing to store: it is answered here and is no event.
    """

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Pubcomp:
    """The client has done its part for a message of QoS 2: `forget_sent` when that is stored."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Subscription:
    """One topic filter of a SUBSCRIBE.

    Attributes:
        filter: a valid topic filter, `$share/NAME/` included.
        qos: highest QoS that the client wants messages with.
        no_local: not what the client itself publishes.
        retain_as_published: keep the retain flag of forwarded messages.
        retain_handling: 0 send retained messages, 1 only if the subscription is new, 2 do not.
    """

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    """The client wants messages; `send_suback` answers with one code per filter.

    Attributes:
        packet_id: above 0.
        subscriptions: at least one.
        properties: `subscription_ids` has one or none.
    """

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Unsubscribe:
    """The client wants no more messages; `send_unsuback` answers with one code per filter."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Disconnect:
    """The client leaves. The last event.

    Attributes:
        reason_code: 0: without its will; anything else: with it.
        properties: `session_expiry_s` replaces that of the CONNECT.
    """

    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(slots=True)
class Pingreq:
    """The client is alive; answered by the connection, never an event."""


@dataclass(slots=True)
class Auth:
    """A step of enhanced authentication, which is not supported; never an event."""

    reason_code: int = 0
    properties: Properties = NO_PROPERTIES
