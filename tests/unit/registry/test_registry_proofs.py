"""The answer to a proof of a password finds the proof, though ZooKeeper answers it out of order."""

from collections import deque
from types import SimpleNamespace

from kazoo.protocol.connection import AUTH_XID
from kazoo.protocol.serialization import Auth, Exists, ReplyHeader

from registry.kazoo_edge import match_proofs


def test_a_proof_overtakes_what_waits() -> None:
    """The others stay in their order; an answer to something else changes nothing."""
    answers = [ReplyHeader(AUTH_XID, 0, 0), ReplyHeader(7, 1, 0), ReplyHeader(AUTH_XID, 0, 0)]
    earlier = [(Exists("/a", None), object(), 7), (Exists("/b", None), object(), 8)]
    proof = (Auth(0, "digest", "fabric:other"), object(), AUTH_XID)
    connection = SimpleNamespace(_read_header=lambda timeout_s: (answers.pop(0), b"", 0))
    client = SimpleNamespace(_connection=connection, _pending=deque([*earlier, proof]))
    match_proofs(client)
    assert connection._read_header(1.0)[0].xid == AUTH_XID
    assert list(client._pending) == [proof, *earlier]
    client._pending.popleft()
    for xid in (7, AUTH_XID):  # the last one is of a session that is being opened, and waits for nobody
        assert connection._read_header(1.0)[0].xid == xid
        assert list(client._pending) == earlier
