"""What a gateway's properties say, and what they cannot."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.certificates import Keys
from support.gateway_bench import GatewayBench

from broker.connectors import PortRange
from broker.errors import ConfigurationInvalid
from fabric.errors import FabricError
from fabric.gateway.config import DETECTING_PID, MQ_PID, GatewayConfig
from fabric.metrics.gateway import BYTES, gateway_figures
from fabric.services import load_factories
from fabric.services.gateway import detecting, more_mq


def read(pid: str = DETECTING_PID, **properties: str) -> GatewayConfig:
    """A configuration."""
    named = {key.replace("_", "."): value for key, value in properties.items()}
    return GatewayConfig.from_properties(pid, named, lambda text: PortRange.parse(text).candidates)


def test_defaults() -> None:
    """Those of the original, but for its port of MQTT."""
    config = read()
    assert [(port.name, port.candidates[0]) for port in config.ports] == [("auto", 61_616)]
    assert config.ports[0].protocols == {"openwire", "stomp", "mqtt", "amqp", "ws"}
    assert (config.name, config.group, config.balance) == ("detecting", "default", "roundrobin")
    assert (config.wait_ms, config.detection_ms, config.connections_max) == (30_000, 5_000, 1_000)
    assert (config.tls, config.sends_proxy, config.proxies) == (None, 0, ())
    ports = {port.name: port.candidates[0] for port in read(MQ_PID).ports}
    assert ports == {"openwire": 61_616, "stomp": 61_613, "amqp": 5_672, "mqtt": 1_883, "ws": 61_614}


def test_names_of_the_original() -> None:
    """They are understood; ours go before them."""
    config = read(
        f"{MQ_PID}-west",
        defaultVirtualHost="west",
        host="10.0.0.1",
        mqttEnabled="false",
        stompPort="7000",
        loadBalancerType="Sticky",
        stickyLoadBalancerCacheSize="5",
    )
    assert (config.name, config.group, config.bind_address) == ("west", "west", "10.0.0.1")
    assert [port.name for port in config.ports] == ["openwire", "stomp", "amqp", "ws"]
    assert config.ports[1].candidates == range(7000, 7001)
    assert (config.balance, config.sticky_clients_max) == ("sticky", 5)
    assert read(group="east", defaultVirtualHost="west").group == "east"
    assert read(address="10.0.0.2", bindAddress="10.0.0.3").bind_address == "10.0.0.3"


def test_patterns_of_brokers() -> None:
    """Any of them may fit."""
    config = read(brokers="orders*, bills?")
    assert config.leads_to("orders-west")
    assert config.leads_to("bills1")
    assert not config.leads_to("bills")
    assert read().leads_to("anything")


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"port": "70000"}, "'70000' is not a port"),
        ({"loadBalancerType": "best"}, "loadBalancerType is 'best'; possible are: roundrobin, random"),
        ({"connectionWait": "-1"}, "connectionWait '-1' is not a whole number"),
        ({"bufferSize": "1"}, "bufferSize '1'"),
        ({"maximumConnections": "0"}, "maximumConnections '0'"),
        ({"stompEnabled": "no"}, "stompEnabled 'no' is neither true nor false"),
        ({"proxyProtocol": "v3"}, "proxyProtocol is 'v3'; possible are: none, v1, v2"),
        ({"proxyProtocol_trusted": "lb"}, "proxyProtocol.trusted names 'lb'"),
        ({"proxyProtocol_required": "true"}, "proxyProtocol.required is true, but"),
        ({"brokerSsl": "yes"}, "brokerSsl is 'yes'; possible are: auto, never, always"),
        ({"brokerTrustStore": "${x}"}, "holds a placeholder"),
        ({"sslEnabled": "true"}, "ssl.keyStore names no certificate"),
        (
            {f"{key}Enabled": "false" for key in ("openWire", "stomp", "amqp", "mqtt", "websocket")},
            "no protocol is enabled",
        ),
    ],
)
def test_what_cannot_be(properties: dict[str, str], told: str) -> None:
    """Each refusal names the property."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read(**properties)
    assert told in str(caught.value)


