"""A new fabric: its ZooKeeper, the first content of the registry, and the root container."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fabric.addresses import PORTS, address_fields, advertised, certified_names, port_fields
from fabric.bootstrap import FIRST_ENSEMBLE, FIRST_VERSION, ensemble_profiles, write_first_content
from fabric.ensemble_settings import SECRET_BYTES, free_port_in, member_settings, server_of
from fabric.errors import FabricError
from fabric.home import Home, ManagedZooKeeper, RegistryAddress
from fabric.lifecycle import is_registered
from fabric.local import free_port, port_is_free, start_process, stop_process
from fabric.names import validate_container_name, validate_user_name, validate_version_name
from fabric.processes import running_process
from fabric.resolvers import set_global_resolver
from fabric.server_certificates import make_certificate, secured
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.address import LOOPBACK, check_url
from registry.channel import PLAIN, ChannelSettings
from registry.encryption import SECURE_PORT
from registry.errors import NoPermission
from registry.server import (
    INIT_LIMIT_TICKS,
    SYNC_LIMIT_TICKS,
    TICK_TIME_MS,
    ZooKeeperServer,
    find_zookeeper,
)
from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password

ROOT = "root"
ZOOKEEPER_PORT = 2181
CONNECT_TIMEOUT_S = 10.0

ROOT_PROFILES = ("fabric",)
BROKER_PROFILE = "mq-amq"
"""What a root container gets too, unless profiles are named: a broker. Source: A-MQ's property `profiles`."""

GENERATED_PASSWORD_BYTES = 12


class FabricExists(FabricError):
    """There is a fabric here already."""

    def __init__(self, container: str, hint: str = "") -> None:
        super().__init__(
            f"Current container {container} is already in the current fabric ensemble. Cannot create fabric.",
            "You can use the --force option, if you want to force re-create the fabric." + hint,
        )


class PortTaken(FabricError):
    """Somebody else listens where ZooKeeper should."""


class FabricNotEmpty(FabricError):
    """The external ensemble holds a fabric already."""


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """What somebody wants of a new fabric."""

    user: str
    password: str
    role: str = "_g_:admin"
    root: str = ROOT
    profiles: Sequence[str] = ()
    version: str = FIRST_VERSION
    zookeeper_url: str | None = None
    zookeeper_password: str | None = None
    channel: ChannelSettings = PLAIN
    generate_zookeeper_password: bool = False
    zookeeper_port: int | None = None
    zookeeper_data_directory: str = ""
    tick_time_ms: int = TICK_TIME_MS
    init_limit: int = INIT_LIMIT_TICKS
    sync_limit: int = SYNC_LIMIT_TICKS
    bind_address: str = LOOPBACK
    resolver: str | None = None
    global_resolver: str | None = None
    """Of containers that join later and name none; of this one too, if it names none."""
    manual_ip: str | None = None
    port_min: int = PORTS[0]
    port_max: int = PORTS[1]
    clean: bool = False
    force: bool = False
    bootstrap_timeout_s: float = 120.0

    @property
    def ensemble_password(self) -> str:
        """The registry's password: as given, generated, or the user's own, as clients expect by default."""
        if self.zookeeper_password:
            return self.zookeeper_password
        if self.generate_zookeeper_password:
            return secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)
        return self.password


