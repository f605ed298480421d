"""Every znode path.

The layout is the one of fabric8 1.2, so that its discovery clients and tools can read ours. Names
(containers, profiles, groups, users) must be valid already; only what would change the place of a znode is
asserted here.

Source: fabric8 ``ZkPath``; what each znode holds stands in ``docs/reference/znodes.md``.
"""

ROOT = "/fabric"
"""Everything below is readable and writable with the ensemble's password only."""

MEMBER_PREFIX = "0"
"""A member's znode is this and ZooKeeper's ten-digit sequence number: eleven digits."""


def _below(parent: str, *names: str) -> str:
    for name in names:
        assert name and "/" not in name and name not in (".", ".."), f"not a znode name: {name!r}"
    return "/".join((parent, *names))


# Configuration: versions, profiles, what a container runs.


def configs() -> str:
    """Parent of everything that is configured."""
    return f"{ROOT}/configs"


def registry() -> str:
    """Parent of everything about what runs."""
    return f"{ROOT}/registry"


def default_version() -> str:
    """Id of the version new containers get."""
    return f"{ROOT}/configs/default-version"


def versions() -> str:
    """Parent of all versions."""
    return f"{ROOT}/configs/versions"


def version(version_id: str) -> str:
    """One version's record."""
    return _below(versions(), version_id)


def profiles(version_id: str) -> str:
    """Parent of a version's profiles."""
    return _below(version(version_id), "profiles")


def profile(version_id: str, profile_id: str) -> str:
    """One profile's document."""
    return _below(profiles(version_id), profile_id)


def version_containers(version_id: str) -> str:
    """Parent of the containers that have profiles in this version."""
    return _below(version(version_id), "containers")


def version_container(version_id: str, container: str) -> str:
    """Profile ids of a container in this version, separated by single spaces."""
    return _below(version_containers(version_id), container)


def config_containers() -> str:
    """Parent of the containers' versions."""
    return f"{ROOT}/configs/containers"


def config_container(container: str) -> str:
    """Version id of a container."""
    return _below(config_containers(), container)


def requirements() -> str:
    """Required instances per profile."""
    return f"{ROOT}/configs/io.fabric8.requirements.json"


def ensemble() -> str:
    """Id of the current ensemble, for example ``0000``."""
    return f"{ROOT}/configs/ensemble"


def ensemble_members(ensemble_id: str) -> str:
    """Containers of an ensemble, separated by commas."""
    return _below(ensemble(), ensemble_id)


def ensemble_url() -> str:
    """Addresses of the ensemble as clients use them."""
    return _below(ensemble(), "url")


def ensemble_password() -> str:
    """Password of the ensemble, if it was ever changed."""
    return _below(ensemble(), "password")


def ensemble_password_taken(container: str) -> str:
    """Which step of a change of the password the container has taken over. Not the original's."""
    return _below(ensemble_password(), container)


def ensemble_secret() -> str:
    """What the ensemble's servers, and who changes which there are, know. Not the original's."""
    return _below(ensemble(), "secret")


def ensemble_servers() -> str:
    """Parent of the containers that run a server or are to. Not the original's."""
    return f"{ROOT}/registry/ensemble"


def ensemble_server(container: str) -> str:
    """Which server of the ensemble a container is to run, or no longer."""
    return _below(ensemble_servers(), container)


def ensemble_server_state(container: str) -> str:
    """Where the container's server is, or why there is none."""
    return _below(ensemble_server(container), "state")


def ensemble_server_certificates(container: str) -> str:
    """Whose certificate the container's server shows, and whose it trusts."""
    return _below(ensemble_server(container), "certificates")


def ensemble_restarts() -> str:
    """Parent of what the restarts of the ensemble's servers are ordered by. Not the original's."""
    return f"{ROOT}/registry/ensemble-restarts"


def ensemble_restart_turn() -> str:
    """Ephemeral: the container whose server is restarted now."""
    return _below(ensemble_restarts(), "turn")


def ensemble_restarts_waiting() -> str:
    """Parent of the containers whose servers are to be restarted."""
    return _below(ensemble_restarts(), "waiting")


def ensemble_restart_waiting(container: str) -> str:
    """Ephemeral: exists while the container's server is to be restarted."""
    return _below(ensemble_restarts_waiting(), container)


# What profiles were.


def history() -> str:
    """Parent of the histories of all versions. Not the original's, which has git for it."""
    return f"{ROOT}/history/profiles"


def version_history(version_id: str) -> str:
    """Parent of the histories of a version's profiles."""
    return _below(history(), version_id)


def profile_history(version_id: str, profile_id: str) -> str:
    """Parent of the documents a profile had."""
    return _below(version_history(version_id), profile_id)


def profile_document(version_id: str, profile_id: str, name: str) -> str:
    """One document a profile had, by its znode's name."""
    return _below(profile_history(version_id, profile_id), name)


def new_profile_document(version_id: str, profile_id: str) -> str:
    """What to create, sequentially, to keep a document."""
    return f"{profile_history(version_id, profile_id)}/"


# Run-time state of containers.


def containers_config() -> str:
    """Parent of the containers' own settings."""
    return f"{ROOT}/registry/containers/config"


def container_config(container: str) -> str:
    """One container's settings, a child per field."""
    return _below(containers_config(), container)


def container_config_field(container: str, field: str) -> str:
    """One setting of a container: ``ip``, ``parent``, ``resolver`` and others."""
    return _below(container_config(container), field)


def alive() -> str:
    """Parent of the containers that are connected."""
    return f"{ROOT}/registry/containers/alive"


def container_alive(container: str) -> str:
    """Ephemeral: exists while the container's session lives."""
    return _below(alive(), container)


