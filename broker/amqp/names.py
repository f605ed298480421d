"""The names of properties and annotations in which AMQP and JMS meet.

Source: ActiveMQ's `AmqpMessageSupport`; the AMQP JMS mapping for the annotations.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "JMS_AMQP_"
HEADER: Final = PREFIX + "HEADER"
PROPERTIES: Final = PREFIX + "PROPERTIES"
NATIVE: Final = PREFIX + "NATIVE"
"""The body is a whole AMQP message, since JMS has no body like its own."""
MESSAGE_FORMAT: Final = PREFIX + "MESSAGE_FORMAT"
ORIGINAL_ENCODING: Final = PREFIX + "ORIGINAL_ENCODING"
FIRST_ACQUIRER: Final = PREFIX + "FirstAcquirer"
CONTENT_TYPE: Final = PREFIX + "ContentType"
CONTENT_ENCODING: Final = PREFIX + "ContentEncoding"
REPLY_TO_GROUP_ID: Final = PREFIX + "ReplyToGroupID"
DELIVERY_ANNOTATION: Final = PREFIX + "DA_"
MESSAGE_ANNOTATION: Final = PREFIX + "MA_"
FOOTER: Final = PREFIX + "FT_"

UNKNOWN, NULL, DATA, SEQUENCE, VALUE_NULL, VALUE_STRING, VALUE_BINARY, VALUE_MAP, VALUE_LIST = range(9)
"""Of `JMS_AMQP_ORIGINAL_ENCODING`: what the body was."""

JMS_DESTINATION: Final = "x-opt-jms-dest"
JMS_REPLY_TO: Final = "x-opt-jms-reply-to"
JMS_MESSAGE_TYPE: Final = "x-opt-jms-msg-type"
JMS_TYPE: Final = "x-opt-jms-type"
DELIVERY_TIME: Final = "x-opt-delivery-time"
DELIVERY_DELAY: Final = "x-opt-delivery-delay"

SCHEDULED: Final = {
    DELIVERY_DELAY: "AMQ_SCHEDULED_DELAY",
    "x-opt-delivery-repeat": "AMQ_SCHEDULED_REPEAT",
    "x-opt-delivery-period": "AMQ_SCHEDULED_PERIOD",
    "x-opt-delivery-cron": "AMQ_SCHEDULED_CRON",
}
"""Annotations that say when a message is due, and the properties that do."""
SCHEDULED_PREFIX: Final = "AMQ_SCHEDULED_"

OCTET_STREAM: Final = "application/octet-stream"
JAVA_OBJECT: Final = "application/x-java-serialized-object"

(TYPE_MESSAGE, TYPE_OBJECT, TYPE_MAP, TYPE_BYTES, TYPE_STREAM, TYPE_TEXT) = range(6)
"""Of `x-opt-jms-msg-type`."""