def create_fabric(home: Home, options: CreateOptions, say: Callable[[str], None]) -> None:
    """Create a fabric whose root container runs on this host, and wait until that is connected.

    What was begun is undone when it fails or is interrupted before the root container is started.

    Args:
        home: Where it is kept.
        options: What is wanted.
        say: Called with each step.

    Raises:
        FabricExists, PortTaken, FabricNotEmpty, FabricError, RegistryError: as they say.
    """
    validate_container_name(options.root)
    validate_version_name(options.version)
    validate_user_name(options.user)
    resolver = options.resolver or (None if options.manual_ip else options.global_resolver)
    fields = address_fields(options.bind_address, resolver, options.manual_ip)
    external_url = check_url(options.zookeeper_url) if options.zookeeper_url else None
    check_absent(home, force=options.force, clean=options.clean)
    home.make()
    end_fabric(home, say)
    password = options.ensemble_password
    with contextlib.ExitStack() as undo:
        undo.callback(forget_fabric, home)
        channel = options.channel
        if external_url:
            url, ensemble = external_url, None
        else:
            ensemble = _managed_zookeeper(home, options, fields)
            url = f"{fields[fields['resolver']]}:{ensemble.port}"
            channel = ChannelSettings(tls=channel.tls, ca=ensemble.authority)
            undo.callback(_start_zookeeper(ensemble, options.bootstrap_timeout_s, say).stop)
        with _session(url, password, channel) as session:
            _make_path(session)
            _fill(session, options, fields, ensemble, url)
            home.write_registry_address(RegistryAddress(url, password, channel))
            home.write_root_name(options.root)
            _make_master_key(home, session)
            files = home.container(options.root)
            files.make()
            if ensemble is not None:
                files.write_managed_zookeeper(ensemble)
            undo.pop_all()  # from here on the fabric exists, even if its container has trouble
            say(f"Starting container {options.root}")
            containers = ContainerStore(session)
            start_process(
                home,
                options.root,
                lambda: is_registered(containers, home, options.root),
                options.bootstrap_timeout_s,
            )


def check_absent(home: Home, *, force: bool, clean: bool) -> None:
    """Raise `FabricExists` if there is a fabric here that may not be replaced."""
    if not home.has_fabric() or force:
        return
    name = home.read_root_name() or ROOT
    runs = any(running_process(home.container(one)) for one in home.container_names())
    if runs or not clean:
        raise FabricExists(
            name, "" if runs else f"\nIt is down; start it with: fabric container-start {name}"
        )


def end_fabric(home: Home, say: Callable[[str], None]) -> None:
    """End all processes of this host's fabric and forget it; stores are kept.

    The root container goes first: it would start its children again.
    """
    root = home.read_root_name() if home.has_fabric() else None
    for name in sorted(home.container_names(), key=lambda one: one != root):
        if stop_process(home.container(name)):
            say(f"Stopped container {name}")
    for name in home.container_names():
        settings = home.container(name).read_managed_zookeeper()
        if settings is not None:
            _stop_zookeeper(Path(settings.data_directory), settings)
            shutil.rmtree(settings.data_directory, ignore_errors=True)
    forget_fabric(home)


def forget_fabric(home: Home) -> None:
    """Remove what a fabric has left on this host, except the stores of its brokers."""
    home.forget_fabric()
    shutil.rmtree(home.zookeeper, ignore_errors=True)
    for name in home.container_names():
        home.container(name).clear()


def _stop_zookeeper(directory: Path, settings: ManagedZooKeeper) -> None:
    server = ZooKeeperServer(find_zookeeper(), directory, settings.port, settings.host)
    if server.adopt():
        server.stop()


def _managed_zookeeper(home: Home, options: CreateOptions, fields: Mapping[str, str]) -> ManagedZooKeeper:
    host = options.bind_address
    is_tls = options.channel.tls
    wanted = options.zookeeper_port
    if wanted is not None:
        if not port_is_free(host, wanted):
            raise PortTaken(
                f"Port {wanted} of {host} is taken.",
                "Choose another one with --zookeeper-server-port, or leave it out to get a free one.",
            )
        port: int | None = wanted
    else:
        default = SECURE_PORT if is_tls else ZOOKEEPER_PORT
        port = free_port(host, default, options.port_min, options.port_max)
    if port is None:
        raise PortTaken("No port is free for ZooKeeper.", "Choose one with --zookeeper-server-port.")
    directory = options.zookeeper_data_directory
    path = Path(directory).expanduser().absolute() if directory else home.zookeeper
    port_range = (options.port_min, options.port_max)
    settings = ManagedZooKeeper(port, host, str(path), options.tick_time_ms)
    if is_tls:
        hosts = certified_names(fields, is_here=True)
        make_certificate(home, options.root, hosts)
        plain_port = free_port_in(LOOPBACK, ZOOKEEPER_PORT, port_range, {port})
        settings = secured(settings, home, options.root, hosts, plain_port=plain_port, authority="")
    return member_settings(
        settings,
        1,
        address=fields[fields["resolver"]],
        secret=secrets.token_urlsafe(SECRET_BYTES),
        port_range=port_range,
    )