def provision() -> str:
    """Parent of the containers' provisioning states."""
    return f"{ROOT}/registry/containers/provision"


def container_provisions(container: str) -> str:
    """One container's provisioning state, a child per field."""
    return _below(provision(), container)


def container_provision(container: str, field: str) -> str:
    """One field of a container's provisioning state: ``result``, ``exception``, ``list``."""
    return _below(container_provisions(container), field)


def containers_status() -> str:
    """Parent of what is known of the containers' processes."""
    return f"{ROOT}/registry/containers/status"


def container_status(container: str) -> str:
    """Parent of what is known of the container's process."""
    return _below(containers_status(), container)


def container_facts(container: str) -> str:
    """What a container says about its host: software, clock, stores."""
    return _below(container_status(container), "facts")


def doctor_clocks() -> str:
    """Parent of the znodes that `fabric doctor` makes to read ZooKeeper's clock, and removes."""
    return f"{ROOT}/registry/doctor"


def doctor_clock() -> str:
    """What to create, sequentially and ephemerally, to read ZooKeeper's clock."""
    return f"{doctor_clocks()}/clock-"


def container_pid(container: str) -> str:
    """Process id of a container."""
    return _below(container_status(container), "pid")


def container_domains(container: str) -> str:
    """Parent of a container's management domains."""
    return _below(f"{ROOT}/registry/containers/domains", container)


def container_commands(container: str) -> str:
    """Parent of the commands sent to a container."""
    return _below(f"{ROOT}/registry/containers/commands", container)


def ports() -> str:
    """Parent of the containers' port reservations."""
    return f"{ROOT}/registry/ports/containers"


def container_ports(container: str) -> str:
    """Ports a container has reserved, below it by PID and key."""
    return _below(ports(), container)


def policies() -> str:
    """Parent of fabric-wide policies."""
    return f"{ROOT}/registry/policies"


def policy(name: str) -> str:
    """One fabric-wide policy, for example ``resolver``."""
    return _below(policies(), name)


# Clusters.


def clusters() -> str:
    """Parent of all groups of members."""
    return f"{ROOT}/registry/clusters"


def cluster(path: str) -> str:
    """A group by its path below `clusters`, for example ``amq/default``."""
    return _below(clusters(), *path.strip("/").split("/")) if path.strip("/") else clusters()


def amq_groups() -> str:
    """Parent of the groups of message brokers."""
    return cluster("amq")


def amq_group(group: str) -> str:
    """Parent of a broker group's members."""
    return _below(amq_groups(), group)


def gateways() -> str:
    """Parent of all groups of gateways."""
    return cluster("gateway")


def gateway_group(group: str) -> str:
    """Parent of the gateways that lead to a broker group."""
    return _below(gateways(), group)


def member(group_path: str, name: str) -> str:
    """A member of a group by its znode's name."""
    return _below(group_path, name)


def new_member(group_path: str) -> str:
    """What to create, sequentially, to become a member."""
    return _below(group_path, MEMBER_PREFIX)


# Takeovers.


def takeovers_root() -> str:
    """Parent of all that is known of takeovers."""
    return f"{ROOT}/registry/takeovers"


def takeovers_of_groups() -> str:
    """Parent of the broker groups that have had takeovers."""
    return f"{ROOT}/registry/takeovers/amq"


def takeovers_of_group(group: str) -> str:
    """Parent of a group's brokers that have had takeovers."""
    return _below(takeovers_of_groups(), group)


def takeovers(group: str, broker_id: str) -> str:
    """Parent of one broker's takeovers."""
    return _below(takeovers_of_group(group), broker_id)


def takeover(parent: str, name: str) -> str:
    """One takeover by its znode's name, ten digits."""
    return _below(parent, name)


def new_takeover(parent: str) -> str:
    """What to create, sequentially, to record a takeover."""
    return f"{parent}/"


# Stores.


def stores_root() -> str:
    """Parent of all that is known of stores."""
    return f"{ROOT}/registry/stores"


def stores_of_groups() -> str:
    """Parent of the broker groups whose stores are known. Not the original's."""
    return f"{ROOT}/registry/stores/amq"


def store(group: str, broker_id: str) -> str:
    """Which store a broker's messages are in."""
    return _below(stores_of_groups(), group, broker_id)


# Users.


def authentication() -> str:
    """Parent of everything about who may do what."""
    return f"{ROOT}/authentication"


def users() -> str:
    """Parent of the users."""
    return _below(authentication(), "users")


def user(name: str) -> str:
    """One user's password hash and roles."""
    return _below(users(), name)


def tokens() -> str:
    """Parent of the API tokens."""
    return _below(authentication(), "tokens")


def token(token_id: str) -> str:
    """One API token: the hash of its secret, whose it is, and what it may."""
    return _below(tokens(), token_id)


def crypt() -> str:
    """Parent of what is known of the encryption of secrets in profiles; no key is below it."""
    return _below(authentication(), "crypt")


def crypt_algorithm() -> str:
    """Name of the cipher."""
    return _below(crypt(), "algorithm")


def crypt_key() -> str:
    """Id of the master key that encrypts now."""
    return _below(crypt(), "key")


def crypt_next_key() -> str:
    """Id of the master key that was made to encrypt next."""
    return _below(crypt(), "next")


def crypt_salt() -> str:
    """What keys made of passphrases are salted with, hexadecimal."""
    return _below(crypt(), "salt")


def audit() -> str:
    """Parent of the newest entries of the audit log. Not the original's."""
    return f"{ROOT}/history/audit"


def audit_entry(name: str) -> str:
    """One entry of the audit log by its znode's name, ten digits."""
    return _below(audit(), name)


def container_authentication(container: str) -> str:
    """A container's own credentials."""
    return _below(authentication(), "containers", container)
