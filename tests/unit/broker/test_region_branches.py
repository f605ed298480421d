"""Distributed transactions in the region: prepared branches wait, and survive, until their outcome."""

import pytest
from support.region import QUEUE, TOPIC, MemoryStore, Peer, new_region, restarted, settle
from support.scheduling import advance, schedule

from broker.authorization import Authorization, Rights
from broker.destination import Destination
from broker.errors import BranchRefused, ResourceExhausted
from broker.region.limits import RegionLimits
from broker.region.region import Region
from broker.xa import READ_ONLY, XaCode, Xid
from journal.record import AddMessage

X = Xid(1, b"global", b"1").text
Y = Xid(1, b"global", b"2").text


def begin(peer: Peer, xid: str = X) -> None:
    """The connection takes part in the branch."""
    peer.region.branches.begin(peer.connection, xid)


def prepare(peer: Peer, xid: str = X) -> int:
    """The branch is prepared."""
    return peer.region.branches.prepare(peer.connection, xid)


def commit(peer: Peer, xid: str = X, *, one_phase: bool = False) -> int:
    """The branch is committed, and everything is durable."""
    batch = peer.region.branches.commit(peer.connection, xid, one_phase=one_phase)
    settle(peer.region)
    return batch


def roll_back(peer: Peer, xid: str = X) -> None:
    """The branch is rolled back, and everything is durable."""
    peer.region.branches.roll_back(peer.connection, xid)
    settle(peer.region)


def refused(code: XaCode) -> "pytest.RaisesExc[BranchRefused]":
    """A manager is told this code."""
    return pytest.raises(BranchRefused, match=f" xaErrorCode:{code:d}$")


def worked(region: Region) -> Peer:
    """Two messages are in the queue; a branch has consumed the first, and sent one more."""
    peer = Peer(region)
    peer.send("a")
    peer.send("b")
    peer.consume()
    settle(region)
    begin(peer)
    peer.acknowledge(peer.client.refs()[0], transaction=X)
    peer.send("c", transaction=X)
    return peer


def taken_by_another(region: Region) -> list[str]:
    """What a further connection gets of the queue."""
    other = Peer(region, "other")
    other.consume()
    settle(region)
    return other.client.ids()


def test_a_prepared_branch_is_stored_once() -> None:
    """The message is in the journal with its preparation; its commit adds none."""
    region = new_region()
    peer = worked(region)
    assert prepare(peer) > 0
    store = region.store
    assert isinstance(store, MemoryStore)
    before = len(store.records())
    commit(peer)
    assert not [each for each in store.records()[before:] if isinstance(each, AddMessage)]
    assert peer.client.ids() == ["a", "b", "c"]


def test_nothing_of_a_prepared_branch_is_seen_before_its_outcome() -> None:
    """What it sent is not dispatched, what it consumed not given to others, in any life of the broker."""
    region = new_region()
    peer = worked(region)
    prepare(peer)
    settle(region)
    peer.connection.close()
    assert taken_by_another(region) == ["b"]
    assert taken_by_another(restarted(region)) == ["b"]


@pytest.mark.parametrize("lives", [1, 2, 3])
def test_a_commit_after_takeovers_does_it(lives: int) -> None:
    """The branch is listed, committed by another connection, and forgotten; order is that of sending."""
    region = new_region()
    prepare(worked(region))
    settle(region)
    for _ in range(lives):
        region = restarted(region)
    other = Peer(region, "manager")
    assert region.branches.recover(other.connection) == [X]
    other.send("d")
    commit(other)
    assert region.branches.recover(other.connection) == []
    assert taken_by_another(region) == ["b", "c", "d"]
    assert taken_by_another(restarted(region)) == ["b", "c", "d"]


def test_a_rollback_after_a_takeover_does_it() -> None:
    """What it consumed waits again, where it was; what it sent is gone."""
    region = new_region()
    prepare(worked(region))
    settle(region)
    region = restarted(region)
    other = Peer(region, "manager")
    roll_back(other)
    assert taken_by_another(region) == ["a", "b"]
    assert region.store.state.live_bytes == 2


