"""Membership in a group: one ephemeral sequential znode of ours, kept as it should be.

Joining takes two steps: the znode is created with ``ready: false``, and only when its name is known written
again with ``ready: true``. If the answer to the creation is lost, nobody counts the znode, and the ``uuid``
in it finds it again. Losing this race is what gave the original phantom members and groups without a
master.

Source: fabric8 ``ZooKeeperGroup``; FABRIC-696, ENTESB-6581, ENTESB-11955; the lost-reply trick: kazoo
``Lock``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ParamSpec, TypeVar

from registry import paths
from registry.children import ChildrenView
from registry.errors import InvalidRecord, NoSuchNode, RegistryError, RegistryUnavailable
from registry.kazoo_edge import Node, SessionState
from registry.members import MemberRecord
from registry.nonblocking import NonblockingSession
from registry.watches import REFUSED_RETRY_DELAY_S, OnValue, Watch

T = TypeVar("T")
P = ParamSpec("P")

log = logging.getLogger(__name__)


class GroupView(ChildrenView[MemberRecord]):
    """All members of a group, kept current. Unreadable ones are logged and left out."""

    def __init__(self, session: NonblockingSession, group_path: str, on_change: Callable[[], None]) -> None:
        super().__init__(session, group_path, MemberRecord.parse, lambda _: on_change())


class Step(Enum):
    """What a membership does next."""

    NOTHING = "nothing"
    FIND = "find"
    DELETE = "delete"
    CREATE = "create"
    WRITE = "write"


@dataclass(slots=True)
class Facts:
    """What a membership knows of its znode; the beginning of each sentence is its name."""

    wanted: bool = False
    """We want to be a member."""
    held: bool = False
    """We wait before we create a znode."""
    busy: bool = False
    """A request is under way."""
    uncertain: bool = False
    """A creation may have succeeded or not."""
    name: str | None = None
    """Our znode's name."""
    written: MemberRecord | None = None
    """What our znode holds, None if not known."""


def next_step(facts: Facts, *, connected: bool, discarded: bool, target: MemberRecord) -> Step:
    """Decide what brings our znode closer to what it should be.

    Args:
        facts: What is known.
        connected: Requests can be made.
        discarded: There are znodes of ours to be deleted.
        target: What our znode should hold.
    """
    if not connected or facts.busy:
        return Step.NOTHING
    if facts.uncertain:
        return Step.FIND
    if discarded:
        return Step.DELETE
    if facts.wanted and facts.name is None and not facts.held:
        return Step.CREATE
    if facts.name is not None and facts.written != target:
        return Step.WRITE
    return Step.NOTHING


