"""Clients through a gateway without sockets: led, held up, half closed, dropped, refused."""

from pathlib import Path

import pytest
from support.certificates import Keys
from support.gateway_bench import MQTT, OPENWIRE, STOMP, GatewayBench

from broker.proxy_protocol import Address, header_v1, header_v2
from broker.tls import TlsChannel
from fabric.gateway.link import GOODBYE_S, HALF_CLOSED_S
from fabric.gateway.opening import OPENING_BYTES
from fabric.gateway.side import LINGER_S
from fabric.gateway.targets import LEFT_GRACE_S
from fabric.services.gateway import GatewayService

CLIENT = Address("192.0.2.1", 40_000)
HERE = Address("192.0.2.9", 61_616)


@pytest.fixture
def bench(tmp_path: Path) -> GatewayBench:
    """A gateway with its defaults."""
    return GatewayBench(tmp_path)


def test_bytes_pass_both_ways(bench: GatewayBench) -> None:
    """The broker gets all that the client said, its first bytes included, and the client what it answers."""
    bench.serving()
    client, broker = bench.linked()
    assert broker.got == STOMP
    client.says(b"more")
    broker.says(b"CONNECTED\n\n\0")
    assert (broker.got, client.got) == (STOMP + b"more", b"CONNECTED\n\n\0")
    assert bench.gateway.tally.opened == 1
    assert (client.protocol.moved, broker.protocol.moved) == (len(STOMP) + 4, 12)


@pytest.mark.parametrize(("first", "port"), [(STOMP, 2), (MQTT, 3), (OPENWIRE, 1)])
def test_each_protocol_goes_to_its_port(bench: GatewayBench, first: bytes, port: int) -> None:
    """By the scheme of the broker's URL."""
    bench.serving()
    client = bench.client()
    assert client is not None
    client.says(first)
    bench.accept(port=port)


def test_what_the_client_says_while_it_is_led(bench: GatewayBench) -> None:
    """It is kept in order; of too much the rest stays in its socket."""
    bench.serving()
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    client.says(b"a" * OPENING_BYTES)
    assert not client.reading
    broker = bench.accept()
    assert broker.got == STOMP + b"a" * OPENING_BYTES
    assert client.reading


def test_a_side_that_does_not_read(bench: GatewayBench) -> None:
    """The other side is not read until it has taken all: what waits is what was read at a time."""
    bench.serving()
    client, broker = bench.linked()
    client.room = 3
    broker.says(b"12345")
    assert not broker.reading
    assert client.reading
    assert (client.got, client.buffered) == (b"123", b"45")
    client.says(b"the other way is open")
    client.drain()
    assert broker.reading
    broker.says(b"6")
    assert client.got == b"123456"
    assert broker.got.endswith(b"open")


def test_a_client_that_ends(bench: GatewayBench) -> None:
    """The broker hears it behind the client's last words, and may still answer."""
    bench.serving()
    client, broker = bench.linked()
    client.says(b"last")
    client.ends()
    assert broker.half_closed
    assert not broker.closed
    broker.says(b"answer")
    assert client.got == b"answer"
    broker.ends()
    assert client.half_closed
    assert client.closed
    assert broker.closed
    client.leaves()
    assert not bench.gateway.links


def test_a_half_closed_connection_is_not_for_ever(bench: GatewayBench) -> None:
    """A broker that does not end it after its client has is left."""
    bench.serving()
    client, broker = bench.linked()
    client.ends()
    bench.pass_time(HALF_CLOSED_S)
    assert broker.aborted
    assert client.closed


def test_a_broker_that_ends(bench: GatewayBench) -> None:
    """The client hears it at once, behind what the broker has said; if it does not leave, it is left."""
    bench.serving()
    client, broker = bench.linked()
    client.room = 2
    broker.says(b"bye")
    client.drain()
    broker.ends()
    assert client.got == b"bye"
    assert client.half_closed
    client.says(b"what nobody hears")
    assert broker.got == STOMP
    bench.pass_time(LINGER_S)
    assert client.aborted
    assert broker.aborted


