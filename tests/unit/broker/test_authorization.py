"""Who may do what with which destinations."""

from __future__ import annotations

import pytest
from support.region import MemoryStore, Peer, settle

from broker.advisory import AboutDestination
from broker.authorization import Authorization, Permission, Rights
from broker.config import BrokerConfig
from broker.destination import Destination
from broker.errors import AccessDenied, ConfigurationInvalid, InvalidDestination
from broker.region.region import Region

READ, WRITE, ADMIN = Permission.READ, Permission.WRITE, Permission.ADMIN
LINES = {
    "authorization.queue.>.admin": "operators",
    "authorization.queue.orders.>.read": "clerks, operators",
    "authorization.queue.orders.>.write": "shops",
    "authorization.queue.orders.eu.write": "eu",
    "authorization.topic.prices.*.read": "*",
    "authorization.topic.prices.*.write": "market",
    "authorization.topic.prices.*.admin": "market",
}
ROLES: dict[str, tuple[str, ...]] = {
    "root": ("admin",),
    "clerk": ("clerks",),
    "shop": ("shops",),
    "op": ("operators",),
    "market": ("market",),
    "nobody": (),
}
ORDERS = Destination.queue("orders.eu")
PRICES = Destination.topic("prices.gold")


def allows(roles: set[str], permission: Permission, uri: str, lines: dict[str, str] | None = None) -> bool:
    """What the lines say."""
    authorization = Authorization.parse(LINES if lines is None else lines)
    return authorization.allows(roles, permission, Destination.parse(uri))


@pytest.mark.parametrize(
    ("roles", "permission", "uri", "expected"),
    [
        ({"admin"}, WRITE, "queue://anything", True),
        ({"clerks"}, READ, "queue://orders.us", True),
        ({"clerks"}, READ, "queue://orders", True),
        ({"clerks"}, WRITE, "queue://orders.us", False),
        ({"clerks"}, READ, "queue://other", False),
        ({"clerks"}, READ, "topic://orders.us", False),
        ({"eu"}, WRITE, "queue://orders.eu", True),
        ({"eu"}, WRITE, "queue://orders.us", False),
        ({"shops"}, WRITE, "queue://orders.eu", True),
        ({"operators"}, ADMIN, "queue://anything", True),
        (set(), READ, "topic://prices.gold", True),
        (set(), READ, "topic://prices.gold.eu", False),
        (set(), READ, "topic://ActiveMQ.Advisory.TempQueue", True),
        (set(), WRITE, "topic://ActiveMQ.Advisory.TempQueue", False),
        (set(), READ, "topic://ActiveMQ.Advisory.Connection", False),
        (set(), WRITE, "temp-queue://ID:1", True),
    ],
)
def test_lines_say_who_may_what(roles: set[str], permission: Permission, uri: str, expected: bool) -> None:
    """All lines that match count together; where none does, only the role admin may."""
    assert allows(roles, permission, uri) is expected


def test_without_lines_everybody_may_everything() -> None:
    """Nothing configured means no restriction."""
    assert allows(set(), ADMIN, "queue://a", {})


def test_temporary_destinations_and_their_advisories_can_be_restricted() -> None:
    """Lines of their own take them from those they do not name."""
    lines = {
        "authorization.tempDestination.write": "shops",
        "authorization.topic.ActiveMQ.Advisory.>.read": "shops",
    }
    for roles, expected in (({"shops"}, True), ({"clerks"}, False)):
        assert allows(roles, WRITE, "temp-queue://ID:1", lines) is expected
        assert allows(roles, READ, "topic://ActiveMQ.Advisory.TempQueue", lines) is expected
    assert not allows({"shops"}, READ, "temp-topic://ID:1", lines)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (">", True),
        ("orders.>", True),
        ("*.eu", True),
        ("orders", True),
        ("*", True),
        ("orders.eu.x.*", True),
        ("other.>", False),
        ("*.*.>", True),
    ],
)
def test_wildcards_need_something_to_read(pattern: str, expected: bool) -> None:
    """A wildcard is allowed if a name can match both it and a line that lets its user read."""
    assert Authorization.parse(LINES).may_match({"clerks"}, Destination.queue(pattern)) is expected
    assert not Authorization.parse(LINES).may_match({"shops"}, Destination.queue(pattern))
    assert Authorization.parse(LINES).may_match({"admin"}, Destination.queue(pattern))


