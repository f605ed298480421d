"""Which store each broker's messages are in, and which hosts have seen it.

A znode below `paths.stores` for each broker, JSON::

    {"id": "0f3a…", "places": {"root": "/srv/fabric/data/shop", "east": "/mnt/shop"}}

`id` is the store's own number, `places` the directory in which the brokers of each root container have found
it. It stays when the broker goes: its messages do, too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from registry import paths
from registry.errors import InvalidRecord, NodeExists, NoSuchNode, VersionConflict
from registry.session import Session

ATTEMPTS_MAX = 20
"""How often a change is tried again when others change the record at the same time."""


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """One broker's store."""

    id: str
    places: Mapping[str, str] = field(default_factory=dict)
    """The directory in which each root container's brokers see it."""
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Fields of a newer version."""

    def serialize(self) -> bytes:
        """Make the znode's content."""
        return json.dumps({"id": self.id, "places": dict(self.places), **self.unknown}).encode()

    @classmethod
    def parse(cls, path: str, data: bytes) -> "StoreRecord":
        """Read a znode's content.

        Raises:
            InvalidRecord: it is not a store's.
        """
        try:
            unknown = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidRecord(f"{path} does not hold JSON: {error}") from error
        if not isinstance(unknown, dict):
            raise InvalidRecord(f"{path} does not hold a JSON object")
        store_id, places = unknown.pop("id", None), unknown.pop("places", {})
        if not isinstance(store_id, str) or not isinstance(places, dict):
            raise InvalidRecord(f"{path} does not say which store it is")
        return cls(store_id, {str(key): str(value) for key, value in places.items()}, unknown)


def read_store(session: Session, group: str, broker_id: str) -> StoreRecord | None:
    """Read which store a broker's is; None if it never had one. Raises InvalidRecord."""
    path = paths.store(group, broker_id)
    node = session.get_or_none(path)
    return None if node is None else StoreRecord.parse(path, node.data)


def note_store(
    session: Session, group: str, broker_id: str, store_id: str, *, place: str, seen_at: str
) -> str:
    """Write which store a broker's is, unless that is known, and where it is seen if it is the same.

    Returns:
        The number of the broker's store: `store_id`, or the one that stood there.

    Raises:
        InvalidRecord: what stands there cannot be read.
        VersionConflict: others change it all the time.
    """
    path = paths.store(group, broker_id)
    for _ in range(ATTEMPTS_MAX):
        node = session.get_or_none(path)
        try:
            if node is None:
                session.create(path, StoreRecord(store_id, {place: seen_at}).serialize())
                return store_id
            record = StoreRecord.parse(path, node.data)
            if record.id == store_id and record.places.get(place) != seen_at:
                changed = replace(record, places={**record.places, place: seen_at})
                session.set(path, changed.serialize(), version=node.version)
        except (NodeExists, NoSuchNode, VersionConflict):
            continue
        return record.id
    raise VersionConflict(f"{path} is changed by others all the time.")
