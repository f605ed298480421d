"""The client library, in JMS words, and the mq-client command.

>>> from mqclient import ConnectionFactory
>>> factory = ConnectionFactory("discovery:(fabric:default)", user="admin", password="admin")

Names are imported on first use, so that ``mq-client --help`` does not load the codec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqclient.browser import QueueBrowser
    from mqclient.connection import Connection
    from mqclient.consumer import MessageConsumer
    from mqclient.destination import Destination, Queue, TemporaryQueue, TemporaryTopic, Topic
    from mqclient.errors import ClientError
    from mqclient.factory import ConnectionFactory
    from mqclient.message import (
        BytesMessage,
        MapMessage,
        Message,
        ObjectMessage,
        StreamMessage,
        TextMessage,
    )
    from mqclient.modes import AcknowledgeMode, DeliveryMode, RedeliveryPolicy
    from mqclient.producer import MessageProducer
    from mqclient.session import Session
    from mqclient.tls import TlsFiles
    from registry.channel import ChannelSettings

__all__ = [
    "AcknowledgeMode",
    "BytesMessage",
    "ChannelSettings",
    "ClientError",
    "Connection",
    "ConnectionFactory",
    "DeliveryMode",
    "Destination",
    "MapMessage",
    "Message",
    "MessageConsumer",
    "MessageProducer",
    "ObjectMessage",
    "Queue",
    "QueueBrowser",
    "RedeliveryPolicy",
    "Session",
    "StreamMessage",
    "TemporaryQueue",
    "TemporaryTopic",
    "TextMessage",
    "TlsFiles",
    "Topic",
]

_MODULES = {
    "AcknowledgeMode": "modes",
    "ChannelSettings": "discovery",
    "ClientError": "errors",
    "Connection": "connection",
    "ConnectionFactory": "factory",
    "DeliveryMode": "modes",
    "Destination": "destination",
    "MessageConsumer": "consumer",
    "MessageProducer": "producer",
    "Queue": "destination",
    "QueueBrowser": "browser",
    "RedeliveryPolicy": "modes",
    "Session": "session",
    "TemporaryQueue": "destination",
    "TemporaryTopic": "destination",
    "TlsFiles": "tls",
    "Topic": "destination",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'mqclient' has no attribute {name!r}")
    return getattr(import_module(f"mqclient.{_MODULES.get(name, 'message')}"), name)
