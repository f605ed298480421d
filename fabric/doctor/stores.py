"""Stores: whether the containers of a broker, on whatever hosts, have the same directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, ok, problem, warning

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene
    from fabric.facts import StoreFacts


FRESH_S: Final = 60.0
"""After its start a container looks again and again at its stores, the second time after some ten seconds."""


def same_directory(scene: Scene) -> Verdicts:
    """Whether all containers of a broker see the same store."""
    brokers: dict[tuple[str, str], dict[str, StoreFacts]] = {}
    for container, facts in scene.facts.items():
        for store in facts.stores:
            brokers.setdefault((store.group, store.broker), {})[container] = store
    for (group, broker), seen in sorted(brokers.items()):
        unreadable = {name: store for name, store in seen.items() if store.problem}
        for name, store in sorted(unreadable.items()):
            yield problem(
                f"Container {name} cannot read the store of broker {broker}: {store.problem}.",
                f"Is it mounted on host {scene.facts[name].host}, and may the fabric's user read it?",
            )
        ids = {
            name: store.id
            for name, store in seen.items()
            if name not in unreadable and (store.id or not _is_fresh(scene, name))
        }
        if len(set(ids.values())) > 1:
            yield problem(
                f"The containers of broker {broker} in group {group} have different stores: "
                + ", ".join(
                    f"{name} on {scene.facts[name].host} has {store_id or 'an empty directory'}"
                    for name, store_id in sorted(ids.items())
                )
                + ". After a failover the messages of the old master would be missing.",
                "Mount the same directory at the same place on all of them, before the master changes.",
            )
        elif len(ids) > 1:
            yield ok(f"The {len(ids)} containers of broker {broker} in group {group} have the same store.")
    if not any(len(seen) > 1 for seen in brokers.values()):
        yield ok("No broker has several containers whose stores could be compared.")


def _is_fresh(scene: Scene, container: str) -> bool:
    """Whether it may have looked at a new store before the first master claimed it."""
    alive = next((record.alive for record in scene.containers if record.id == container), None)
    return alive is None or scene.facts[container].clock_s - alive.started_at < FRESH_S


def shared_by_strangers(scene: Scene) -> Verdicts:
    """Whether two brokers have been given one directory."""
    users: dict[str, set[str]] = {}
    for facts in scene.facts.values():
        for store in facts.stores:
            if store.id:
                users.setdefault(store.id, set()).add(f"{store.group}/{store.broker}")
    doubled = {store_id: names for store_id, names in users.items() if len(names) > 1}
    for store_id, names in sorted(doubled.items()):
        yield warning(
            f"The brokers {', '.join(sorted(names))} have the same store, {store_id}: each takes it from the "
            "other.",
            "Give each of them a `data` directory of its own: fabric profile-edit --pid …",
        )
    if not doubled:
        yield ok("No two brokers have the same store.")


CHECKS: Final = (
    Check("store.same", "the same directory on all hosts of a broker", same_directory, needs_registry=True),
    Check("store.own", "no two brokers in one directory", shared_by_strangers, needs_registry=True),
)