def test_a_rollback_in_the_same_life_gives_back_to_others() -> None:
    """A consumer that is there still has it, as its client does; when it is closed, others get it."""
    region = new_region()
    peer = worked(region)
    prepare(peer)
    roll_back(peer)
    assert peer.client.ids() == ["a", "b"]
    peer.acknowledge(peer.client.refs()[0])
    settle(region)
    peer.connection.close()
    assert taken_by_another(region) == ["b"]


def test_one_phase_commit_and_rollback_of_an_open_branch() -> None:
    """As with a local transaction."""
    region = new_region()
    peer = worked(region)
    commit(peer, one_phase=True)
    assert peer.client.ids() == ["a", "b", "c"]
    begin(peer, Y)
    peer.send("d", transaction=Y)
    roll_back(peer, Y)
    assert peer.client.ids() == ["a", "b", "c"]


def test_a_branch_that_did_nothing_is_read_only() -> None:
    """It is ended with its preparation."""
    peer = Peer(new_region())
    begin(peer)
    assert prepare(peer) == READ_ONLY
    with refused(XaCode.NOT_KNOWN):
        commit(peer)


def test_only_messages_in_memory_wait_for_the_outcome_too() -> None:
    """While this broker lives they are delivered at the commit; a takeover loses them, and nothing else."""
    region = new_region()
    peer = Peer(region)
    peer.consume()
    begin(peer)
    peer.send("a", transaction=X, persistent=False)
    assert prepare(peer) > 0
    settle(region)
    again = restarted(region)
    assert peer.client.ids() == []
    commit(peer)
    assert peer.client.ids() == ["a"]
    other = Peer(again, "other")
    assert commit(other) > 0
    assert taken_by_another(again) == []


def test_a_durable_subscription_takes_part() -> None:
    """What it acknowledged in a branch comes back, or is gone; what was published is for it."""
    for committed, left in ((True, ["c"]), (False, ["a"])):
        region = new_region()
        peer = Peer(region, client_id="me")
        peer.consume("s", TOPIC, subscription_name="sub")
        peer.send("a", TOPIC)
        settle(region)
        begin(peer)
        peer.acknowledge(peer.client.refs()[0], key="s", transaction=X)
        peer.send("c", TOPIC, transaction=X)
        prepare(peer)
        settle(region)
        region = restarted(region)
        other = Peer(region, "other", "me")
        other.consume("s", TOPIC, subscription_name="sub")
        settle(region)
        assert other.client.ids() == []
        (commit if committed else roll_back)(other)
        assert other.client.ids() == left


def test_subscribers_without_a_name_get_what_a_branch_published() -> None:
    """At its commit, also of an earlier broker's."""
    region = new_region()
    peer = Peer(region)
    begin(peer)
    peer.send("a", TOPIC, transaction=X)
    prepare(peer)
    settle(region)
    region = restarted(region)
    other = Peer(region)
    other.consume("t", TOPIC)
    commit(other)
    assert other.client.ids() == ["a"]
    assert region.store.state.live_bytes == 0


def test_no_local_holds_for_branches_of_clients_that_are_gone() -> None:
    """A durable subscription that does not want its own client's messages does not get them."""
    region = new_region()
    peer = Peer(region, client_id="me")
    peer.consume("s", TOPIC, subscription_name="sub", no_local=True)
    peer.connection.remove_consumer("s")
    begin(peer)
    peer.send("a", TOPIC, transaction=X)
    prepare(peer)
    settle(region)
    region = restarted(region)
    commit(Peer(region, "manager"))
    assert region.store.state.live_bytes == 0


def test_an_open_branch_ends_with_the_connection_that_began_it() -> None:
    """It was not prepared: all of it is rolled back, others' part in it too."""
    region = new_region()
    peer = worked(region)
    other = Peer(region, "other")
    begin(other)
    other.send("d", transaction=X)
    peer.connection.close()
    with refused(XaCode.NOT_KNOWN):
        other.send("e", transaction=X)
    with refused(XaCode.NOT_KNOWN):
        prepare(other)
    assert taken_by_another(region) == ["a", "b"]


