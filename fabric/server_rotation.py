"""When a ZooKeeper server may take over other certificates, and be restarted for them: pure decisions.

An ensemble goes from one authority to another without a moment in which its servers do not know each other:

    1. each server trusts what its file says, and the authorities of what others still show
    2. a certificate is shown once all others trust who has signed it
    3. an authority that nobody's certificate is from any more is dropped

What a server does not read by itself it reads when it is started. One is restarted at a time, while all the
others serve; the leader comes last, so that there is one election at most.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from fabric.errors import StoredRecordInvalid


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """What a container says in the registry about the certificates of its server.

    Attributes:
        container: which one.
        signer: fingerprint of the authority that its certificate is from; empty if it does not know.
        trusted: fingerprints of whom the server trusts.
    """

    container: str
    signer: str
    trusted: frozenset[str]

    def to_bytes(self) -> bytes:
        """Return what the znode holds."""
        return json.dumps({"signer": self.signer, "trusted": sorted(self.trusted)}).encode()


def parse_shown(container: str, path: str, data: bytes) -> ShownRecord:
    """Read what a container says. Raises StoredRecordInvalid."""
    try:
        content = json.loads(data)
        return ShownRecord(container, str(content["signer"]), frozenset(map(str, content["trusted"])))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoredRecordInvalid(
            path, f"it is not what a container says of its server: {error!r}"
        ) from error


@dataclass(frozen=True, slots=True)
class Companion:
    """Another server of the ensemble.

    Attributes:
        name: of its container, or its number if nobody knows that.
        serves: whether it follows or leads.
        waits: whether it is to be restarted, too.
        addresses: where clients find it.
    """

    name: str
    serves: bool
    waits: bool = False
    addresses: Sequence[tuple[str, int]] = ()


def still_needed(installed: Collection[str], others: Iterable[ShownRecord]) -> dict[str, list[str]]:
    """The authorities that a server goes on to trust because of the others: whose each, by fingerprint.

    Args:
        installed: fingerprints of those that it trusts now.
        others: what the others say.
    """
    needed: dict[str, list[str]] = {}
    for record in others:
        if record.signer in installed:
            needed.setdefault(record.signer, []).append(record.container)
    return needed


def doubters(signer: str, others: Iterable[ShownRecord]) -> list[str]:
    """The containers whose servers would not take a certificate of this authority yet."""
    return sorted(record.container for record in others if signer not in record.trusted)


def hindrance(others: Sequence[Companion], *, leads: bool) -> str:
    """Why a server may not be restarted now, for people; empty: it may.

    Args:
        others: all other servers of the ensemble.
        leads: whether the server leads them.
    """
    if away := sorted(other.name for other in others if not other.serves):
        return f"another one is away: {', '.join(away)}"
    if leads and (waiting := sorted(other.name for other in others if other.waits)):
        return f"it leads, and these come first: {', '.join(waiting)}"
    return ""