def test_a_broker_that_dies(bench: GatewayBench) -> None:
    """A reset from the broker is an end for the client."""
    bench.serving()
    client, broker = bench.linked()
    broker.leaves()
    assert client.half_closed
    client.ends()
    assert client.closed
    client.leaves()
    assert not bench.gateway.links


def test_a_client_that_dies(bench: GatewayBench) -> None:
    """What it has said still reaches the broker, if that reads it soon."""
    bench.serving()
    client, broker = bench.linked()
    broker.room = 0
    client.says(b"last")
    client.leaves()
    assert broker.closed
    assert not broker.aborted
    bench.pass_time(LINGER_S)
    assert broker.aborted
    assert not bench.gateway.links


def test_a_takeover(bench: GatewayBench) -> None:
    """Clients of the old master are dropped when the new one answers; who waits is led to it."""
    old = bench.serving()
    new = bench.join("s")
    client, broker = bench.linked()
    bench.leave(old)
    assert not client.half_closed
    waiting = bench.client()
    assert waiting is not None
    waiting.says(STOMP)
    assert bench.gateway.waiting == 1
    bench.publish(new, "s", "stomp://new:7")
    probe = bench.accept("new", 7)
    assert probe.closed
    assert broker.aborted
    assert client.half_closed
    assert bench.gateway.tally.dropped == 1
    assert bench.accept("new", 7).got == STOMP
    bench.pass_time(GOODBYE_S)
    assert client.aborted


def test_a_master_that_does_not_come_back(bench: GatewayBench) -> None:
    """After a while its clients are dropped, even though it may still hold their connections."""
    old = bench.serving()
    bench.join("s")
    client, broker = bench.linked()
    bench.leave(old)
    bench.pass_time(LEFT_GRACE_S)
    assert broker.aborted
    assert client.half_closed


def test_an_outage_of_zookeeper(bench: GatewayBench) -> None:
    """Nobody is dropped, and new clients are led where the master was last seen."""
    bench.serving()
    bench.join("s")
    client, broker = bench.linked()
    bench.zookeeper.stop()
    bench.pass_time(60)
    assert not client.half_closed
    _, another = bench.linked()
    assert another.got == STOMP
    client.says(b"x")
    assert broker.got.endswith(b"x")
    bench.zookeeper.start()
    bench.pump.run()
    bench.pass_time(60)
    assert not client.half_closed
    assert [record["id"] for record in bench.published()] == ["detecting"]


def test_no_master_at_all(bench: GatewayBench) -> None:
    """A client waits; then it is told so in its protocol, and the connection ends."""
    stomp, mqtt, openwire = (bench.client() for _ in range(3))
    for client, first in ((stomp, STOMP), (mqtt, MQTT), (openwire, OPENWIRE)):
        assert client is not None
        client.says(first)
    assert bench.gateway.notice(2.0) == ""
    bench.pass_time(29.9)
    assert bench.gateway.waiting == 3
    assert "No broker of group g serves" in bench.gateway.notice(29.9)
    bench.pass_time(0.2)
    assert bench.gateway.tally.refused["no master"] == 3
    assert stomp.got.startswith(b"ERROR\n")
    assert mqtt.got == b"\x20\x02\0\x03"
    assert openwire.got == b""
    assert all(client.half_closed for client in (stomp, mqtt, openwire))


def test_an_empty_group(bench: GatewayBench) -> None:
    """The registry says nothing then: a master that still answers is a master."""
    path = bench.serving("stomp://h:2")
    client, _ = bench.linked()
    bench.leave(path)
    assert bench.accept("h", 2).closed
    bench.pass_time(60)
    assert not client.half_closed
    assert bench.linked()[1].got == STOMP
    path = bench.serving("stomp://h:2")
    bench.leave(path)
    bench.refuse_connections()
    bench.pass_time(6)
    assert "No broker of group g serves" in bench.gateway.notice(bench.reactor.seconds())


def test_a_master_in_time(bench: GatewayBench) -> None:
    """Who has waited is led as soon as it answers."""
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    bench.pass_time(20)
    path = bench.join("m", "stomp://h:2")
    assert bench.refuse_connections() == 1
    bench.pass_time(0.1)
    assert bench.accept("h", 2).closed, "it was tried again"
    assert bench.accept("h", 2).got == STOMP
    assert bench.gateway.tally.waited_s == pytest.approx(20.1)
    bench.leave(path)


