"""New certificates for the ZooKeeper server of a container, taken over while the ensemble serves. Blocks.

`ServerRenewal.step` looks and does the next thing, and is called again and again; nothing in it waits long.
What is decided is in `fabric.server_rotation`, and who goes when in `fabric.server_turns`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from fabric.audit import DONE, AuditEntry, write_entry
from fabric.ensemble_health import VOTING, mode_of
from fabric.errors import FabricError
from fabric.home import RENEWAL_SESSION, Home, ManagedZooKeeper, SessionRecord
from fabric.server_rotation import Companion, ShownRecord, doubters, hindrance, still_needed
from fabric.server_turns import ServerTurns
from registry.address import LOOPBACK, reached_here
from registry.dead_session import close_dead_session
from registry.encryption import shown_by
from registry.errors import RegistryError
from registry.quorum import parse_servers
from registry.server import CONFIG_FILE, LOG_FILE, PID_FILE, TLS_FOLDER
from registry.server_files import (
    FilesUnusable,
    Material,
    ServerFiles,
    check_names,
    file_identity,
    naming,
    read_material,
)
from registry.session import Session

log = logging.getLogger(__name__)

RELOAD_S: Final = 3.0
"""What a server that reads files by itself has time for; it is told of a change by the system, at once."""
RESTART_S: Final = 60.0
"""Within so long a server that was restarted serves again, also on a slow host; else people are told."""
UNSERVED_S: Final = 60.0
"""A server that has served nobody for so long may be restarted whatever the others do: nobody misses it."""
SESSION_S: Final = 30.0
"""The turn of a container that has died ends so late, if nobody takes its place before. The session outlives
the restart of its server."""
CONNECT_S: Final = 5.0
SHOWN_S: Final = 3.0
"""How long a server may take to show its certificate."""

TAKEN_BACK: Final = "it has the one before again. Put another one down, or that one once more"


class Outcome(Enum):
    """What a step has come to."""

    SETTLED = auto()  # the server has what there is; look now and then
    PENDING = auto()  # something is under way: look again soon
    RESTART = auto()  # the server is to be restarted now


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is asked of the world; a test answers it itself.

    Attributes:
        open_session: with the server at a port of the loopback address; given a password. Raises
            RegistryError.
        end_session: of a process that has died, by the server at a port. Raises RegistryError.
        mode: how a server is: given its address, and whether it speaks TLS there.
        shown: the certificate at an address (DER), None if there is none.
        now_s: monotonic.
    """

    open_session: Callable[[int, str], Session]
    end_session: Callable[[int, SessionRecord], None]
    mode: Callable[[tuple[str, int], bool], str]
    shown: Callable[[tuple[str, int]], bytes | None]
    now_s: Callable[[], float]


def _open_session(port: int, password: str) -> Session:
    session = Session(f"{LOOPBACK}:{port}", password, session_timeout_s=SESSION_S)
    session.start(CONNECT_S)
    return session


def _end_session(port: int, left: SessionRecord) -> None:
    close_dead_session(f"{LOOPBACK}:{port}", None, left.session_id, left.password, CONNECT_S)


THE_WORLD: Final = Surroundings(
    _open_session,
    _end_session,
    lambda address, tls: mode_of(address, tls=tls),
    lambda address: shown_by(address, SHOWN_S),
    time.monotonic,
)


