"""A container's address is followed, and services tell it anew."""

from collections.abc import Mapping
from pathlib import Path

from support.fake_reactor import FakeReactor

from fabric.agent import Agent
from fabric.home import Home
from fabric.own_address import OwnAddress
from fabric.resolvers import set_resolver
from fabric.services import ServiceContext
from fabric.store import ContainerStore
from registry import paths
from registry.session import Session


def put(session: Session, **fields: str) -> None:
    """Write fields of container `c`."""
    for key, value in fields.items():
        session.put(paths.container_config_field("c", key), value.encode())


def test_an_address_is_looked_up_whenever_a_field_of_it_changes(
    reactor: FakeReactor, session: Session
) -> None:
    """Another resolver, or another value of the field it names; what cannot be looked up is not told."""
    put(session, ip="${zk:c/localip}", localip="10.0.0.1", localhostname="east", resolver="localip")
    told: list[str] = []
    address = OwnAddress(reactor, session, "c", told.append)
    address.start()
    reactor.turn()
    assert set(told) == {"10.0.0.1"}
    put(session, localip="10.0.0.2")
    reactor.turn()
    assert told[-1] == "10.0.0.2"
    set_resolver(ContainerStore(session), ["c"], "localhostname")
    reactor.turn()
    assert told[-1] == "east"
    put(session, ip="${zk:c/manualip}")
    reactor.turn()
    assert told[-1] == "east"
    address.cancel()
    put(session, ip="${zk:c/localip}")
    reactor.turn()
    assert told[-1] == "east"


class Kind:
    """Services that note what is asked of them."""

    pid_prefix = "test.server-"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def create(self, pid: str, properties: Mapping[str, str], context: ServiceContext) -> "Kind.Service":
        """Make one."""
        self.calls.append(f"create {properties.get('url', '')}")
        return Kind.Service(self, context)

    class Service:
        """One of them."""

        def __init__(self, kind: "Kind", context: ServiceContext) -> None:
            self.kind = kind
            self.context = context

        def startService(self) -> None:  # noqa: N802 - Twisted's name
            """Start."""

        def stopService(self) -> None:  # noqa: N802 - Twisted's name
            """Stop."""

        def readvertise(self) -> None:
            """Tell the address anew."""
            self.kind.calls.append(f"readvertise {self.context.advertised_host}")

        def status(self) -> Mapping[str, object]:
            """Return nothing."""
            return {}


def test_services_tell_a_new_address_and_placeholders_follow_it(
    reactor: FakeReactor, session: Session, tmp_path: Path
) -> None:
    """A service is asked to tell it; one whose properties hold the address is made anew with the new one."""
    context = ServiceContext(reactor, session, Home(tmp_path), "c", "127.0.0.1", "127.0.0.1")
    kind = Kind()
    session.put(paths.config_container("c"), b"1.0")
    session.put(paths.version_container("1.0", "c"), b"p")
    document = "configuration:\n  test.server-a: {k: v}\n  test.server-b: {url: 'x://${container.ip}'}\n"
    session.put(paths.profile("1.0", "p"), document.encode())
    agent = Agent(context, {kind.pid_prefix: kind}, {"container.ip": "127.0.0.1"})
    agent.start()
    reactor.turn()
    assert kind.calls == ["create ", "create x://127.0.0.1"]
    kind.calls.clear()
    context.advertised_host = "10.0.0.9"
    agent.readvertise()
    reactor.turn()
    assert kind.calls == ["readvertise 10.0.0.9", "readvertise 10.0.0.9", "create x://10.0.0.9"]