def test_several_connections_take_part_in_one_branch() -> None:
    """The second joins; its end takes nothing away."""
    region = new_region()
    peer, other = Peer(region), Peer(region, "other")
    begin(peer)
    begin(other)
    peer.send("a", transaction=X)
    other.send("b", transaction=X)
    other.connection.close()
    prepare(peer)
    commit(Peer(region, "manager"))
    assert taken_by_another(region) == ["a", "b"]


def test_a_repeated_preparation_is_answered_once() -> None:
    """After a failover its sends are known, its acknowledgements too, and its messages are stored once."""
    region = new_region()
    prepare(worked(region))
    settle(region)
    region = restarted(region)
    again = Peer(region, failover_reconnect=True)
    again.consume()
    settle(region)
    begin(again)
    again.acknowledge(1, transaction=X)
    again.send("c", transaction=X, sequence=3)
    assert prepare(again) >= 0
    commit(again)
    assert again.client.ids() == ["b", "c"]
    assert region.repeats_dropped == 1


def test_sends_of_a_branch_that_was_not_prepared_are_no_repeats() -> None:
    """Although a later send of the same producer, outside of the branch, is in the journal."""
    region = new_region()
    peer = Peer(region)
    begin(peer)
    peer.send("a", transaction=X, sequence=1)
    peer.send("b", sequence=2)
    settle(region)
    region = restarted(region)
    again = Peer(region, failover_reconnect=True)
    begin(again)
    again.send("a", transaction=X, sequence=1)
    commit(again, one_phase=True)
    assert taken_by_another(region) == ["b", "a"]


def test_a_commit_repeated_after_a_failover_is_answered_truthfully() -> None:
    """Whether in one phase or two; a rollback too; to others it is not known any more."""
    region = new_region()
    peer = worked(region)
    prepare(peer)
    commit(peer)
    begin(peer, Y)
    peer.send("d", transaction=Y, sequence=9)
    commit(peer, Y, one_phase=True)
    region = restarted(region)
    again = Peer(region, failover_reconnect=True)
    begin(again, Y)
    again.send("d", transaction=Y, sequence=9)
    assert commit(again, Y, one_phase=True) >= 0
    assert commit(again, X) >= 0
    with refused(XaCode.NOT_KNOWN):
        commit(Peer(region, "other"), X)
    with refused(XaCode.NOT_KNOWN):
        roll_back(again, X)
    assert taken_by_another(region) == ["b", "c", "d"]


def test_steps_out_of_order_are_refused() -> None:
    """With the codes of XA; nothing is lost."""
    region = new_region()
    peer = worked(region)
    with refused(XaCode.PROTOCOL):
        commit(peer)
    with refused(XaCode.PROTOCOL):
        region.branches.forget(peer.connection, X)
    for step in (commit, roll_back, prepare):
        with refused(XaCode.NOT_KNOWN):
            step(peer, Y)
    with refused(XaCode.NOT_KNOWN):
        region.branches.forget(peer.connection, Y)
    prepare(peer)
    with refused(XaCode.DUPLICATE_ID):
        begin(peer)
    with refused(XaCode.NOT_KNOWN):
        peer.send("d", transaction=X)
    prepare(peer)
    commit(peer)
    assert peer.client.ids() == ["a", "b", "c"]


