"""A broker's configuration from its PID."""

from pathlib import Path

import pytest

from broker.config import Amount, BrokerConfig, Kind, UsageConfig
from broker.connectors import PortRange
from broker.errors import ConfigurationInvalid


def read(**properties: str) -> BrokerConfig:
    """The configuration of these properties, `_` standing for `-`."""
    return BrokerConfig.from_properties(
        {key.replace("_", "-"): value for key, value in properties.items()}, container="c1"
    )


def test_an_empty_pid_gives_the_documented_defaults() -> None:
    """Nothing has to be configured."""
    config = read()
    assert (config.name, config.group, config.data) == ("c1", "default", Path("data/c1"))
    assert (config.kind, config.start_retry_delay_ms) == (Kind.MASTER_SLAVE, 10_000)
    assert config.store_timeout_ms == 4000
    (connector,) = config.connectors
    assert (connector.name, connector.scheme, connector.connections_max) == ("openwire", "tcp", 1000)
    assert connector.ports == PortRange(0, 0)
    assert not config.ignore_missing_data_files
    assert config.usage == UsageConfig(
        Amount(100 << 30), Amount(64 << 20), Amount(50 << 30), None, True, False, 0
    )


def test_a_pid_as_mq_create_writes_it_is_read() -> None:
    """The properties of the original's generated profiles."""
    config = BrokerConfig.from_properties(
        {
            "broker-name": "tolerantbroker",
            "group": "default",
            "data": "${runtime.data}/tolerantbroker",
            "connectors": "openwire",
            "openwire-port": "61620",
            "kind": "MasterSlave",
            "standby.pool": "default",
            "startRetryDelay": "5000",
            "storeTimeout": "0",
            "unknown": "kept for others",
        },
        container="c1",
        substitutions={"runtime.data": "/data"},
    )
    assert config.name == "tolerantbroker"
    assert config.data == Path("/data/tolerantbroker")
    assert list(config.connectors[0].ports.candidates) == [61620]
    assert (config.start_retry_delay_ms, config.store_timeout_ms) == (5000, 0)


def test_bind_port_takes_the_first_free_of_a_range() -> None:
    """The profile mq-amq listens on one of the usual ports."""
    config = read(bindPort="${port:61616,61626}")
    assert config.connectors[0].ports == PortRange(61616, 61626)


def test_stomp() -> None:
    """The original's names of what its STOMP transport can be told."""
    (connector,) = read(
        **{
            "connectors": "stomp",
            "stomp_wireFormat.maxDataLength": "4096",
            "stomp_wireFormat.maxFrameSize": "8192",
            "stomp_transport.defaultHeartBeat": "5000, 0",
            "stomp_transport.hbGracePeriodMultiplier": "1.5",
        }
    ).connectors
    assert (connector.name, connector.protocol, connector.scheme) == ("stomp", "stomp", "stomp")
    assert (connector.data_bytes_max, connector.frame_bytes_max) == (4096, 8192)
    assert (connector.heart_beat, connector.heart_beat_grace) == ("5000, 0", 1.5)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"broker_name": "-x"}, "broker-name '-x' is invalid"),
        ({"group": "a/b"}, "group 'a/b' is invalid"),
        ({"kind": "NPlusOne"}, "kind 'NPlusOne' is not supported yet"),
        ({"connectors": "gopher"}, "'gopher' does not exist"),
        ({"openwire_port": "x"}, "'x' is not a port"),
        ({"openwire_port": "65536"}, "not a port"),
        ({"openwire_port": "${port:9,8}"}, "empty range"),
        ({"startRetryDelay": "-1"}, "startRetryDelay '-1'"),
        ({"storeTimeout": "soon"}, "storeTimeout 'soon'"),
        ({"openwire_maximumConnections": "0"}, "openwire-maximumConnections '0'"),
        ({"openwire_wireFormat.cacheEnabled": "yes"}, "'yes' is neither true nor false"),
        ({"openwire_wireFormat.maxFrameSize": "1"}, "whole number from 1024"),
        ({"connectors": "stomp", "stomp_wireFormat.maxDataLength": "1"}, "whole number from 1024"),
        ({"connectors": "stomp", "stomp_transport.defaultHeartBeat": "5000"}, "not two times in ms"),
        (
            {"connectors": "stomp", "stomp_transport.hbGracePeriodMultiplier": "0.5"},
            "a number from 1 to 1000",
        ),
        ({"connectors": "stomp", "stomp_transport.hbGracePeriodMultiplier": "x"}, "a number from 1 to 1000"),
        ({"ignoreMissingJournalfiles": "1"}, "ignoreMissingJournalfiles '1' is neither true nor false"),
        ({"data": "${nobody.knows}/x"}, "placeholder that nothing resolves"),
        ({"tmpDataDirectory": "${nobody.knows}/x"}, "tmpDataDirectory '${nobody.knows}/x' holds"),
        ({"storeUsage": "0"}, "storeUsage '0' is not a size above 0"),
        ({"storeUsage": "-5"}, "storeUsage '-5' is not a size"),
        ({"storeUsage": "much"}, "a number of bytes, or one with kb, mb or gb behind it, or a share"),
        ({"memoryUsage": "64 mib"}, "memoryUsage '64 mib' is not a size"),
        ({"memoryUsage": "1.5 gb"}, "memoryUsage '1.5 gb' is not a size"),
        ({"tempUsage": "101%"}, "tempUsage '101%' is not a size"),
        ({"tempUsage": "0 %"}, "tempUsage '0 %' is not a size"),
        ({"producerFlowControl": "on"}, "producerFlowControl 'on' is neither true nor false"),
        ({"sendFailIfNoSpace": "1"}, "sendFailIfNoSpace '1' is neither true nor false"),
        ({"sendFailIfNoSpaceAfterTimeout": "1s"}, "sendFailIfNoSpaceAfterTimeout '1s' is not a whole number"),
    ],
)
def test_a_wrong_property_is_named(properties: dict[str, str], text: str) -> None:
    """Every refusal says which property, and what it should be."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read(**properties)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", Amount(1)),
        ("64b", Amount(64)),
        ("64 B", Amount(64)),
        ("3k", Amount(3 << 10)),
        ("3 kb", Amount(3 << 10)),
        ("64 mb", Amount(64 << 20)),
        ("64M", Amount(64 << 20)),
        ("100 gb", Amount(100 << 30)),
        ("2G", Amount(2 << 30)),
        ("70%", Amount(percent=70)),
        ("100 %", Amount(percent=100)),
    ],
)
def test_sizes_are_written_as_in_the_original(text: str, amount: Amount) -> None:
    """Units of 1024, in any case, with or without a space; or a share."""
    assert read(storeUsage=text).usage.store == amount


def test_usage_properties_have_the_originals_names() -> None:
    """A PID may hold what `systemUsage` held."""
    usage = read(
        storeUsage="1 gb",
        memoryUsage="70%",
        tempUsage="10 mb",
        tmpDataDirectory="/scratch",
        producerFlowControl="false",
        sendFailIfNoSpace="true",
        sendFailIfNoSpaceAfterTimeout="3000",
    ).usage
    assert usage == UsageConfig(
        Amount(1 << 30), Amount(percent=70), Amount(10 << 20), Path("/scratch"), False, True, 3000
    )