@pytest.mark.parametrize(
    "key",
    [
        "authorization.read",
        "authorization.queue.read",
        "authorization.queue",
        "authorization.queue.a.b",
        "authorization.queue.a.>.b.read",
        "authorization.queue.a..read",
        "authorization.tempDestination.a.read",
        "authorization.tempQueue.read",
    ],
)
def test_wrong_lines_are_refused_by_name(key: str) -> None:
    """What cannot be meant stops the broker from being made; nothing is left open by mistake."""
    with pytest.raises(ConfigurationInvalid) as caught:
        BrokerConfig.from_properties({key: "users"}, container="c1")
    assert key in str(caught.value)


# ---- in the region


def restricted(
    lines: dict[str, str] | None = None, roles: dict[str, tuple[str, ...]] | None = None
) -> Region:
    """A region with these lines."""
    known = ROLES if roles is None else roles
    rights = Rights(Authorization.parse(LINES if lines is None else lines), lambda user: known.get(user, ()))
    region = Region(MemoryStore(), now_ms=1000, rights=rights)
    region.target(ORDERS)
    return region


def peer_of(region: Region, user: str) -> Peer:
    """Somebody's connection."""
    peer = Peer(region, user)
    peer.connection.user = user
    return peer


def test_clients_may_do_what_their_roles_allow() -> None:
    """Each kind of request asks for its own permission, and what is refused has no effect."""
    region = restricted()
    clerk, shop, op, nobody = (peer_of(region, user) for user in ("clerk", "shop", "op", "nobody"))
    shop.send("m1", ORDERS)
    clerk.consume(destination=ORDERS)
    settle(region)
    assert clerk.client.ids() == ["m1"]
    with pytest.raises(AccessDenied, match=r"User clerk is not authorized to write to: queue://orders\.eu"):
        clerk.send("m2", ORDERS)
    with pytest.raises(AccessDenied, match="read from"):
        shop.consume(destination=ORDERS)
    with pytest.raises(AccessDenied, match="read from"):
        nobody.consume(destination=ORDERS, browser=True)
    with pytest.raises(AccessDenied, match="write to"):
        clerk.connection.add_producer("clerk:1:1", ORDERS)
    with pytest.raises(AccessDenied, match="create or remove"):
        clerk.connection.remove_destination(ORDERS)
    with pytest.raises(AccessDenied, match="write to"):
        shop.send("m3", Destination.queue("orders.eu,other"))
    op.connection.add_destination(Destination.queue("made"))
    assert set(region.targets) == {ORDERS, Destination.queue("made")}


def test_whoever_uses_a_destination_first_must_be_allowed_to_make_it() -> None:
    """Created on first use if the role allows: `admin` is asked for, too."""
    region = restricted()
    shop, market = peer_of(region, "shop"), peer_of(region, "market")
    with pytest.raises(AccessDenied, match=r"create or remove: queue://orders\.us"):
        shop.send("m1", Destination.queue("orders.us"))
    with pytest.raises(AccessDenied, match="create"):
        peer_of(region, "clerk").consume(destination=Destination.queue("orders.us"))
    market.send("m2", PRICES)
    peer_of(region, "nobody").consume(destination=PRICES)
    assert set(region.targets) == {ORDERS, PRICES}


def test_wildcards_take_only_what_may_be_read() -> None:
    """A wildcard consumer gets no message that its user may not read, now or later."""
    region = restricted()
    root, clerk = peer_of(region, "root"), peer_of(region, "clerk")
    root.send("secret", Destination.queue("secret"))
    clerk.consume(destination=Destination.queue(">"))
    root.send("late secret", Destination.queue("late"))
    root.send("order", ORDERS)
    root.send("late order", Destination.queue("orders.us"))
    settle(region)
    assert sorted(clerk.client.ids()) == ["late order", "order"]
    with pytest.raises(AccessDenied, match=r"read from: queue://other\.>"):
        clerk.consume("w", Destination.queue("other.>"))