class Membership:
    """Our own znode in a group. Everything happens in the owner's thread; nothing blocks."""

    def __init__(
        self,
        session: NonblockingSession,
        group_path: str,
        record: MemberRecord,
        *,
        rejoin_delay_s: Callable[[], float],
        on_change: Callable[[], None],
        on_published: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it; nothing happens before `join`.

        Args:
            session: Whose ephemeral znode it is.
            group_path: The group's znode.
            record: Id, container and a uuid of our own; the other fields are kept by this object.
            rejoin_delay_s: Asked after a lost session: how long to wait before joining again.
            on_change: Called when `name` has changed.
            on_published: Called whenever services have been written to our znode.
        """
        self._session = session
        self._group_path = group_path
        self._target = replace(record, ready=True)
        self._rejoin_delay_s = rejoin_delay_s
        self._on_change = on_change
        self._on_published = on_published
        self._facts = Facts()
        self._discarded: list[str] = []
        self._lost_sessions = 0  # answers from an earlier session are out of date
        self._holds = 0  # and so are timers of an earlier hold
        self._own_watch: Watch | None = None
        self._listening = False
        self._on_left: list[Callable[[], None]] = []

    @property
    def name(self) -> str | None:
        """Our znode's name while we have one."""
        return self._facts.name

    def join(self) -> None:
        """Become a member, and stay one whatever happens to znode and session."""
        if not self._listening:
            self._listening = True
            self._session.add_state_listener(self._on_state)
        self._facts.wanted = True
        self._step()

    def update(self, services: Sequence[str], details: Mapping[str, Any] | None = None) -> None:
        """Publish these services, now and in every later znode of ours.

        Args:
            services: Urls.
            details: Further fields of the record; None: those it has.
        """
        unknown = self._target.unknown if details is None else details
        self._target = replace(self._target, services=tuple(services), unknown=unknown)
        self._step()

    def rejoin(self, delay_s: float = 0.0) -> None:
        """Give up our place, and join at the end without services, after `delay_s` seconds."""
        self._target = replace(self._target, services=())
        self._discard_own()
        self._hold(delay_s)
        self._step()

    def leave(self, on_left: Callable[[], None]) -> None:
        """Delete our znode. `on_left` is called when it is gone, or when that has to wait for ZooKeeper."""
        self._facts.wanted = False
        self._target = replace(self._target, services=())
        self._on_left.append(on_left)
        self._step()

    def _step(self) -> None:
        if not self._facts.wanted:
            self._discard_own()
        connected = self._session.state is SessionState.CONNECTED
        step = next_step(
            self._facts, connected=connected, discarded=bool(self._discarded), target=self._target
        )
        if step is Step.NOTHING:
            self._consider_left(connected)
        else:
            self._facts.busy = True
            _PERFORM[step](self)

    def _consider_left(self, connected: bool) -> None:
        nothing_left = not self._facts.busy and not self._facts.uncertain and not self._discarded
        if self._facts.wanted or not (nothing_left or not connected):
            return
        if nothing_left and self._listening:
            self._listening = False
            self._session.remove_state_listener(self._on_state)
        self._tell_left()

    def _tell_left(self) -> None:
        waiting, self._on_left = self._on_left, []
        for on_left in waiting:
            on_left()

    def _current(self, then: Callable[[T | RegistryError], None]) -> OnValue[T]:
        """Make a receiver of an answer that then takes the next step; a lost session's are ignored."""
        lost_sessions = self._lost_sessions

        def on_answer(answer: T | RegistryError) -> None:
            if lost_sessions != self._lost_sessions:
                return
            self._facts.busy = False
            then(answer)
            self._step()

        return on_answer

    # Steps

    def _create(self) -> None:
        record = replace(self._target, ready=False)
        self._session.create_later(
            paths.new_member(self._group_path),
            record.serialize(),
            self._current(lambda answer: self._on_created(record, answer)),
            ephemeral=True,
            sequential=True,
        )

    def _on_created(self, record: MemberRecord, answer: str | RegistryError) -> None:
        if isinstance(answer, RegistryUnavailable):
            self._facts.uncertain = True
        elif isinstance(answer, RegistryError):
            log.error("Cannot join %s: %s", self._group_path, answer)
            self._hold(REFUSED_RETRY_DELAY_S)
        else:
            self._set_name(answer.rpartition("/")[2])
            self._facts.written = record

    def _write(self) -> None:
        record = self._target
        self._session.set_later(
            paths.member(self._group_path, self._facts.name or ""),
            record.serialize(),
            self._current(lambda answer: self._on_written(record, answer)),
        )

    def _on_written(self, record: MemberRecord, answer: RegistryError | None) -> None:
        if isinstance(answer, NoSuchNode):
            self._set_name(None)
        elif isinstance(answer, RegistryUnavailable):
            self._facts.written = None
        elif isinstance(answer, RegistryError):
            log.error("Cannot write our member of %s: %s", self._group_path, answer)
            self.rejoin(REFUSED_RETRY_DELAY_S)
        else:
            self._facts.written = record
            if record.services:
                self._on_published()

    def _delete(self) -> None:
        name = self._discarded[0]
        self._session.delete_later(
            paths.member(self._group_path, name),
            self._current(lambda answer: self._on_deleted(name, answer)),
        )

    def _on_deleted(self, name: str, answer: RegistryError | None) -> None:
        if answer is None or isinstance(answer, NoSuchNode):
            self._discarded.remove(name)
        elif not isinstance(answer, RegistryUnavailable):
            log.error("Cannot delete our member of %s: %s", self._group_path, answer)
            self._facts.busy = True
            self._session.call_later(REFUSED_RETRY_DELAY_S, self._unfinished(self._resume))
            self._tell_left()

    def _resume(self) -> None:
        self._facts.busy = False
        self._step()

    def _find(self) -> None:
        """Look for the znode whose creation was not answered."""
        self._session.children_later(self._group_path, self._current(self._on_listed))

    def _on_listed(self, answer: list[str] | RegistryError) -> None:
        if isinstance(answer, NoSuchNode):
            self._facts.uncertain = False
        elif isinstance(answer, RegistryError):
            pass  # again when connected
        else:
            self._facts.busy = True
            self._inspect([name for name in answer if name not in self._discarded])

    def _inspect(self, names: list[str]) -> None:
        """Read one member after the other; this is rare."""
        if not names:
            self._facts.uncertain = self._facts.busy = False
            self._step()
            return
        name, *rest = names
        self._session.get_later(
            paths.member(self._group_path, name),
            self._unfinished(lambda answer: self._on_inspected(name, rest, answer)),
        )

    def _on_inspected(self, name: str, rest: list[str], answer: Node | RegistryError) -> None:
        if isinstance(answer, Node):
            if answer.ephemeral_owner == self._session.session_id and self._is_ours(name, answer.data):
                self._adopt(name)
        elif not isinstance(answer, NoSuchNode):
            self._facts.busy = False  # still uncertain; again when connected
            self._step()
            return
        self._inspect(rest)

    def _unfinished(self, then: Callable[P, None]) -> Callable[P, None]:
        """Make a receiver of an answer that stays in the same step; a lost session's are ignored."""
        lost_sessions = self._lost_sessions

        def on_answer(*args: P.args, **kwargs: P.kwargs) -> None:
            if lost_sessions == self._lost_sessions:
                then(*args, **kwargs)

        return on_answer

    def _is_ours(self, name: str, data: bytes) -> bool:
        try:
            return MemberRecord.parse(name, data).uuid == self._target.uuid
        except InvalidRecord:
            return False

    def _adopt(self, name: str) -> None:
        if self._facts.name is None and self._facts.wanted:
            log.info("%s/%s is ours: the answer to its creation was lost", self._group_path, name)
            self._set_name(name)
        elif name != self._facts.name:
            self._discarded.append(name)

    # What happens to us

    def _discard_own(self) -> None:
        if self._facts.name is not None:
            self._discarded.append(self._facts.name)
            self._set_name(None)

    def _set_name(self, name: str | None) -> None:
        if name == self._facts.name:
            return
        self._facts.name = name
        self._facts.written = None
        if self._own_watch is not None:
            self._own_watch.cancel()
            self._own_watch = None
        if name is not None:
            path = paths.member(self._group_path, name)
            self._own_watch = self._session.watch_data(path, lambda data: self._on_own_data(name, data))
        self._on_change()

    def _on_own_data(self, name: str, data: bytes | None) -> None:
        if data is None and name == self._facts.name:
            log.warning("%s/%s was removed by somebody else; joining again", self._group_path, name)
            self._set_name(None)
            self._step()

    def _on_state(self, state: SessionState) -> None:
        if state is SessionState.LOST:
            self._lost_sessions += 1
            self._discarded.clear()
            # A creation under way may have been made in the new session: the loss is told after it has
            # happened.
            self._facts.uncertain = self._facts.busy
            self._facts.busy = False
            self._set_name(None)
            if self._facts.wanted:
                self._hold(self._rejoin_delay_s())
        self._step()

    def _hold(self, delay_s: float) -> None:
        """Create no znode for `delay_s` seconds."""
        self._holds += 1
        number = self._holds
        self._facts.held = delay_s > 0
        if self._facts.held:
            self._session.call_later(delay_s, lambda: self._release(number))

    def _release(self, number: int) -> None:
        if number == self._holds:
            self._facts.held = False
            self._step()


_PERFORM: dict[Step, Callable[[Membership], None]] = {
    Step.FIND: Membership._find,
    Step.DELETE: Membership._delete,
    Step.CREATE: Membership._create,
    Step.WRITE: Membership._write,
}
