"""The first content of a fabric's registry: the structure, one version, and the profiles that are shipped."""

from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING

from fabric.errors import ProfileExists
from fabric.names import validate_version_name
from fabric.overlay import lineage
from fabric.profiles import Profile, parse_profile
from fabric.store import ProfileStore
from fabric.znodes import ensure_node
from registry import paths
from registry.server import INIT_LIMIT_TICKS, SYNC_LIMIT_TICKS, TICK_TIME_MS

if TYPE_CHECKING:
    from registry.session import Session

FIRST_VERSION = "1.0"
FIRST_ENSEMBLE = "0000"


def shipped_profiles() -> list[Profile]:
    """Read the profiles that come with the package, parents before their heirs."""
    folder = resources.files("fabric").joinpath("shipped")
    profiles = {
        entry.name.removesuffix(".yaml"): parse_profile(entry.name.removesuffix(".yaml"), entry.read_bytes())
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    return [profiles[profile_id] for profile_id in lineage(sorted(profiles), profiles)]


def ensemble_profiles(
    client_port: int,
    *,
    client_address: str = "127.0.0.1",
    ensemble: str = FIRST_ENSEMBLE,
    tick_time_ms: int = TICK_TIME_MS,
    init_limit: int = INIT_LIMIT_TICKS,
    sync_limit: int = SYNC_LIMIT_TICKS,
    data_dir: str = "zookeeper",
    snap_retain_count: int = 3,
    purge_interval_h: int = 24,
) -> list[Profile]:
    """Describe a ZooKeeper ensemble of one server: `fabric-ensemble-0000`, and `…-1` for its only member.

    Source: fabric8 `CreateEnsembleOptions` and `ZooKeeperClusterBootstrapImpl`, which give the PID and keys.
    """
    settings = {
        "tickTime": str(tick_time_ms),
        "initLimit": str(init_limit),
        "syncLimit": str(sync_limit),
        "dataDir": data_dir,
        "snapRetainCount": str(snap_retain_count),
        "purgeInterval": str(purge_interval_h),
    }
    shared = Profile(
        shared_profile(ensemble),
        parents=("default",),
        attributes={"abstract": "true", "hidden": "true"},
        configuration={_ensemble_pid(ensemble): settings},
    )
    return [shared, member_profile(1, client_port, client_address, ensemble)]


def shared_profile(ensemble: str = FIRST_ENSEMBLE) -> str:
    """Id of the profile that the profiles of the ensemble's servers inherit from."""
    return f"fabric-ensemble-{ensemble}"


def member_profile(
    number: int, client_port: int, client_address: str, ensemble: str = FIRST_ENSEMBLE
) -> Profile:
    """Describe the server of that number: `fabric-ensemble-0000-<number>`."""
    member = {"clientPort": str(client_port), "clientPortAddress": client_address}
    return Profile(
        f"{shared_profile(ensemble)}-{number}",
        parents=(shared_profile(ensemble),),
        attributes={"hidden": "true"},
        configuration={_ensemble_pid(ensemble): member},
    )


def _ensemble_pid(ensemble: str) -> str:
    return f"io.fabric8.zookeeper.server-{ensemble}"


def write_first_content(
    session: "Session", *, version: str = FIRST_VERSION, profiles: Iterable[Profile] = ()
) -> None:
    """Write the structure, the version as the default one, the shipped profiles and then `profiles`.

    What is there already stays as it is, so an interrupted run can be repeated.
    """
    validate_version_name(version)
    store = ProfileStore(session)
    for path in (
        paths.versions(),
        paths.config_containers(),
        paths.containers_config(),
        paths.alive(),
        paths.provision(),
        paths.clusters(),
        paths.amq_groups(),
        paths.users(),
    ):
        ensure_node(session, path)
    store.create_version(version)
    for profile in [*shipped_profiles(), *profiles]:
        try:
            store.create(profile, version)
        except ProfileExists:
            continue
    if session.get_or_none(paths.default_version()) is None:
        store.set_default_version(version)
