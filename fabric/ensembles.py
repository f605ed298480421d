"""The fabric's own ensemble: which containers run its servers, and how there come to be more or fewer.

    /fabric/configs/ensemble            its number
    …/ensemble/<number>                 the containers, separated by commas
    …/ensemble/url, …/secret            where clients find it; what its servers know
    /fabric/registry/ensemble/<c>       which server container c is to run: its number, `wanted`, the others
    …/<c>/state                         c's answer: where its server is, or why there is none

A server joins in two steps: its container starts it, so that it copies the data and follows without a vote;
only then do all that join get their votes, in one step. It leaves the other way round: first clients are told
where to go, then the vote ends, then the server.
Every step looks at what is there, so a command that was interrupted is repeated.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from fabric.addresses import first_server, is_loopback
from fabric.bootstrap import member_profile, shared_profile
from fabric.errors import FabricError, ProfileExists, ProfileNotFound, StoredRecordInvalid
from fabric.table import Table
from registry import paths
from registry.ensemble import EnsembleSession, servers_of
from registry.errors import EnsembleBusy, RegistryError, RegistryUnavailable
from registry.quorum import EnsembleServer, parse_servers
from registry.server import TICK_TIME_MS

if TYPE_CHECKING:
    from fabric.store import ContainerStore, ProfileStore
    from registry.session import Session

SERVERS_MAX = 9
"""Each write waits for more than half of them. ZooKeeper's documentation advises three or five."""

MIGRATION_TIMEOUT_S = 120.0
"""Source: fabric8 `CreateEnsembleOptions`."""

POLL_S = 0.05
UNDO_S = 5.0
"""How long what did not work is waited for to end; it ends by itself, too."""

ATTEMPT_S = 2.0
"""How long one attempt to open a session with a server that joins takes at most."""


class EnsembleError(FabricError):
    """The ensemble cannot be changed so."""


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """What a container is asked: which server of the ensemble it is to run.

    Attributes:
        id: the server's number.
        wanted: False when it is to end its server and to forget its data.
        others: the members it finds the ensemble by, as ZooKeeper writes them.
        tick_time_ms: the length of the ensemble's tick.
    """

    id: int
    wanted: bool = True
    others: tuple[str, ...] = ()
    tick_time_ms: int = TICK_TIME_MS

    def to_bytes(self) -> bytes:
        """Return what the znode holds."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a container says of its server.

    Attributes:
        server: as ZooKeeper writes it; empty if there is none.
        url: where clients reach it.
        error: why there is none, or why it does not run.
    """

    server: str = ""
    url: str = ""
    error: str = ""

    def to_bytes(self) -> bytes:
        """Return what the znode holds."""
        return json.dumps(asdict(self)).encode()


def parse_request(data: bytes) -> ServerRequest:
    """Read a request. Raises StoredRecordInvalid."""
    path = paths.ensemble_servers()
    fields = _fields(data, path)
    try:
        others = tuple(map(str, fields.get("others", ())))
        tick_time_ms = int(fields.get("tick_time_ms", TICK_TIME_MS))
        return ServerRequest(int(fields.get("id", 0)), bool(fields.get("wanted", True)), others, tick_time_ms)
    except (TypeError, ValueError) as error:
        raise StoredRecordInvalid(path, f"a field is not what it should be: {error}") from error


def parse_state(data: bytes) -> ServerState:
    """Read a state. Raises StoredRecordInvalid."""
    fields = _fields(data, paths.ensemble_servers())
    return ServerState(*(str(fields.get(key, "")) for key in ("server", "url", "error")))