def test_each_kind_has_its_factories() -> None:
    """The PID alone, and with a name behind it."""
    factories = load_factories(lambda name, error: None)
    for pid in (DETECTING_PID, f"{DETECTING_PID}-", MQ_PID, f"{MQ_PID}-"):
        assert factories[pid].pid_prefix == pid


def test_a_service(tmp_path: Path) -> None:
    """It says what it does, counts, takes over limits, and stops."""
    bench = GatewayBench(tmp_path)
    service = more_mq.create(f"{MQ_PID}-x", {"group": "g", "websocketEnabled": "false"}, bench.context)
    before = len(bench.reactor.tcpServers)
    service.startService()
    assert len(bench.reactor.tcpServers) == before + 4
    status = service.status()
    assert (status["role"], status["gateway"], status["group"]) == ("gateway", "x", "g")
    assert len(status["services"]) == 4
    assert service.reconfigure({"group": "g", "websocketEnabled": "false", "connectionWait": "5"})
    assert not service.reconfigure({"group": "other", "websocketEnabled": "false"})
    assert not service.reconfigure({"connectionWait": "never"})
    assert service.figures().samples
    ended: list[object] = []
    service.stopService().addCallback(ended.append)
    bench.pump.run()
    assert ended


def test_a_service_that_cannot_be(tmp_path: Path) -> None:
    """The error says what to do, also where a certificate is missing."""
    bench = GatewayBench(tmp_path)
    for properties in ({"port": "x"}, {"loadBalancerType": "x"}, {"sslEnabled": "true"}):
        with pytest.raises(FabricError, match="fabric profile-edit"):
            detecting.create(DETECTING_PID, properties, bench.context)
    Keys(tmp_path).sign("edge", "localhost", days=10)
    service = detecting.create(DETECTING_PID, {"sslEnabled": "true"}, bench.context)
    assert "edge.pem" in str(service.status()["notice"]), "it ends soon"


def test_a_port_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens on none of its ports then, and says which."""
    from twisted.internet.error import CannotListenError

    bench = GatewayBench(tmp_path)
    made: list[Any] = []
    listen = bench.reactor.listenTCP

    def listen_on_two(port: int, factory: object, **options: object) -> object:
        if len(made) == 2:
            raise CannotListenError("", port, OSError("taken"))
        made.append(SimpleNamespace(port=listen(port, factory, **options), stopped=False))
        made[-1].port.stopListening = lambda each=made[-1]: setattr(each, "stopped", True)
        return made[-1].port

    monkeypatch.setattr(bench.reactor, "listenTCP", listen_on_two)
    service = more_mq.create(f"{MQ_PID}-x", {"group": "g"}, bench.context)
    with pytest.raises(FabricError, match="The gateway x cannot listen on"):
        service.startService()
    assert [each.stopped for each in made] == [True, True]
    assert service.status()["services"] == []


def test_figures(tmp_path: Path) -> None:
    """What has happened, under the names of the metrics."""
    bench = GatewayBench(tmp_path)
    bench.pass_time(2)
    bench.serving("stomp://h:2")
    client, broker = bench.linked()
    broker.says(b"12345")
    garbage = bench.client()
    assert garbage is not None
    garbage.says(b"\xff\xff")
    figures = gateway_figures(bench.gateway, "edge", bench.reactor.seconds())
    found = {
        (metric.name, *labels[2:]): value
        for metric, rows in figures.samples.items()
        for labels, value in rows
    }
    assert found["gateway_connections",] == 1
    assert found["gateway_connections_accepted",] == 2
    assert found["gateway_connections_refused", "protocol"] == 1
    assert found["gateway_bytes", "brokers"] == 5
    assert found["gateway_bytes", "clients"] == client.protocol.moved + 2
    assert found["gateway_no_master_seconds",] == pytest.approx(2)
    assert found["gateway_target_up", "b", "stomp://h:2"] == 1
    client.leaves()
    again = gateway_figures(bench.gateway, "edge", bench.reactor.seconds())
    assert again.samples[BYTES] == figures.samples[BYTES]