class ServerRenewal:
    """Has one server take over the files that are put down for it. One thread at a time.

    Attributes:
        notice: what keeps it from that, for people; empty if nothing does.
    """

    def __init__(
        self, home: Home, container: str, settings: ManagedZooKeeper, around: Surroundings = THE_WORLD
    ) -> None:
        """Make it.

        Args:
            home: of this host.
            container: whose server it is.
            settings: of the server, which speaks TLS.
            around: what is asked of the world.
        """
        self.notice = ""
        self._home = home
        self._own_home = home.container(container)
        self._container = container
        self._around = around
        self._directory = Path(settings.data_directory)
        self._certificate, self._authority = Path(settings.certificate), Path(settings.authority)
        self._files = ServerFiles(self._directory / TLS_FOLDER)
        self._plain_port = settings.plain_port
        self._own = next(iter(parse_servers(settings.server).values()), None)
        self._name = self._own.host if self._own else ""
        self._places = [(reached_here(settings.host), settings.port)]
        if self._own is not None:
            self._places.append((self._own.host, self._own.election_port))
        self._session: Session | None = None
        self._settled: tuple[object, ...] | None = None
        self._seen: tuple[object, ...] | None = None
        self._installed_at_s = around.now_s() - RELOAD_S
        self._restarted_at_s: float | None = None
        self._unserved_since_s: float | None = None
        self._has_failed = False
        self._companions: list[Companion] | None = None
        self._reasons: list[str] = []
        self._said: set[str] = set()
        self._wanted: Material | None = None

    def step(self) -> Outcome:
        """Look, and do what is next."""
        identity = file_identity(self._certificate), file_identity(self._authority)
        if identity == self._settled:
            return Outcome.SETTLED
        if identity != self._seen:  # the other one may be about to be written
            self._seen = identity
            self._said.clear()
            self._wanted = None
            return Outcome.PENDING
        self._reasons.clear()
        try:
            outcome = self._go_on()
        except FilesUnusable as error:
            self._hold(f"{error} The ZooKeeper server goes on with what it has.", logging.ERROR)
            outcome = Outcome.PENDING
            self.close()
        except (RegistryError, FabricError, OSError) as error:
            self._hold(f"The ZooKeeper server's certificates cannot be renewed now: {error}")
            outcome = Outcome.PENDING
            self.close()
        self.notice = " ".join(self._reasons)
        if outcome is Outcome.SETTLED:
            self._settled = identity
            self.close()
        return outcome

    def close(self) -> None:
        """End the session, and with it a turn."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            self._own_home.forget_session(RENEWAL_SESSION)

    def _go_on(self) -> Outcome:
        wanted = self._wanted = self._wanted or self._read()
        installed = self._files.installed()
        if installed is not None and self._is_refused():
            self._hold(
                f"The ZooKeeper server did not serve with {self._certificate}; {TAKEN_BACK}", logging.ERROR
            )
            wanted = Material(installed.content, wanted.trusted)
        mode = self._around.mode((LOOPBACK, self._plain_port), False)
        if mode not in VOTING:
            return self._without_service(wanted)
        self._unserved_since_s = None
        turns = self._turns()
        others = turns.others()
        is_last = self._trust(wanted, others, turns)
        if not self._show(wanted, others, turns):
            return Outcome.PENDING
        if self._is_current(wanted.leaf):
            self._finish(turns)
            return Outcome.SETTLED if is_last else Outcome.PENDING
        return self._restart(turns, leads=mode == "leader")

    def _read(self) -> Material:
        """What was put down, if others would take it. Raises FilesUnusable."""
        material = read_material(self._certificate, self._authority)
        material.prove(self._name)
        return material

    def _turns(self) -> ServerTurns:
        session = self._session or self._begin_session()
        number = self._own.id if self._own else 0
        return ServerTurns(session, self._container, number, lambda address: self._around.mode(address, True))

    def _begin_session(self) -> Session:
        """Open one, when that of an earlier process has ended, which may have died while it had the turn."""
        if (left := self._own_home.read_session(RENEWAL_SESSION)) is not None:
            self._around.end_session(self._plain_port, left)
        password = self._home.read_registry_address().zookeeper_password
        session = self._session = self._around.open_session(self._plain_port, password)
        noted = SessionRecord(session.session_id, session.session_password)
        self._own_home.write_session(noted, RENEWAL_SESSION)
        return session

    # What the server reads.

    def _trust(self, wanted: Material, others: list[ShownRecord], turns: ServerTurns) -> bool:
        """Have the server trust who it is to, and tell the others; returns whether that is all it trusts."""
        installed = self._files.installed() or Material(wanted.content, {})
        needed = still_needed(installed.trusted, others)
        trusted = {**wanted.trusted, **{each: installed.trusted[each] for each in needed}}
        if trusted.keys() != installed.trusted.keys():
            with naming(self._authority):
                check_names(trusted)
            self._files.install_trusted(trusted.values())
            log.info("The ZooKeeper server trusts %d authorities now", len(trusted))
        turns.say(ShownRecord(self._container, installed.signer, frozenset(trusted)))
        if extra := needed.keys() - wanted.trusted.keys():
            names = sorted({name for each in extra for name in needed[each]})
            self._hold(
                f"An authority that {self._authority} does not have any more is still trusted, "
                f"since the ZooKeeper servers of these containers show its certificates: {', '.join(names)}"
            )
        return trusted.keys() == wanted.trusted.keys()

    def _show(self, wanted: Material, others: list[ShownRecord], turns: ServerTurns) -> bool:
        """Have the server read the certificate, if the others take it."""
        installed = self._files.installed()
        if installed is not None and installed.content == wanted.content:
            return True
        if names := doubters(wanted.signer, others):
            self._hold(
                f"{self._certificate} waits: the ZooKeeper servers of these containers do not trust "
                f"who has signed it; bring the authority there: {', '.join(names)}"
            )
            turns.leave()
            return False
        self._files.install_certificate(wanted)
        self._installed_at_s = self._around.now_s()
        self._restarted_at_s, self._has_failed = None, False  # what was under way was for another one
        log.info("The ZooKeeper server is given the certificate %s", self._certificate)
        trusted = installed.trusted if installed is not None else wanted.trusted
        turns.say(ShownRecord(self._container, wanted.signer, frozenset(trusted)))
        return True

    def _is_current(self, leaf: bytes) -> bool:
        """Whether the server shows this certificate, to clients and to other servers."""
        if self._is_out_of_date():
            return False
        shown = [self._around.shown(place) for place in self._places]
        return shown[0] == leaf and all(one in (leaf, None) for one in shown[1:])

    def _is_out_of_date(self) -> bool:
        """Whether an earlier release has started it, which had it read each file once, and one is newer."""
        try:
            reads = str(self._files.certificate) in (self._directory / CONFIG_FILE).read_text()
            begun_s = (self._directory / PID_FILE).stat().st_mtime
        except OSError:
            return False
        return not reads and begun_s < max(
            each.stat().st_mtime for each in (self._certificate, self._authority)
        )

    # Its restart.

    def _restart(self, turns: ServerTurns, *, leads: bool) -> Outcome:
        now_s = self._around.now_s()
        if self._restarted_at_s is not None:
            return self._look_at_the_clock()
        if now_s - self._installed_at_s < RELOAD_S:
            return Outcome.PENDING  # it may read them by itself
        turns.wait()
        companions = turns.companions()
        if leads and companions and now_s - self._installed_at_s < 2 * RELOAD_S:
            return Outcome.PENDING  # the others may be about to wait, too
        reason = hindrance(companions, leads=leads)
        if not reason and (holder := turns.take()):
            reason = f"it is the turn of {holder}"
        elif not reason and (reason := hindrance(turns.companions(), leads=leads)):
            turns.leave()  # the one before had its turn while we looked
        if reason:
            self._hold(
                f"The ZooKeeper server is restarted for its new certificate later: {reason}", logging.INFO
            )
            return Outcome.PENDING
        log.info("The ZooKeeper server is restarted for its new certificate; brokers and clients go on")
        self._restarted_at_s, self._companions = now_s, companions
        return Outcome.RESTART

    def _without_service(self, wanted: Material) -> Outcome:
        """The server is down, is just starting, or has lost the others."""
        now_s = self._around.now_s()
        if self._unserved_since_s is None:
            self._unserved_since_s = now_s
        installed = self._files.installed()
        before = dict(installed.trusted) if installed is not None else {}
        if (
            installed is not None
            and installed.content == wanted.content
            and not wanted.trusted.keys() - before
        ):
            return self._look_at_the_clock()
        if now_s - self._unserved_since_s < UNSERVED_S and not self._has_failed:
            return Outcome.PENDING
        self._files.install_trusted({**wanted.trusted, **before}.values())
        self._files.install_certificate(wanted)
        log.warning("The ZooKeeper server serves nobody, and is restarted with a new certificate")
        self._restarted_at_s, self._companions, self._has_failed = now_s, None, False
        return Outcome.RESTART

    def _look_at_the_clock(self) -> Outcome:
        """Say if a restart has not brought what it was for, and go back to the certificate before."""
        now_s = self._around.now_s()
        if self._restarted_at_s is None or now_s - self._restarted_at_s < RESTART_S:
            return Outcome.PENDING  # if it does not serve, it is not for these
        which = "the certificate before, either" if self._is_refused() else "its new certificate"
        what = f"{RESTART_S:g} s after its restart the ZooKeeper server does not serve with {which}"
        log_path = self._directory / LOG_FILE
        if not self._has_failed and self._is_alone_in_it() and self._take_back():
            log.error("%s; it is restarted with the one before. See %s", what, log_path)
            self._write_down(f"failed: {what}. It is restarted with the one before.")
            self._restarted_at_s = now_s
            return Outcome.RESTART
        self._hold(f"{what}; the other servers are left as they are. See {log_path}", logging.ERROR)
        if not self._has_failed:
            self._has_failed = True
            self._write_down(f"failed: {what}.")
        return Outcome.PENDING

    def _is_alone_in_it(self) -> bool:
        """Whether all others serve, as they did before the restart: else it may be for them."""
        return self._companions is not None and all(
            any(self._around.mode(address, True) in VOTING for address in other.addresses)
            for other in self._companions
        )

    def _is_refused(self) -> bool:
        return self._files.is_refused(self._certificate)

    def _take_back(self) -> bool:
        """Have the certificate before shown again; returns whether there is one that clients take."""
        trusted = self._wanted.trusted if self._wanted is not None else {}
        return self._files.take_back(self._certificate, self._name, trusted)

    def _finish(self, turns: ServerTurns) -> None:
        if self._restarted_at_s is not None:
            took_s = self._around.now_s() - self._restarted_at_s
            if self._is_refused():
                log.info("The ZooKeeper server serves again, with the certificate before")
            else:
                log.info("The ZooKeeper server serves again, with its new certificate, after %.1f s", took_s)
                self._write_down(DONE)
            self._restarted_at_s, self._has_failed = None, False
        self._files.confirm()
        turns.leave()

    def _write_down(self, result: str) -> None:
        host = socket.gethostname()
        entry = AuditEntry(
            at_ms=int(time.time() * 1000),
            user=f"container {self._container}",
            role="ensemble",
            origin="container",
            source=host,
            action="restart of the ZooKeeper server for its new certificate",
            result=result,
            host=host,
        )
        for problem in write_entry(self._session, self._home.audit_log, entry):
            log.error("%s", problem)

    def _hold(self, reason: str, level: int = logging.WARNING) -> None:
        """Say once why it does not go on."""
        self._reasons.append(reason)
        if reason not in self._said:
            self._said.add(reason)
            log.log(level, "%s", reason)
