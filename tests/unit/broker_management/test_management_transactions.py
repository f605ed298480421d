"""Prepared branches of distributed transactions, as operators see and end them."""

from __future__ import annotations

import pytest
from support.management import finished, ids, managed
from support.region import QUEUE, Peer, new_region, restarted, settle

from broker.management.requests import DestinationRequest, ListRequest, SelectRequest, TransactionRequest
from broker.region.region import Region
from broker.xa import Xid

X = Xid(1, b"global", b"1").text
OTHER = "other"


def prepared() -> Region:
    """A restarted broker; a prepared branch has consumed the first of two messages, and sent a third."""
    region = new_region()
    peer = Peer(region)
    peer.connection.user = "ann"
    peer.send("a")
    peer.send("b")
    peer.consume()
    settle(region)
    region.branches.begin(peer.connection, X)
    peer.acknowledge(peer.client.refs()[0], transaction=X)
    peer.send("c", transaction=X)
    region.branches.prepare(peer.connection, X)
    settle(region)
    return restarted(region)


def test_a_prepared_branch_is_listed() -> None:
    """With who prepared it, when, and what it has done."""
    _, operator = managed(prepared())
    (info,) = operator.transactions(ListRequest()).items
    assert (info.xid, info.state, info.user) == (X, "prepared", "ann")
    assert (info.sent, info.consumed, info.acknowledged) == ({QUEUE.uri: 1}, {QUEUE.uri: 1}, {})
    assert info.prepared == 1000
    assert operator.transactions(ListRequest(filter="nothing")).items == []


@pytest.mark.parametrize(("commits", "left"), [(True, ["b", "c"]), (False, ["a", "b"])])
def test_an_operator_decides(commits: bool, left: list[str]) -> None:
    """It is listed until its manager has heard of it, or need not."""
    region = prepared()
    _, operator = managed(region)
    end = operator.commit if commits else operator.rollback
    assert finished(region, end(TransactionRequest(X))).state == "done"
    assert ids(operator) == left
    (info,) = operator.transactions(ListRequest()).items
    assert info.state == ("committed" if commits else "rolled back")
    assert finished(region, end(TransactionRequest(X))).state == "failed"
    assert finished(region, operator.forget(TransactionRequest(X))).state == "done"
    assert operator.transactions(ListRequest()).items == []
    info = finished(region, operator.forget(TransactionRequest(X)))
    assert info.error == f"There is no such transaction to forget: {X}."
    assert ids(managed(restarted(region))[1]) == left


@pytest.mark.parametrize("commits", [True, False])
def test_what_a_branch_holds_is_out_of_reach(commits: bool) -> None:
    """A purge leaves it: the branch ends as its manager wants."""
    region = prepared()
    _, operator = managed(region)
    assert finished(region, operator.purge(SelectRequest(QUEUE.name))).changed == 1
    end = operator.commit if commits else operator.rollback
    finished(region, end(TransactionRequest(X)))
    assert ids(operator) == (["c"] if commits else ["a"])


@pytest.mark.parametrize("commits", [True, False])
def test_a_branch_outlives_the_queue(commits: bool) -> None:
    """A queue that is deleted meanwhile stays consistent, whatever becomes of the branch."""
    region = prepared()
    _, operator = managed(region)
    finished(region, operator.delete(DestinationRequest(QUEUE.name)))
    end = operator.commit if commits else operator.rollback
    assert finished(region, end(TransactionRequest(X))).state == "done"
    assert "a" not in ids(operator)
    assert ids(managed(restarted(region))[1]) == ids(operator)
