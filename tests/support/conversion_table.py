"""What each client receives of what each other client has sent, by protocol.

Per sender and receiver: the messages in the order in which they were sent, each with its body and with what
is not as it is by default. The words are those of the receiver's client (`support.conversion_clients`,
`Conversion.java`).
"""

from __future__ import annotations

EXPECTED: dict[str, dict[str, list[str]]] = {
    "openwire": {
        "openwire": [
            (
                "text text ü 🐇 | correlation=correlation | type=kind | reply to=queue://answers | "
                "priority=7 | persistent=true | expires=true | property JMSXGroupID=group:String | "
                "property JMSXGroupSeq=3:Integer | property byte=1:Byte | property double=6.5:Double | "
                "property flag=true:Boolean | property float=0.1:Float | property int=3:Integer | "
                "property long=4:Long | property short=2:Short | property string=seven ü:String"
            ),
            "bytes 0001ff",
            "map [name=value:String, number=5:Integer]",
            "stream [1:Integer, two:String]",
            "object [a]",
            "empty",
            "text compressed ü",
            "bytes 0203",
        ],
        "stomp": [
            (
                "text ü 🐇 | JMSXGroupID=group | JMSXGroupSeq=3 | byte=1 | correlation-id=correlation | "
                "double=6.5 | expires=later | flag=true | float=0.1 | int=3 | long=4 | persistent=true | "
                "priority=7 | reply-to=/queue/answers | short=2 | string=seven ü | type=kind"
            ),
            "0001ff | content-length=3",
            '{"number":5,"name":"value"}',
            '[1,"two"]',
            (
                "aced0005737200136a6176612e7574696c2e41727261794c6973747881d21d99c7619d03000149000473697a"
                "65787000000001770400000001740001617879 | content-length=63"
            ),
            "",
            "compressed ü",
            "0203 | content-length=2",
        ],
        "mqtt3": [
            "text ü 🐇 | qos=1",
            "0001ff | qos=0",
            '{"number":5,"name":"value"} | qos=0',
            '[1,"two"] | qos=0',
            (
                "aced0005737200136a6176612e7574696c2e41727261794c6973747881d21d99c7619d03000149000473697a"
                "65787000000001770400000001740001617879 | qos=0"
            ),
            " | qos=0",
            "compressed ü | qos=0",
            "0203 | qos=0",
        ],
        "mqtt5": [
            (
                "text ü 🐇 | CorrelationData=correlation | PayloadFormatIndicator=1 | expires=later | "
                "qos=1 | user JMSType=kind | user JMSXGroupID=group | user JMSXGroupSeq=3 | "
                "user byte=1 | user double=6.5 | user flag=true | user float=0.1 | user int=3 | "
                "user long=4 | user short=2 | user string=seven ü"
            ),
            "0001ff | qos=0",
            '{"number":5,"name":"value"} | PayloadFormatIndicator=1 | qos=0',
            '[1,"two"] | PayloadFormatIndicator=1 | qos=0',
            (
                "aced0005737200136a6176612e7574696c2e41727261794c6973747881d21d99c7619d03000149000473697a"
                "65787000000001770400000001740001617879 | qos=0"
            ),
            " | qos=0",
            "compressed ü | PayloadFormatIndicator=1 | qos=0",
            "0203 | qos=0",
        ],
        "amqp": [
            (
                "text ü 🐇:str | correlation_id=correlation | durable=true | group_id=group | "
                "group_sequence=3 | priority=7 | property byte=byte(1):byte | "
                "property double=6.5:float | property flag=True:bool | "
                "property float=float32(0.10000000149011612):float32 | property int=int32(3):int32 | "
                "property long=4:int | property short=short(2):short | property string=seven ü:str | "
                "reply_to=queue://answers | subject=kind | ttl=some"
            ),
            "0001ff",
            "{'number': 'int32(5):int32', 'name': 'value:str'}",
            "['int32(1):int32', 'two:str']",
            (
                "aced0005737200136a6176612e7574696c2e41727261794c6973747881d21d99c7619d03000149000473697a"
                "65787000000001770400000001740001617879 | "
                "content_type=application/x-java-serialized-object"
            ),
            "None:NoneType",
            "compressed ü:str",
            "0203",
        ],
    },
    "stomp": {
        "openwire": [
            (
                "text text ü 🐇 | correlation=correlation | type=kind | reply to=queue://answers | "
                "priority=7 | persistent=true | expires=true | property JMSXGroupID=group:String | "
                "property JMSXGroupSeq=3:Integer | property my-header=a:b:String | "
                "property number=5:String"
            ),
            "bytes 0001ff",
            "text ",
        ],
        "stomp": [
            (
                "text ü 🐇 | JMSXGroupID=group | JMSXGroupSeq=3 | correlation-id=correlation | "
                "expires=later | my-header=a:b | number=5 | persistent=true | priority=7 | "
                "reply-to=/queue/answers | type=kind"
            ),
            "0001ff | content-length=3",
            "",
        ],
        "mqtt3": [
            "text ü 🐇 | qos=1",
            "0001ff | qos=0",
            " | qos=0",
        ],
        "mqtt5": [
            (
                "text ü 🐇 | CorrelationData=correlation | PayloadFormatIndicator=1 | expires=later | "
                "qos=1 | user JMSType=kind | user JMSXGroupID=group | user JMSXGroupSeq=3 | "
                "user my-header=a:b | user number=5"
            ),
            "0001ff | qos=0",
            " | PayloadFormatIndicator=1 | qos=0",
        ],
        "amqp": [
            (
                "text ü 🐇:str | correlation_id=correlation | durable=true | group_id=group | "
                "group_sequence=3 | priority=7 | property my-header=a:b:str | property number=5:str | "
                "reply_to=queue://answers | subject=kind | ttl=some"
            ),
            "0001ff",
            ":str",
        ],
    },
    "mqtt3": {
        "openwire": [
            "bytes 7465787420c3bc20f09f9087 | persistent=true | property ActiveMQ.MQTT.QoS=1:Integer",
            "bytes 0001ff | persistent=true | property ActiveMQ.MQTT.QoS=1:Integer",
            "bytes  | persistent=true | property ActiveMQ.MQTT.QoS=1:Integer",
        ],
        "stomp": [
            "text ü 🐇 | ActiveMQ.MQTT.QoS=1 | content-length=12 | persistent=true",
            "0001ff | ActiveMQ.MQTT.QoS=1 | content-length=3 | persistent=true",
            " | ActiveMQ.MQTT.QoS=1 | content-length=0 | persistent=true",
        ],
        "mqtt3": [
            "text ü 🐇 | qos=1",
            "0001ff | qos=1",
            " | qos=1",
        ],
        "mqtt5": [
            "text ü 🐇 | qos=1",
            "0001ff | qos=1",
            " | qos=1",
        ],
        "amqp": [
            "text ü 🐇 | durable=true | property ActiveMQ.MQTT.QoS=int32(1):int32",
            "0001ff | durable=true | property ActiveMQ.MQTT.QoS=int32(1):int32",
            " | durable=true | property ActiveMQ.MQTT.QoS=int32(1):int32",
        ],
    },
    "mqtt5": {
        "openwire": [
            (
                "text text ü 🐇 | correlation=correlation | reply to=topic://answers.mine | "
                "persistent=true | expires=true | property ActiveMQ.MQTT.ContentType=text/plain:String | "
                "property ActiveMQ.MQTT.PayloadFormat=1:Integer | property ActiveMQ.MQTT.QoS=1:Integer | "
                "property my-header=a:b:String | property number=5:String"
            ),
            "bytes 0001ff | persistent=true | property ActiveMQ.MQTT.QoS=1:Integer",
            "bytes  | persistent=true | property ActiveMQ.MQTT.QoS=1:Integer",
        ],
        "stomp": [
            (
                "text ü 🐇 | ActiveMQ.MQTT.ContentType=text/plain | ActiveMQ.MQTT.PayloadFormat=1 | "
                "ActiveMQ.MQTT.QoS=1 | correlation-id=correlation | expires=later | my-header=a:b | "
                "number=5 | persistent=true | reply-to=/topic/answers.mine"
            ),
            "0001ff | ActiveMQ.MQTT.QoS=1 | content-length=3 | persistent=true",
            " | ActiveMQ.MQTT.QoS=1 | content-length=0 | persistent=true",
        ],
        "mqtt3": [
            "text ü 🐇 | qos=1",
            "0001ff | qos=1",
            " | qos=1",
        ],
        "mqtt5": [
            (
                "text ü 🐇 | ContentType=text/plain | CorrelationData=correlation | "
                "PayloadFormatIndicator=1 | ResponseTopic=answers/mine | expires=later | qos=1 | "
                "user my-header=a:b | user number=5"
            ),
            "0001ff | qos=1",
            " | qos=1",
        ],
        "amqp": [
            (
                "text ü 🐇:str | correlation_id=correlation | durable=true | "
                "property ActiveMQ.MQTT.ContentType=text/plain:str | "
                "property ActiveMQ.MQTT.PayloadFormat=int32(1):int32 | "
                "property ActiveMQ.MQTT.QoS=int32(1):int32 | property my-header=a:b:str | "
                "property number=5:str | reply_to=topic://answers.mine | ttl=some"
            ),
            "0001ff | durable=true | property ActiveMQ.MQTT.QoS=int32(1):int32",
            " | durable=true | property ActiveMQ.MQTT.QoS=int32(1):int32",
        ],
    },
    "amqp": {
        "openwire": [
            (
                "text text ü 🐇 | correlation=correlation | type=kind | reply to=queue://answers | "
                "priority=7 | persistent=true | expires=true | property JMSXGroupID=group:String | "
                "property JMSXGroupSeq=3:Integer | property JMS_AMQP_HEADER=true:Boolean | "
                "property JMS_AMQP_ORIGINAL_ENCODING=5:Short | "
                "property JMS_AMQP_PROPERTIES=true:Boolean | property double=6.5:Double | "
                "property flag=true:Boolean | property float=0.5:Float | property long=6:Long | "
                "property my-header=a:b:String | property number=5:Integer"
            ),
            (
                "bytes 0001ff | no time=0 | property JMS_AMQP_HEADER=true:Boolean | "
                "property JMS_AMQP_ORIGINAL_ENCODING=2:Short | property JMS_AMQP_PROPERTIES=true:Boolean"
            ),
            (
                "map [name=value:String, number=5:Integer] | no time=0 | "
                "property JMS_AMQP_HEADER=true:Boolean | property JMS_AMQP_ORIGINAL_ENCODING=7:Short | "
                "property JMS_AMQP_PROPERTIES=true:Boolean"
            ),
            (
                "stream [1:Integer, two:String] | no time=0 | property JMS_AMQP_HEADER=true:Boolean | "
                "property JMS_AMQP_ORIGINAL_ENCODING=8:Short | property JMS_AMQP_PROPERTIES=true:Boolean"
            ),
            (
                "bytes  | no time=0 | property JMS_AMQP_HEADER=true:Boolean | "
                "property JMS_AMQP_ORIGINAL_ENCODING=1:Short | property JMS_AMQP_PROPERTIES=true:Boolean"
            ),
        ],
        "stomp": [
            (
                "text ü 🐇 | JMSXGroupID=group | JMSXGroupSeq=3 | JMS_AMQP_HEADER=true | "
                "JMS_AMQP_ORIGINAL_ENCODING=5 | JMS_AMQP_PROPERTIES=true | correlation-id=correlation | "
                "double=6.5 | expires=later | flag=true | float=0.5 | long=6 | my-header=a:b | "
                "number=5 | persistent=true | priority=7 | reply-to=/queue/answers | type=kind"
            ),
            (
                "0001ff | JMS_AMQP_HEADER=true | JMS_AMQP_ORIGINAL_ENCODING=2 | "
                "JMS_AMQP_PROPERTIES=true | content-length=3"
            ),
            (
                '{"name":"value","number":5} | JMS_AMQP_HEADER=true | JMS_AMQP_ORIGINAL_ENCODING=7 | '
                "JMS_AMQP_PROPERTIES=true"
            ),
            ('[1,"two"] | JMS_AMQP_HEADER=true | JMS_AMQP_ORIGINAL_ENCODING=8 | JMS_AMQP_PROPERTIES=true'),
            (
                " | JMS_AMQP_HEADER=true | JMS_AMQP_ORIGINAL_ENCODING=1 | JMS_AMQP_PROPERTIES=true | "
                "content-length=0"
            ),
        ],
        "mqtt3": [
            "text ü 🐇 | qos=1",
            "0001ff | qos=0",
            '{"name":"value","number":5} | qos=0',
            '[1,"two"] | qos=0',
            " | qos=0",
        ],
        "mqtt5": [
            (
                "text ü 🐇 | CorrelationData=correlation | PayloadFormatIndicator=1 | expires=later | "
                "qos=1 | user JMSType=kind | user JMSXGroupID=group | user JMSXGroupSeq=3 | "
                "user JMS_AMQP_HEADER=true | user JMS_AMQP_ORIGINAL_ENCODING=5 | "
                "user JMS_AMQP_PROPERTIES=true | user double=6.5 | user flag=true | user float=0.5 | "
                "user long=6 | user my-header=a:b | user number=5"
            ),
            (
                "0001ff | qos=0 | user JMS_AMQP_HEADER=true | user JMS_AMQP_ORIGINAL_ENCODING=2 | "
                "user JMS_AMQP_PROPERTIES=true"
            ),
            (
                '{"name":"value","number":5} | PayloadFormatIndicator=1 | qos=0 | '
                "user JMS_AMQP_HEADER=true | user JMS_AMQP_ORIGINAL_ENCODING=7 | "
                "user JMS_AMQP_PROPERTIES=true"
            ),
            (
                '[1,"two"] | PayloadFormatIndicator=1 | qos=0 | user JMS_AMQP_HEADER=true | '
                "user JMS_AMQP_ORIGINAL_ENCODING=8 | user JMS_AMQP_PROPERTIES=true"
            ),
            (
                " | qos=0 | user JMS_AMQP_HEADER=true | user JMS_AMQP_ORIGINAL_ENCODING=1 | "
                "user JMS_AMQP_PROPERTIES=true"
            ),
        ],
        "amqp": [
            (
                "text ü 🐇:str | correlation_id=correlation | durable=true | group_id=group | "
                "group_sequence=3 | priority=7 | property double=6.5:float | property flag=True:bool | "
                "property float=float32(0.5):float32 | property long=6:int | "
                "property my-header=a:b:str | property number=int32(5):int32 | "
                "reply_to=queue://answers | subject=kind | ttl=some"
            ),
            "0001ff",
            "{'name': 'value:str', 'number': 'int32(5):int32'}",
            "['int32(1):int32', 'two:str']",
            "None:NoneType",
        ],
    },
}