def test_a_broker_that_does_not_let_the_client_in(bench: GatewayBench) -> None:
    """The client waits on, within the time it has, and the broker is tried again."""
    bench.serving("stomp://h:2")
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    assert bench.refuse_connections() == 1
    assert bench.gateway.waiting == 1
    bench.pass_time(0.1)
    assert bench.accept("h", 2).closed
    assert bench.accept("h", 2).got == STOMP


def test_the_time_is_up_while_a_broker_is_asked(bench: GatewayBench) -> None:
    """The client is refused; a connection that comes too late is not kept."""
    bench.serving("stomp://h:2")
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    bench.pass_time(31)
    assert client.got.startswith(b"ERROR\n")
    assert bench.accept("h", 2).aborted
    client.leaves()
    assert [target.connections for target in bench.gateway.targets] == [0]


def test_a_client_that_leaves_while_it_waits(bench: GatewayBench) -> None:
    """Nobody is led for it."""
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    client.ends()
    assert client.closed
    client.leaves()
    assert bench.gateway.waiting == 0
    bench.serving("stomp://h:2")
    assert bench.attempts() == []


def test_a_client_that_has_said_all_while_it_is_led(bench: GatewayBench) -> None:
    """Its words reach the broker, and the end behind them."""
    bench.serving("stomp://h:2")
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    client.ends()
    broker = bench.accept()
    assert broker.got == STOMP
    assert broker.half_closed
    assert not client.closed


@pytest.mark.parametrize("first", [b"", b"CONN", b"\0"])
def test_a_client_that_does_not_begin(bench: GatewayBench, first: bytes) -> None:
    """It has five seconds for the bytes that tell the protocol."""
    client = bench.client()
    assert client is not None
    if first:
        client.says(first)
    bench.pass_time(4.9)
    assert not client.half_closed
    bench.pass_time(0.2)
    assert client.half_closed
    assert bench.gateway.tally.refused["slow"] == 1
    bench.pass_time(LINGER_S)
    assert client.aborted


def test_garbage(bench: GatewayBench) -> None:
    """It never reaches a broker."""
    bench.serving()
    client = bench.client()
    assert client is not None
    client.says(b"SSH-2.0-x\r\n")
    assert client.half_closed
    client.says(b"more")
    assert bench.attempts() == []
    assert bench.gateway.tally.refused["protocol"] == 1


def test_limits(tmp_path: Path) -> None:
    """So many in all, so many of an address; who leaves makes room."""
    bench = GatewayBench(tmp_path, maximumConnections="3", maximumConnectionsPerAddress="2")
    first, second = bench.client("192.0.2.1"), bench.client("192.0.2.1")
    assert bench.client("192.0.2.1") is None
    assert bench.client("192.0.2.2") is not None
    assert bench.client("192.0.2.3") is None
    assert dict(bench.gateway.tally.refused) == {"connections of an address": 1, "connections": 1}
    assert first is not None
    first.leaves()
    assert bench.client("192.0.2.1") is not None
    assert second is not None
    assert bench.gateway.tally.accepted == 6


def test_a_connection_on_which_nothing_moves(tmp_path: Path) -> None:
    """It ends after the time, if there is one; bytes of either side keep it."""
    bench = GatewayBench(tmp_path, idleTimeout="1000")
    bench.serving()
    client, broker = bench.linked()
    for _ in range(4):
        bench.pass_time(0.25)
        broker.says(b"x")
        bench.pass_time(0.25)
        bench.pass_time(0.25)
    assert not client.half_closed
    for _ in range(6):
        bench.pass_time(0.25)
    assert client.half_closed
    assert broker.aborted
    assert bench.gateway.tally.refused["idle"] == 1


@pytest.mark.parametrize(("version", "write"), [("v1", header_v1), ("v2", header_v2)])
def test_the_broker_is_told_who_the_client_is(tmp_path: Path, version: str, write: object) -> None:
    """A PROXY header comes in front of the client's bytes."""
    bench = GatewayBench(tmp_path, proxyProtocol=version)
    bench.serving()
    _, broker = bench.linked()
    assert broker.got == write(CLIENT, HERE) + STOMP