def test_an_administrator_decides_and_the_manager_is_told() -> None:
    """Until it forgets; a takeover changes nothing about that."""
    for committed, left in ((True, ["b", "c"]), (False, ["a", "b"])):
        region = new_region()
        peer = worked(region)
        prepare(peer)
        settle(region)
        region = restarted(region)
        region.now_ms = 3_000
        (branch,) = region.prepared_transactions()
        assert (branch.xid, branch.age_ms) == (X, 2_000)
        assert (branch.sent, branch.consumed) == ({QUEUE.uri: 1}, {QUEUE.uri: 1})
        (region.heuristic_commit if committed else region.heuristic_rollback)(X)
        settle(region)
        region = restarted(region)
        other = Peer(region, "manager")
        assert region.branches.recover(other.connection) == [X]
        code = XaCode.HEURISTIC_COMMIT if committed else XaCode.HEURISTIC_ROLLBACK
        for step in (commit, roll_back, prepare):
            with refused(code):
                step(other)
        with refused(XaCode.DUPLICATE_ID):
            begin(other)
        region.branches.forget(other.connection, X)
        assert region.branches.recover(other.connection) == []
        with refused(XaCode.NOT_KNOWN):
            region.forget_transaction(X)
        assert taken_by_another(region) == left


def test_a_heuristic_rollback_gives_back_at_once() -> None:
    """The consumer's client has acknowledged it and will not hear of it: it is delivered again."""
    region = new_region()
    peer = worked(region)
    prepare(peer)
    region.heuristic_rollback(X)
    settle(region)
    assert [(message_id, counter) for _, message_id, _, counter in peer.client.got] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
    ]
    with refused(XaCode.NOT_KNOWN):
        region.heuristic_commit(Y)


def test_prepared_branches_are_limited() -> None:
    """One too many is rolled back, and says so; the others stay."""
    region = new_region(limits=RegionLimits(prepared_max=1))
    peer = worked(region)
    prepare(peer)
    begin(peer, Y)
    peer.send("d", transaction=Y)
    with refused(XaCode.RB_OTHER):
        prepare(peer, Y)
    with refused(XaCode.NOT_KNOWN):
        commit(peer, Y)
    commit(peer)
    assert peer.client.ids() == ["a", "b", "c"]


def test_branches_of_others_are_hidden_where_rights_are_restricted() -> None:
    """Only who prepared it, and administrators, see and end it."""
    region = new_region()
    authorization = Authorization.parse({"authorization.queue.>.read": "users"})
    region.rights = Rights(authorization, lambda user: ("admin",) if user == "root" else ("users",))
    peer = Peer(region)
    peer.connection.user = "ann"
    begin(peer)
    peer.connection.transactions.find(X).keep(peer.message("a"))
    other = Peer(region, "other")
    other.connection.user = "bob"
    with refused(XaCode.PROTOCOL):
        begin(other)
    prepare(peer)
    assert region.branches.recover(other.connection) == []
    with refused(XaCode.PROTOCOL):
        commit(other)
    other.connection.user = "root"
    assert region.branches.recover(other.connection) == [X]
    commit(other)


def test_an_idle_queue_stays_while_a_branch_holds_its_messages() -> None:
    """Otherwise a rollback would bring nothing back."""
    policies = {
        "policy.queue.>.gcInactiveDestinations": "true",
        "policy.queue.>.inactiveTimeoutBeforeGC": "1000",
    }
    limits = RegionLimits(purge_period_ms=100)
    region = new_region(policies=policies, limits=limits)
    peer = Peer(region)
    peer.send("a")
    peer.consume()
    settle(region)
    begin(peer)
    peer.acknowledge(peer.client.refs()[0], transaction=X)
    prepare(peer)
    settle(region)
    region = restarted(region, policies=policies, limits=limits)
    for now_ms in range(2_000, 20_000, 1_000):
        region.advance(now_ms)
    roll_back(Peer(region, "manager"))
    assert taken_by_another(region) == ["a"]


def test_ids_of_branches_are_checked() -> None:
    """Too long, or empty ones, are none; all others are read back from their text."""
    assert Xid.parse(Xid(-7, b"\x00\xff", b"").text) == (-7, b"\x00\xff", b"")
    for wrong in (Xid(1, b"", b"b"), Xid(1, b"g" * 65, b""), Xid(1, b"g", b"b" * 65)):
        with refused(XaCode.INVALID):
            wrong.check()
    with pytest.raises(ValueError, match="no branch's id"):
        Xid.parse("TX:1")


