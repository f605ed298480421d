"""A fabric with an ensemble of its own, in memory: its registry, its containers, ZooKeeper's super user."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from support.memory_session import MemorySession

from fabric.bootstrap import (
    FIRST_ENSEMBLE,
    ensemble_profiles,
    member_profile,
    shared_profile,
    write_first_content,
)
from fabric.ensembles import Ensemble, ServerRequest, ServerState, parse_request, servers_known
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.channel import PLAIN
from registry.ensemble import CONFIG
from registry.errors import RegistryUnavailable
from registry.quorum import EnsembleServer, parse_servers

SECRET = "s3cr3t"
NUMBERS = {"root": 1, "east": 2, "west": 3, "north": 4, "south": 5}


def server(number: int, host: str = "", *, votes: bool = True) -> EnsembleServer:
    """The server of that number."""
    return EnsembleServer(number, host or f"10.0.0.{number}", 2888, 3888, "0.0.0.0", 2181, votes)


class Probe:
    """A session with one server of the ensemble."""

    def __init__(self, registry: Registry, url: str) -> None:
        self._registry = registry
        self._url = url

    def start(self, timeout_s: float) -> None:
        """Connect, if the server follows."""
        if self._url in self._registry.unreachable:
            raise RegistryUnavailable(f"{self._url} does not answer within {timeout_s:g} s.")

    def close(self) -> None:
        """Nothing to end."""


class Registry(MemorySession):
    """A registry with an ensemble of its own, whose servers are described by ZooKeeper's text.

    Attributes:
        unreachable: urls of servers that do not serve.
        moved: where the session was told to look for servers.
        refusals: raised one by one by attempts to change who has a vote, `after` it was done or before.
        changes: who joined and left, attempt by attempt.
    """

    channel = PLAIN

    def __init__(self) -> None:
        super().__init__()
        self.unreachable: set[str] = set()
        self.moved: list[str] = []
        self.refusals: list[Exception] = []
        self.after = False
        self.changes: list[tuple[list[int], list[int]]] = []

        self.is_host = False
        """Whether a container writes, not a command."""

    def like(self, url: str) -> Probe:
        """A session with other servers."""
        return Probe(self, url)

    def move_to(self, url: str) -> None:
        """Look for servers there."""
        self.moved.append(url)

    @property
    def servers(self) -> dict[int, EnsembleServer]:
        """Those that vote."""
        return parse_servers(self.get(CONFIG).data.decode())

    def write_servers(self, servers: Iterable[EnsembleServer]) -> None:
        """Say which vote."""
        self.put(CONFIG, "\n".join(one.line() for one in servers).encode())


class SuperSession:
    """What `EnsembleSession` is to the ensemble's commands."""

    def __init__(self, registry: Registry, url: str, password: str) -> None:
        assert password == "password"
        self._registry = registry
        self._secret = ""

    def start(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Nothing to end."""

    def authenticate(self, secret: str) -> None:
        """Become the super user."""
        self._secret = secret

    def change_servers(
        self, joining: Iterable[EnsembleServer], leaving: Iterable[int], *, timeout_s: float
    ) -> None:
        """Change who votes, all in one step."""
        assert self._secret == SECRET
        assert timeout_s > 0
        registry, wanted, gone = self._registry, list(joining), list(leaving)
        registry.changes.append(([one.id for one in wanted], gone))
        if registry.refusals and not registry.after:
            raise registry.refusals.pop(0)
        present = registry.servers | {one.id: one for one in wanted}
        registry.write_servers(one for number, one in sorted(present.items()) if number not in gone)
        if registry.refusals:
            raise registry.refusals.pop(0)


class Host:
    """A container that runs servers as it is asked, at once.

    Attributes:
        error: why it cannot; empty: it can.
        is_silent: whether it does nothing.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        self.error = ""
        self.is_silent = False
        self.asked: list[ServerRequest] = []
        self._registry = registry
        self._name = name
        self._seen: bytes | None = None
        registry.watch_data(paths.ensemble_server(name), self._changed)

    def _changed(self, data: bytes | None) -> None:
        if data == self._seen:
            return
        self._seen = data
        if data is None or self.is_silent:
            return
        request = parse_request(data)
        self.asked.append(request)
        self._registry.is_host = True
        self._answer(request)
        self._registry.is_host = False

    def _answer(self, request: ServerRequest) -> None:
        state = paths.ensemble_server_state(self._name)
        if not request.wanted:
            self._registry.delete(state, missing_ok=True)
        elif self.error:
            self._registry.put(state, ServerState(error=self.error).to_bytes())
        else:
            one = server(request.id)
            self._registry.put(state, ServerState(one.line(), one.url).to_bytes())


class Bench:
    """A fabric of five containers on hosts of their own, of which `root` runs the only server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, tick_time_ms: int = 500) -> None:
        self.registry = Registry()
        write_first_content(self.registry, profiles=ensemble_profiles(2181, tick_time_ms=tick_time_ms))  # type: ignore[arg-type]  # a fake
        self.containers = ContainerStore(self.registry)  # type: ignore[arg-type]  # a fake
        self.profiles = ProfileStore(self.registry)  # type: ignore[arg-type]  # a fake
        self.hosts: dict[str, Host] = {}
        for name in NUMBERS:
            self.add(name)
        self.registry.put(paths.ensemble(), FIRST_ENSEMBLE.encode())
        self.registry.put(paths.ensemble_secret(), SECRET.encode())
        self.registry.write_servers([server(1)])
        self.registry.put(paths.ensemble_server("root"), ServerRequest(1).to_bytes())
        self.registry.put(paths.ensemble_members(FIRST_ENSEMBLE), b"root")
        self.registry.put(paths.ensemble_url(), b"10.0.0.1:2181")
        self.containers.add_profiles("root", [member_profile(1, 2181, "").id])
        self.said: list[str] = []
        self.ensemble = Ensemble(
            self.registry,  # type: ignore[arg-type]  # a fake
            "password",
            self.containers,
            self.profiles,
            self.said.append,
        )
        monkeypatch.setattr(
            "fabric.ensembles.EnsembleSession",
            lambda url, password, channel: SuperSession(self.registry, url, password),
        )
        for limit in ("POLL_S", "UNDO_S"):
            monkeypatch.setattr(f"fabric.ensembles.{limit}", 0.001)

    def add(self, name: str, *, host: str = "") -> None:
        """A container that is connected, and does what it is asked."""
        self.containers.create(name, profiles=["default"], version="1.0")
        alive = {"pid": 1, "host": host or f"host-{name}", "started_at": 0.0}
        self.registry.create(paths.container_alive(name), json.dumps(alive).encode(), ephemeral=True)
        self.hosts[name] = Host(self.registry, name)

    def stop(self, name: str) -> None:
        """A container is down."""
        self.registry.delete(paths.container_alive(name))
        self.hosts[name].is_silent = True

    def profile_ids(self) -> list[str]:
        """The profiles that show servers."""
        found = self.profiles.profile_ids("1.0")
        return [one for one in found if one.startswith(f"{shared_profile()}-")]

    def picture(self) -> tuple[object, ...]:
        """What there is: members, where clients find them, who votes, who runs a server, what is shown."""
        found = self.ensemble._requests()
        assigned = {name: self.containers.profiles(name)[1:] for name in self.containers.names()}
        return (
            self.ensemble.members(),
            self.ensemble.url,
            sorted(self.registry.servers),
            sorted(name for name, request in found.items() if request.wanted),
            sorted(one.id for one in servers_known(self.registry)),  # type: ignore[arg-type]  # a fake
            self.profile_ids(),
            assigned,
        )