def test_a_load_balancer_in_front(tmp_path: Path) -> None:
    """Its header tells the client, for the limits and for the broker; others cannot forge one."""
    bench = GatewayBench(
        tmp_path,
        proxyProtocol="v1",
        proxyProtocol_trusted="10.0.0.0/8",
        maximumConnectionsPerAddress="1",
    )
    bench.serving()
    balancer = bench.client("10.1.2.3")
    assert balancer is not None
    balancer.says(header_v2(Address("198.51.100.7", 5), HERE) + STOMP)
    assert bench.accept().got == header_v1(Address("198.51.100.7", 5), HERE) + STOMP
    again = bench.client("10.1.2.3")
    assert again is not None
    again.says(header_v2(Address("198.51.100.7", 6), HERE) + STOMP)
    assert again.half_closed, "the limit of that address"
    stranger = bench.client("192.0.2.1")
    assert stranger is not None
    stranger.says(header_v2(Address("198.51.100.8", 5), HERE) + STOMP)
    assert stranger.half_closed
    assert bench.attempts() == []


def shake_hands(keys: Keys, peer: object, channel: TlsChannel) -> bytes:
    """Speak TLS with the gateway until both are content; returns what came decrypted."""
    seen, plain = 0, b""
    channel.begin()
    for _ in range(6):
        if data := channel.data_to_send():
            peer.says(data)
        data = peer.got[seen:]
        seen += len(data)
        plain += channel.receive_data(data)
    return plain


def test_tls_ends_here(tmp_path: Path) -> None:
    """A client speaks TLS, the broker gets what is inside, and the other way round."""
    keys = Keys(tmp_path)
    keys.sign("edge", "localhost")
    bench = GatewayBench(tmp_path, sslEnabled="true")
    bench.serving()
    client = bench.client()
    assert client is not None
    channel = TlsChannel(keys.client(), server_side=False, server_name="localhost")
    shake_hands(keys, client, channel)
    channel.send(STOMP)
    client.says(channel.data_to_send())
    broker = bench.accept("h", 2)
    assert broker.got == STOMP
    before = len(client.got)
    broker.says(b"CONNECTED")
    assert channel.receive_data(client.got[before:]) == b"CONNECTED"
    before = len(client.got)
    broker.ends()
    channel.receive_data(client.got[before:])
    assert channel.is_closed
    assert client.half_closed


def test_tls_that_is_none(tmp_path: Path) -> None:
    """The client is told in TLS's words; plain text is refused where TLS is required."""
    Keys(tmp_path).sign("edge", "localhost")
    bench = GatewayBench(tmp_path, sslRequired="true")
    for first, kind in ((b"\x16\x03\x01\x00\x04abcd", "tls"), (STOMP, "protocol")):
        client = bench.client()
        assert client is not None
        client.says(first)
        assert client.half_closed
        assert bench.gateway.tally.refused[kind] == 1
    slow = bench.client()
    assert slow is not None
    channel = TlsChannel(Keys(tmp_path / "other").client(), server_side=False, server_name="localhost")
    channel.begin()
    slow.says(channel.data_to_send())
    bench.pass_time(5.1)
    assert slow.half_closed
    assert bench.gateway.tally.refused["slow"] == 1


def test_tls_is_passed_through(tmp_path: Path) -> None:
    """On a port of one protocol to the broker's port with TLS; on the port of all to one that finds out."""
    hello = b"\x16\x03\x01\x02\0\x01"
    bench = GatewayBench(tmp_path, "io.fabric8.gateway.mq")
    bench.serving("stomp://h:2", "stomp+ssl://h:4")
    ports = [config.name for config in bench.gateway.config.ports]
    client = bench.client(port=ports.index("stomp"))
    assert client is not None
    client.says(hello)
    assert bench.accept("h", 4).got == hello
    other = GatewayBench(tmp_path)
    other.serving("stomp+ssl://h:4", "auto+ssl://h:5")
    client = other.client()
    assert client is not None
    client.says(hello)
    assert other.accept("h", 5).got == hello