def _fields(data: bytes, path: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise StoredRecordInvalid(path, f"it does not hold JSON: {error}") from error
    if not isinstance(fields, dict):
        raise StoredRecordInvalid(path, "it does not hold an object")
    return fields


def servers_known(session: Session) -> list[EnsembleServer]:
    """Return the servers that containers have said they run."""
    parent = paths.ensemble_servers()
    found: list[EnsembleServer] = []
    for name in session.children(parent) if session.exists(parent) else ():
        node = session.get_or_none(paths.ensemble_server_state(name))
        if node is not None:
            found += parse_servers(parse_state(node.data).server).values()
    return found


class Ensemble:
    """The ensemble, through a session of a command. Blocks."""

    def __init__(
        self,
        session: Session,
        password: str,
        containers: ContainerStore,
        profiles: ProfileStore,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._session = session
        self._password = password
        self._containers = containers
        self._profiles = profiles
        self._say = say

    # What there is.

    def members(self) -> list[str]:
        """The containers that run a server."""
        return self._containers.ensemble_members()

    @property
    def url(self) -> str:
        """Where clients find it."""
        node = self._session.get_or_none(paths.ensemble_url())
        return node.data.decode() if node else self._session.url

    def servers(self) -> dict[str, EnsembleServer]:
        """The servers that vote, by container; those of containers unknown are named by their number."""
        names = {request.id: name for name, request in self._requests().items()}
        return {names.get(one.id, f"server {one.id}"): one for one in servers_of(self._session).values()}

    def address(self, name: str) -> str:
        """Where clients find a container's server; empty if nobody knows it."""
        if self._session.channel.tls:  # the list of servers has the ports without TLS
            return state.url if (state := self._state(name)) else ""
        servers = self.servers()
        return servers[name].url if name in servers else ""

    def _requests(self) -> dict[str, ServerRequest]:
        if not self._session.exists(paths.ensemble_servers()):
            return {}
        found = {}
        for name in self._session.children(paths.ensemble_servers()):
            node = self._session.get_or_none(paths.ensemble_server(name))
            if node is not None and node.data:
                found[name] = parse_request(node.data)
        return found

    def _state(self, name: str) -> ServerState | None:
        node = self._session.get_or_none(paths.ensemble_server_state(name))
        return parse_state(node.data) if node else None

    # What is refused.

    def check(self, joining: Sequence[str], leaving: Sequence[str]) -> list[str]:
        """Return the members as they would be.

        Raises:
            EnsembleError, ContainerNotFound: it cannot be done, and why.
        """
        members = self._check_names([*joining, *leaving])
        for name in joining:
            if name in members:
                raise EnsembleError(
                    f"Container {name} is a member of the ensemble already.",
                    f"Members are: {', '.join(members)}.",
                )
            if not self._containers.get(name).connected:
                raise EnsembleError(
                    f"Container {name} is not connected.", f"Start it first: fabric container-start {name}"
                )
        for name in leaving:
            if name not in members:
                raise EnsembleError(
                    f"Container {name} is not a member of the ensemble.",
                    f"Members are: {', '.join(members)}.",
                )
        wanted = [*(name for name in members if name not in leaving), *joining]
        _check_count(len(members), len(wanted))
        self._check_reachable(members, joining)
        return wanted

    def _check_names(self, names: Sequence[str]) -> list[str]:
        members = self.members()
        if not members:
            raise EnsembleError(
                "The fabric does not run its ensemble itself.",
                f"It was created with --zookeeper-url; the servers of {self.url} are looked after there.",
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise EnsembleError(f"Container {twice[0]} is named twice.", "Name each container once.")
        for name in names:
            self._containers.check_exists(name)
        if not servers_of(self._session):
            raise EnsembleError(
                f"The ZooKeeper server of {members[0]} stands alone: an earlier release has started it.",
                "Start it anew; its data is kept: "
                f"fabric container-stop --force {members[0]} && fabric container-start {members[0]}",
            )
        return members

    def _check_reachable(self, members: Sequence[str], joining: Iterable[str]) -> None:
        """Members that listen on their own host only cannot have companions on others."""
        hosts = {name: self._containers.get(name).host for name in (*members, *joining)}
        for name, server in self.servers().items():
            apart = [one for one in joining if hosts.get(one) != hosts.get(name)]
            if is_loopback(server.host) and name in hosts and apart:
                raise EnsembleError(
                    f"The server of {name} listens on {server.host} only; "
                    f"{apart[0]} is on another host and does not reach it.",
                    "A fabric of several hosts is created with --bind-address 0.0.0.0.",
                )

    # The change.

    def change(
        self, joining: Sequence[str], leaving: Sequence[str], timeout_s: float = MIGRATION_TIMEOUT_S
    ) -> str:
        """Have some containers run a server each, and others none any more.

        Returns:
            Where clients find the ensemble from now on.

        Raises:
            EnsembleError: it is refused, or did not work in time; the ensemble is as it was.
            ContainerNotFound, RegistryError: as they say.
        """
        wanted = self.check(joining, leaving)
        deadline_s = time.monotonic() + timeout_s
        old_url = self.url
        requests = self._requests() | self._planned(joining)
        try:
            servers = []
            for name in joining:  # one after the other: on one host they choose among the same ports
                self._say(f"Starting a ZooKeeper server in container {name}")
                self._session.put(paths.ensemble_server(name), requests[name].to_bytes())
                servers.append(self._wait_server(name, requests[name].id, deadline_s))
            self._session.move_to(self._note_url(wanted) if leaving else old_url)
            self._say("Changing who has a vote")
            gone = [requests[name].id for name in leaving if name in requests]
            self._change_servers(deadline_s, joining=servers, leaving=gone)
        except (FabricError, RegistryError) as error:
            self._undo(joining, requests, old_url, error)
        for name, server in zip(joining, servers, strict=True):
            self._show(name, server)
        for name in leaving:
            self._hide(name, requests[name].id if name in requests else 0)
        self._withdraw(leaving, requests)
        url = self._note_members(wanted)  # at the end: until then the command can be repeated
        self._wait_ended([one for one in leaving if self._containers.get(one).connected], deadline_s)
        return url

    def _undo(
        self,
        joining: Sequence[str],
        requests: Mapping[str, ServerRequest],
        old_url: str,
        error: FabricError | RegistryError,
    ) -> NoReturn:
        """Leave the ensemble as it was. If nobody can tell whether it has changed, nothing is undone."""
        what, do_next = (error.what, error.do_next) if isinstance(error, FabricError) else (str(error), "")
        try:
            if servers_of(self._session).keys() & {requests[name].id for name in joining}:
                raise error
            if self.url != old_url:
                self._session.put(paths.ensemble_url(), old_url.encode())
            self._withdraw(joining, requests)
            self._wait_ended(joining, time.monotonic() + UNDO_S)
        except RegistryError:
            raise error from None
        advice = f"See `fabric container-logs {joining[0]}`." if joining else ""
        raise EnsembleError(
            f"{what} The ensemble is as it was.",
            do_next or advice or "More than half of the servers that stay must run: fabric ensemble-summary",
        ) from error

    def _planned(self, names: Iterable[str]) -> dict[str, ServerRequest]:
        """What the containers are to be asked; those that were asked before keep their numbers."""
        known = self._requests()
        servers = servers_of(self._session)
        others = tuple(one.line() for one in servers.values() if one.votes)
        number = max([0, *servers, *(request.id for request in known.values())])
        tick_time_ms = self._tick_time_ms()
        planned = {}
        for name in names:
            old = known.get(name)
            if old is None or not old.wanted:
                number += 1
            own = old.id if old and old.wanted else number
            planned[name] = ServerRequest(own, others=others, tick_time_ms=tick_time_ms)
        return planned

    def _tick_time_ms(self) -> int:
        """The tick of the servers there are, as the profile they share says it."""
        with contextlib.suppress(FabricError, ValueError):
            shared = self._profiles.get(shared_profile(), self._profiles.default_version())
            for settings in shared.configuration.values():
                return int(settings.get("tickTime", TICK_TIME_MS))
        return TICK_TIME_MS

    def _wait_server(self, name: str, number: int, deadline_s: float) -> EnsembleServer:
        """Wait until the container's server follows the others; clients are served by no other."""
        while True:
            state = self._state(name)
            if state is not None and state.error:
                raise EnsembleError(
                    f"Container {name} cannot run a ZooKeeper server: {state.error.rstrip('.')}."
                )
            server = parse_servers(state.server).get(number) if state is not None else None
            if state is not None and server is not None and self._serves(state.url):
                return server
            if time.monotonic() >= deadline_s:
                what = "does not follow the others" if server else "was not started"
                raise EnsembleError(f"The ZooKeeper server of container {name} {what} in time.")
            time.sleep(POLL_S)

    def _serves(self, url: str) -> bool:
        probe = self._session.like(url)
        try:
            probe.start(ATTEMPT_S)
        except RegistryUnavailable:
            return False
        probe.close()
        return True

    def _withdraw(self, names: Iterable[str], requests: Mapping[str, ServerRequest]) -> None:
        """Ask the containers to end their servers."""
        for name in names:
            if name in requests:
                withdrawn = replace(requests[name], wanted=False)
                self._session.put(paths.ensemble_server(name), withdrawn.to_bytes())

    def _wait_ended(self, names: Iterable[str], deadline_s: float) -> None:
        """Wait until the servers have ended; a container that is down ends its when it comes back."""
        for name in names:
            while self._session.exists(paths.ensemble_server_state(name)):
                if time.monotonic() >= deadline_s:
                    return
                time.sleep(POLL_S)
            self._session.delete(paths.ensemble_server(name), missing_ok=True)

    # What both do.

    def _change_servers(
        self, deadline_s: float, *, joining: Sequence[EnsembleServer] = (), leaving: Sequence[int] = ()
    ) -> None:
        """Change which servers vote, all in one step."""
        secret = self._session.get(paths.ensemble_secret()).data.decode()
        session = EnsembleSession(self._session.url, self._password, channel=self._session.channel)
        session.start()
        try:
            session.authenticate(secret)
            session.change_servers(joining, leaving, timeout_s=max(deadline_s - time.monotonic(), ATTEMPT_S))
        except EnsembleBusy as error:
            raise EnsembleError(str(error)) from error
        finally:
            session.close()

    def _required(self, name: str) -> ServerState:
        state = self._state(name)
        if state is None or not state.url:
            raise EnsembleError(
                f"Container {name} has not said where its ZooKeeper server is.",
                f"Is it up? fabric container-start {name}",
            )
        return state

    def _note_url(self, members: Iterable[str]) -> str:
        url = ",".join(self._required(name).url for name in members)
        self._session.put(paths.ensemble_url(), url.encode())
        return url

    def _note_members(self, members: Sequence[str]) -> str:
        url = self._note_url(members)
        number = self._session.get(paths.ensemble()).data.decode()
        self._session.put(paths.ensemble_members(number), ",".join(members).encode())
        return url

    def _show(self, name: str, server: EnsembleServer) -> None:
        """Give the container the profile that shows its server."""
        host, port = first_server(self._required(name).url)
        address = server.client_address if port == server.client_port else host
        profile = member_profile(server.id, port, address)
        version = self._containers.version(name)
        with contextlib.suppress(ProfileExists):
            self._profiles.create(profile, version)
        if profile.id not in self._containers.profiles(name):
            self._containers.add_profiles(name, [profile.id])

    def _hide(self, name: str, number: int) -> None:
        version = self._containers.version(name)
        with contextlib.suppress(ProfileNotFound):
            self._profiles.delete(member_profile(number, 0, "").id, version, unassign=True)


def _check_count(count: int, wanted: int) -> None:
    if wanted == 0:
        raise EnsembleError(
            "The last server of the ensemble cannot be removed: the whole registry is in it.",
            "Leave one, or add others first.",
        )
    if wanted % 2 == 0:
        raise EnsembleError(
            f"An ensemble of {wanted} servers survives no more failures than one of {wanted - 1}.",
            f"There are {count}; their number is to be odd, so name an even number of containers.",
        )
    if wanted > SERVERS_MAX:
        raise EnsembleError(
            f"An ensemble of {wanted} servers is too large; {SERVERS_MAX} is the limit.",
            "Every write waits for more than half of them. Three or five are advised.",
        )


def ensemble_records(ensemble: Ensemble) -> list[dict[str, Any]]:
    """Return what `ensemble-list` gives to scripts."""
    servers = ensemble.servers()
    return [
        {
            "id": name,
            "server": servers[name].id if name in servers else 0,
            "address": ensemble.address(name),
        }
        for name in ensemble.members()
    ]


def ensemble_table(members: Sequence[str]) -> Table:
    """Return what `ensemble-list` prints."""
    table = Table("id")
    for name in members:
        table.add_row(name)
    return table
