"""Members of a group, as written in their znodes, and which of them count.

A member's znode holds JSON as fabric8 6.3 writes it::

    {"id": "tolerantbroker", "container": "brokercontainer", "uuid": "…", "ready": true, "services":
    ["tcp://…"]}

`id` is the broker's name, shared by a master and its slaves; `uuid` says which process wrote it; a member
that is not `ready` does not count yet; a slave has no `services`.

Source: fabric8 ``NodeState``, ``ActiveMQNode``, ``ZooKeeperGroup``; ENTESB-4431 (unknown fields),
ENTESB-11955 (ready).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import InvalidRecord


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One member's record."""

    id: str
    container: str
    uuid: str = ""
    ready: bool = True
    services: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Fields of other versions; they are kept when the record is written again."""

    def serialize(self) -> bytes:
        """Make the znode's content, the fields in the original's order."""
        record = {
            "id": self.id,
            "container": self.container,
            "uuid": self.uuid,
            "ready": self.ready,
            "services": list(self.services),
            **self.unknown,
        }
        return json.dumps(record, ensure_ascii=False).encode()

    @classmethod
    def parse(cls, name: str, data: bytes) -> "MemberRecord":
        """Read a znode's content.

        Older writers said `agent` for `container` and knew neither `uuid` nor `ready`: a member without
        `ready` is ready.

        Raises:
            InvalidRecord: it is not a member's.
        """
        try:
            unknown = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidRecord(f"member {name} does not hold JSON: {error}") from error
        if not isinstance(unknown, dict):
            raise InvalidRecord(f"member {name} does not hold a JSON object")
        container = unknown.pop("container", None) or unknown.pop("agent", None)
        broker_id = unknown.pop("id", None) or container
        uuid = unknown.pop("uuid", None) or ""
        ready = unknown.pop("ready", True)
        services = unknown.pop("services", None) or []
        texts = (container, broker_id, uuid, *(services if isinstance(services, list) else [None]))
        if not all(isinstance(text, str) for text in texts) or not isinstance(ready, bool):
            raise InvalidRecord(f"member {name} has fields that are missing or of the wrong type")
        return cls(broker_id, container, uuid, ready, tuple(services), unknown)


def active_members(members: Mapping[str, MemberRecord]) -> dict[str, MemberRecord]:
    """Choose the members that count: ready, and one per broker id and container, the one that joined last.

    A restarted process and the znode its predecessor left behind are side by side until the old session
    times out.

    Args:
        members: By the znode's name; names sort in the order of joining.

    Returns:
        By name, in order. The first of each broker id is its master.
    """
    latest: dict[tuple[str, str], str] = {}
    for name in sorted(members):
        if members[name].ready:
            latest[members[name].id, members[name].container] = name
    return {name: members[name] for name in sorted(latest.values())}


def masters(members: Mapping[str, MemberRecord]) -> dict[str, MemberRecord]:
    """Choose the first active member of each broker id; by id, in order of joining."""
    first: dict[str, MemberRecord] = {}
    for record in active_members(members).values():
        first.setdefault(record.id, record)
    return first
