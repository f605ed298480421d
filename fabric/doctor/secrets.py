"""Secrets in profiles: whether this host can read those its containers need, and all are encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, ok, problem, warning
from fabric.encrypted import clear_secrets, decrypt_all, has_encrypted
from fabric.errors import ProfileError
from fabric.store import ProfileStore

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

NAMED_MAX: Final = 5


def decryptable(scene: Scene) -> Verdicts:
    """Whether the master key of this host opens what its containers' profiles hold."""
    from fabric.crypt import KeyFile  # noqa: PLC0415 - takes long to import

    key_file = KeyFile(scene.home.master_key)
    store = ProfileStore(scene.session)
    count = 0
    for record in scene.own_containers:
        try:
            configuration = store.overlay(record.profiles, record.version).configuration
        except ProfileError:
            continue  # another check's business
        if not has_encrypted(configuration):
            continue
        count += 1
        found = decrypt_all(configuration, lambda text: key_file.read().decrypt(text))
        for pid, text in found.problems.items():
            yield problem(
                f"Container {record.id} cannot run {pid}: {text}",
                "Bring the key: `fabric crypt-export` on a host that has it, `fabric crypt-import` here.",
            )
    yield ok(f"{count} containers of this host have encrypted values in their profiles.")


def in_the_clear(scene: Scene) -> Verdicts:
    """Passwords and the like that everybody who may see a profile can read."""
    store = ProfileStore(scene.session)
    found = [
        f"{profile_id} of version {version} ({name})"
        for version in store.versions()
        for profile_id, profile in sorted(store.all(version).items())
        for _, name in clear_secrets(profile)
    ]
    if found:
        more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
        yield warning(
            f"Secrets stand in the clear in profiles: {', '.join(found[:NAMED_MAX])}{more}.",
            "Encrypt them: fabric crypt-profiles",
        )
    else:
        yield ok("No secret stands in the clear in a profile.")


CHECKS: Final = (
    Check(
        "secret.key", "whether this host can read its containers' secrets", decryptable, needs_registry=True
    ),
    Check("secret.clear", "secrets that are not encrypted", in_the_clear, needs_registry=True),
)