def _start_zookeeper(
    settings: ManagedZooKeeper, timeout_s: float, say: Callable[[str], None]
) -> ZooKeeperServer:
    server = server_of(settings)
    say(f"Starting ZooKeeper on port {settings.port}")
    server.start()
    try:
        server.wait_ready(timeout_s)
    except BaseException:
        server.stop()
        raise
    return server


def _make_master_key(home: Home, session: Session) -> None:
    """Make sure that this host has a master key; one that is there may open what a store's owner kept."""
    from fabric.crypt import KeyFile, MasterKey, MasterKeys  # noqa: PLC0415 - takes long to import
    from fabric.secret_profiles import publish_key  # noqa: PLC0415 - likewise

    file = KeyFile(home.master_key)
    keys = file.read_or_none()
    if keys is None or not keys.all:
        keys = MasterKeys([MasterKey.generate()])
        file.write(keys)
    publish_key(session, keys.first)


@contextlib.contextmanager
def _session(url: str, password: str, channel: ChannelSettings) -> Iterator[Session]:
    session = Session(url, password, channel=channel)
    session.start(CONNECT_TIMEOUT_S)
    try:
        yield session
    finally:
        session.close()


def _make_path(session: Session) -> None:
    try:
        session.make_root()
    except NoPermission as error:
        raise FabricError(
            f"The path of {session.url} is not there, and the ensemble does not let us make it.",
            "Have who looks after the ensemble make it, or choose another one.",
        ) from error


def _fill(
    session: Session,
    options: CreateOptions,
    address: Mapping[str, str],
    ensemble: ManagedZooKeeper | None,
    url: str,
) -> None:
    """Write the first content of the registry."""
    if session.exists(paths.default_version()):
        if not options.force:
            raise FabricNotEmpty(
                f"There is a fabric in the ensemble {url} already.",
                "Join it, or replace it with the --force option.",
            )
        session.delete(paths.ROOT, recursive=True)
    if ensemble is not None:  # in somebody else's, the root is his
        session.protect("/")
    profiles = [*(options.profiles or (*ROOT_PROFILES, BROKER_PROFILE))]
    ensemble_documents = []
    if ensemble is not None:
        ensemble_documents = ensemble_profiles(
            ensemble.port,
            client_address=ensemble.host,
            tick_time_ms=ensemble.tick_time_ms,
            init_limit=options.init_limit,
            sync_limit=options.sync_limit,
            data_dir=ensemble.data_directory,
        )
        position = profiles.index("fabric") + 1 if "fabric" in profiles else 0
        profiles.insert(position, ensemble_documents[-1].id)
    write_first_content(session, version=options.version, profiles=ensemble_documents)
    ProfileStore(session).set_default_version(options.version)
    session.put(paths.ensemble(), FIRST_ENSEMBLE.encode())
    session.put(paths.ensemble_members(FIRST_ENSEMBLE), options.root.encode() if ensemble else b"")
    session.put(paths.ensemble_url(), url.encode())
    if ensemble is not None:
        session.put(paths.ensemble_secret(), ensemble.secret.encode())
    UserStore(session).put(UserRecord(options.user, hash_password(options.password), (options.role,)))
    if options.global_resolver:
        set_global_resolver(session, options.global_resolver)
    fields = advertised(options.root, {**address, **port_fields(options.port_min, options.port_max)})
    ContainerStore(session).create(
        options.root, profiles=profiles, version=options.version, fields=fields, options={"type": "root"}
    )