def test_a_scheduled_message_of_a_branch_is_due_after_its_commit() -> None:
    """Its delay counts from there, also if an earlier broker has prepared the branch."""
    region = new_region()
    peer = Peer(region)
    begin(peer)
    peer.send("a", transaction=X, **schedule(delay=500))
    prepare(peer)
    settle(region)
    region = restarted(region)
    other = Peer(region, "other")
    other.consume()
    advance(region, 5_000)
    commit(other)
    assert other.client.ids() == []
    advance(region, 5_600)
    assert other.client.ids() == ["a"]
    assert region.store.state.queues.keys() == {QUEUE.uri}


def test_a_commit_for_which_there_is_no_place_can_be_repeated() -> None:
    """The branch stays prepared, and its manager is told to try again."""
    limits = RegionLimits(destinations_max=1)
    region = new_region(limits=limits)
    peer = Peer(region)
    peer.send("a")
    begin(peer)
    peer.send("b", transaction=X)
    prepare(peer)
    region.remove_destination(QUEUE, peer.connection)
    peer.send("other", Destination.queue("another"))
    with refused(XaCode.RETRY):
        commit(peer)
    region.remove_destination(Destination.queue("another"), peer.connection)
    commit(peer)
    assert taken_by_another(region) == ["b"]


def test_consumers_of_wildcards_take_part() -> None:
    """What they acknowledge in a branch is locked where it came from."""
    region = new_region()
    peer = Peer(region)
    for name in ("w.a", "w.b"):
        peer.send(name, Destination.queue(name))
    peer.consume("k", Destination.queue("w.*"))
    settle(region)
    begin(peer)
    for ref in peer.client.refs():
        peer.acknowledge(ref, transaction=X)
    prepare(peer)
    settle(region)
    (branch,) = region.prepared_transactions()
    assert branch.consumed == {"queue://w.a": 1, "queue://w.b": 1}
    region = restarted(region)
    roll_back(Peer(region, "manager"))
    other = Peer(region, "other")
    other.consume("k", Destination.queue("w.*"))
    settle(region)
    assert sorted(other.client.ids()) == ["w.a", "w.b"]


def test_what_was_delivered_before_says_so_after_a_rollback() -> None:
    """The count of deliveries survives the branch and the takeover."""
    region = new_region()
    peer = Peer(region)
    peer.send("a")
    peer.consume()
    settle(region)
    peer.connection.remove_consumer("k")
    peer.consume()
    settle(region)
    begin(peer)
    peer.acknowledge(peer.client.refs()[-1], transaction=X)
    prepare(peer)
    settle(region)
    region = restarted(region)
    roll_back(Peer(region, "manager"))
    other = Peer(region, "other")
    other.consume()
    settle(region)
    assert [counter for _, _, _, counter in other.client.got] == [1]


def test_too_large_a_branch_is_rolled_back_when_it_grows() -> None:
    """Like a local transaction; then it is not known any more."""
    region = new_region(limits=RegionLimits(transaction_operations_max=1))
    peer = worked_with(region)
    with pytest.raises(ResourceExhausted, match="at most 1 operations"):
        peer.send("c", transaction=X)
    with refused(XaCode.NOT_KNOWN):
        prepare(peer)
    peer.connection.close()
    assert taken_by_another(region) == ["a"]


def worked_with(region: Region) -> Peer:
    """A branch has consumed one message."""
    peer = Peer(region)
    peer.send("a")
    peer.consume()
    settle(region)
    begin(peer)
    peer.acknowledge(peer.client.refs()[0], transaction=X)
    return peer


def test_two_sessions_transactions_do_not_disturb_each_other() -> None:
    """Local ones and a branch on one connection: each has its own work and outcome."""
    region = new_region()
    peer = Peer(region)
    peer.connection.begin("t1")
    peer.connection.begin("t2")
    begin(peer)
    for name, transaction in (("a", "t1"), ("b", "t2"), ("c", X), ("d", "t1")):
        peer.send(name, transaction=transaction)
    peer.connection.rollback("t2")
    prepare(peer)
    peer.connection.commit("t1")
    commit(peer)
    assert taken_by_another(region) == ["c", "a", "d"]