def test_tls_with_the_broker(tmp_path: Path) -> None:
    """A broker that only speaks TLS is spoken to so, if it is known who signs its certificate."""
    keys = Keys(tmp_path)
    broker_keys = TlsChannel(_server(keys), server_side=True)
    bench = GatewayBench(tmp_path, proxyProtocol="v1")
    bench.serving("stomp+ssl://127.0.0.1:4")
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    broker = bench.accept("127.0.0.1", 4)
    header = header_v1(CLIENT, HERE)
    assert broker.got.startswith(header)
    seen, plain = len(header), b""
    for _ in range(4):
        data = broker.got[seen:]
        seen += len(data)
        plain += broker_keys.receive_data(data)
        if answer := broker_keys.data_to_send():
            broker.says(answer)
    assert plain == STOMP
    broker_keys.send(b"CONNECTED")
    broker.says(broker_keys.data_to_send())
    assert client.got == b"CONNECTED"
    assert bench.gateway.tally.opened == 1


def test_a_broker_whose_certificate_is_not_good(tmp_path: Path) -> None:
    """Nobody is led there; the client waits, and the log says why."""
    Keys(tmp_path)
    stranger = TlsChannel(_server(Keys(tmp_path / "other")), server_side=True)
    bench = GatewayBench(tmp_path, brokerSsl="always")
    bench.serving("stomp://127.0.0.1:2", "stomp+ssl://127.0.0.1:4")
    client = bench.client()
    assert client is not None
    client.says(STOMP)
    broker = bench.accept("127.0.0.1", 4)
    stranger.receive_data(broker.got)
    broker.says(stranger.data_to_send())
    assert broker.aborted
    assert bench.gateway.tally.refused["broker tls"] == 1
    assert bench.gateway.waiting == 1


def _server(keys: Keys) -> object:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.server)
    return context


def test_the_end_of_a_gateway(bench: GatewayBench) -> None:
    """Clients are told, the ports are free, the record is gone; it ends when the last client has."""
    bench.serving()
    client, broker = bench.linked()
    opening = bench.client()
    assert opening is not None
    ended: list[object] = []
    bench.gateway.stop().addCallback(ended.append)
    bench.pump.run()
    assert broker.aborted
    assert client.half_closed
    assert ended == []
    for peer in (client, opening):
        peer.leaves()
    assert len(ended) == 1
    assert bench.published() == []
    bench.pass_time(60)
    assert bench.attempts() == []


def test_what_the_registry_is_told(bench: GatewayBench) -> None:
    """Where it listens, and how it sees the masters."""
    bench.serving("stomp://h:2")
    (record,) = bench.published()
    assert record["id"] == "detecting"
    assert record["container"] == "edge"
    assert record["services"][0].startswith("tcp://gateway.example.com:")
    assert len(record["services"]) == 5
    assert record["masters"] == [{"broker": "b", "container": "m", "url": "stomp://h:2", "state": "up"}]
    bench.zookeeper.expire(bench.session.session_id)
    bench.pump.run()
    assert [each["masters"] for each in bench.published()] == [record["masters"]]


def test_another_address_of_its_container(bench: GatewayBench) -> None:
    """It is told to who looks for gateways, clients stay, and one that has ended tells nothing more."""
    bench.serving()
    client, broker = bench.linked()
    service = GatewayService(bench.pid, bench.gateway, bench.context)
    bench.context.advertised_host = "192.0.2.77"
    service.readvertise()
    (record,) = bench.published()
    assert all("://192.0.2.77:" in url for url in record["services"])
    assert service.status()["services"] == record["services"]
    client.says(b"more")
    assert broker.got == STOMP + b"more"
    service.stopService()
    service.readvertise()
    for peer in (client, broker):
        peer.leaves()
    assert bench.published() == []


def test_other_limits_while_it_runs(bench: GatewayBench) -> None:
    """Limits and times change without anybody noticing; the rest needs another gateway."""
    bench.serving()
    client, _ = bench.linked()
    assert bench.gateway.reconfigure(bench.config(maximumConnections="1", idleTimeout="1000"))
    assert bench.client() is None
    for _ in range(6):
        bench.pass_time(0.25)
    assert client.half_closed
    assert not bench.gateway.reconfigure(bench.config(group="other"))
    assert not bench.gateway.reconfigure(bench.config(loadBalancerType="random"))
