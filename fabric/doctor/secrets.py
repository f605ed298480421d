"""Secrets in profiles: whether this host can read those its containers need, and all are encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, ok, problem, warning
from fabric.encrypted import BRING_KEY, clear_secrets, decrypt_all, has_encrypted
from fabric.errors import CryptError, ProfileError
from fabric.store import ProfileStore

if TYPE_CHECKING:
    from fabric.crypt import KeyFile
    from fabric.doctor.scene import Scene

NAMED_MAX: Final = 5


def decryptable(scene: Scene) -> Verdicts:
    """Whether the master key of this host opens what its containers' profiles hold, and the others do."""
    from fabric.crypt import KeyFile  # noqa: PLC0415 - takes long to import

    key_file = KeyFile(scene.home.master_key)
    store = ProfileStore(scene.session)
    count = problems = 0
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
            problems += 1
            yield problem(f"Container {record.id} cannot run {pid}: {text}", BRING_KEY)
    if not problems:
        yield from _keys_missing(scene, store, key_file)
    yield ok(f"{count} containers of this host have encrypted values in their profiles.")


def _keys_missing(scene: Scene, store: ProfileStore, key_file: KeyFile) -> Verdicts:
    """Nothing of this host needs a key that is not here; something that is moved here may."""
    from fabric.secret_profiles import keys_missing  # noqa: PLC0415 - takes long to import

    wanted = {store.default_version(), *(record.version for record in scene.own_containers)}
    try:
        missing = keys_missing(store, wanted.intersection(store.versions()), key_file)
    except CryptError as error:
        yield warning(f"No secret can be decrypted on this host: {error.what}", error.do_next or BRING_KEY)
    except ProfileError:
        return  # another check's business
    else:
        if missing:
            yield warning(
                f"This host has not the master key {', '.join(missing)}, which opens secrets in profiles of "
                "the fabric: a container that is given one of these does not run here what needs them.",
                BRING_KEY,
            )


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