def test_a_change_counts_at_once() -> None:
    """What is taken away is gone: sends are refused, consumers cut off; what is given is there."""
    roles = dict(ROLES)
    region = restricted(roles=roles)
    shop, clerk, root = (peer_of(region, user) for user in ("shop", "clerk", "root"))
    clerk.consume(destination=ORDERS)
    root.consume(destination=Destination.queue(">"))
    shop.send("m1", ORDERS)
    region.rights.change(Authorization.parse({"authorization.queue.other.>.write": "shops"}))
    region.review_rights()
    with pytest.raises(AccessDenied):
        shop.send("m2", ORDERS)
    assert (
        clerk.client.disconnected == "User clerk is not authorized any more to read from: queue://orders.eu"
    )
    assert clerk.connection.closed
    assert root.client.disconnected is None
    roles["shop"] = ("admin",)
    region.review_rights()
    shop.send("m3", ORDERS)
    settle(region)
    assert root.client.ids() == ["m1", "m3"]


def test_a_wildcard_gets_what_its_user_may_read_now() -> None:
    """A permission given later attaches wildcard consumers to what is there already."""
    roles = dict(ROLES)
    region = restricted(roles=roles)
    clerk, root = peer_of(region, "clerk"), peer_of(region, "root")
    root.send("m1", Destination.queue("other"))
    clerk.consume(destination=Destination.queue(">"))
    settle(region)
    assert clerk.client.ids() == []
    roles["clerk"] = ("admin",)
    region.review_rights()
    settle(region)
    assert clerk.client.ids() == ["m1"]


def test_what_is_forwarded_needs_no_permission_of_the_sender() -> None:
    """A sender may feed a virtual topic's queues without being allowed to write to them."""
    region = restricted({"authorization.topic.VirtualTopic.>.write": "shops"})
    queue = Destination.queue("Consumer.A.VirtualTopic.x")
    region.target(queue)
    region.target(Destination.topic("VirtualTopic.x"))
    shop = peer_of(region, "shop")
    shop.send("m1", Destination.topic("VirtualTopic.x"))
    assert len(region.store.state.queues[queue.uri]) == 1
    with pytest.raises(AccessDenied):
        shop.send("m2", queue)


def test_temporary_destinations_and_advisories_work_for_everybody() -> None:
    """Request and reply goes on as always; temporary destinations can be restricted."""
    region = restricted()
    temporary = Destination.parse("temp-queue://ID:nobody:1")
    nobody = peer_of(region, "nobody")
    nobody.consume("a", Destination.topic("ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic"))
    nobody.connection.add_destination(temporary)
    nobody.consume("t", temporary)
    peer_of(region, "clerk").send("answer", temporary)
    settle(region)
    assert nobody.client.ids("t") == ["answer"]
    assert nobody.client.advised == [AboutDestination(temporary, "nobody", True)]
    region.rights.change(Authorization.parse({"authorization.tempDestination.admin": "clerks"}))
    with pytest.raises(AccessDenied):
        nobody.connection.add_destination(Destination.parse("temp-queue://ID:nobody:2"))


def test_impossible_destinations_are_refused_as_ever() -> None:
    """A destination without a name is no matter of rights."""
    peer = peer_of(restricted(), "clerk")
    with pytest.raises(InvalidDestination):
        peer.send("m1", Destination.queue(","))


def test_refused_names_take_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many and long the names are that somebody asks for, few decisions are remembered."""
    monkeypatch.setattr("broker.authorization.REMEMBERED_MAX", 5)
    rights = Rights(Authorization.parse(LINES))
    for number in range(20):
        assert not rights.allows("x", READ, Destination.queue(f"a{number}"))
        assert not rights.allows("x", READ, Destination.queue("a" * 1000 + str(number)))
        assert len(rights._decided) <= 5
    assert all(len(destination.name) < 10 for _, _, destination in rights._decided)
