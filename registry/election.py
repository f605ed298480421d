"""A broker's election: the machine of `roles`, wired to a session, a group and the broker.

Between the disappearance of the master's znode and the call of `take_over` nothing is asked and nothing is
waited for: the watch of the znode itself brings the news, and all other members are known already.
"""

import logging
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from registry import paths
from registry.group import GroupView, Membership
from registry.kazoo_edge import SessionState
from registry.members import MemberRecord, active_members
from registry.nonblocking import NonblockingSession
from registry.roles import Input, Output, Role, Standing, advance, standing

log = logging.getLogger(__name__)

REJOIN_DELAY_MIN_S = 1.0
REJOIN_DELAY_MAX_S = 2.0
"""After a lost session slaves wait this long before they join again, so that the master is the first (P6).

The least delay is more than a master needs to notice a returned ZooKeeper, even if its first attempt is not
answered (`kazoo_edge.RECONNECT_DELAY_MAX_S`, `kazoo_edge.FIRST_REPLY_TIMEOUT_S`).
"""


class ElectionListener(Protocol):
    """What a broker does about its election. Called in the owner's thread; must not block."""

    def take_over(self) -> None:
        """Become master; answer with `BrokerElection.publish` or `failed`."""
        ...

    def step_down(self, reason: str) -> None:
        """Stop being master, or becoming it; answer with `BrokerElection.stopped` when nothing is served."""
        ...


class BrokerElection:
    """Takes part in the election for one broker id. All methods belong in the owner's thread; none blocks."""

    def __init__(
        self,
        session: NonblockingSession,
        group: str,
        broker_id: str,
        container: str,
        listener: ElectionListener,
        *,
        choose_delay_s: Callable[[float, float], float] = random.uniform,
        on_group_changed: Callable[[], None] | None = None,
        on_published: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it; nothing happens before `start`.

        Args:
            session: Its state tells whether there is anybody to ask.
            group: Name of the broker group, such as ``default``.
            broker_id: Shared by a master and its slaves.
            container: Where this broker runs.
            listener: The broker.
            choose_delay_s: Chooses between two delays; for tests and simulation.
            on_group_changed: Called when `services` may have changed.
            on_published: Called when our znode has the services of `publish`.
        """
        self._on_group_changed = on_group_changed
        self._last_master = ""
        self._session = session
        self._broker_id = broker_id
        self._listener = listener
        self._choose_delay_s = choose_delay_s
        self._role = Role.OFFLINE
        self._services: tuple[str, ...] = ()
        self._standing = Standing.UNKNOWN
        self._rejoin_delay_s = 0.0
        self._reason = ""
        self._on_left: Callable[[], None] = lambda: None
        self._group_path = group_path = paths.amq_group(group)
        self._label = f"broker {broker_id} of container {container} in group {group}"
        self._view = GroupView(session, group_path, self._vote)
        self._membership = Membership(
            session,
            group_path,
            MemberRecord(broker_id, container, str(uuid.uuid4())),
            rejoin_delay_s=self._delay_after_lost_session_s,
            on_change=self._vote,
            on_published=on_published,
        )

    @property
    def state(self) -> Role:
        """What the broker is now."""
        return self._role

    @property
    def settled(self) -> bool:
        """Whether the group has decided: we serve, or we are registered and somebody is ahead of us."""
        return self._role is Role.MASTER or (self._role is Role.SLAVE and self._standing is Standing.BEHIND)

    @property
    def other_serves(self) -> bool:
        """Whether another broker of our id serves: what may have kept us from it matters no more."""
        own_name = self._membership.name
        return any(
            record.id == self._broker_id and record.services and name != own_name
            for name, record in active_members(self._view.values).items()
        )

    @property
    def last_master(self) -> str:
        """The container that serves, or served last, as far as was seen; empty: none was."""
        return self._last_master

    def has_other_member(self, container: str) -> bool:
        """Whether a broker of our id in that container is a member now, other than we."""
        own_name = self._membership.name
        return any(
            name != own_name and record.id == self._broker_id and record.container == container
            for name, record in self._view.values.items()
        )

    @property
    def services(self) -> list[str]:
        """Where the brokers of the group serve, whatever their ids, as far as is known."""
        return [url for record in active_members(self._view.values).values() for url in record.services]

    @property
    def member_name(self) -> str | None:
        """Name of our znode, while there is one."""
        return self._membership.name

    def start(self) -> None:
        """Join the group. To be called once."""
        self._view.start()
        self._feed(Input.START)

    def publish(self, services: Sequence[str]) -> None:
        """Tell where the broker serves, such as ``tcp://127.0.0.1:61616``: it is master now."""
        self._services = tuple(services)
        self._feed(Input.SERVING)

    def stopped(self) -> None:
        """Tell that the broker serves no more, asked or not: join again at the end of the group."""
        self._feed(Input.STOPPED)

    def failed(self, retry_delay_s: float = 0.0) -> None:
        """Tell that the broker could not take over, or was fenced: join again at the end of the group.

        Args:
            retry_delay_s: Wait so long before joining. Who is alone in its group is elected again at once.
        """
        self._rejoin_delay_s = retry_delay_s
        self._feed(Input.FAILED)

    def give_way(self) -> bool:
        """Give our place up to a broker that waits for it. Any thread: the owner's may be held up.

        Our znode goes, which elects the next. We learn of it like of any other loss of our znode: we join
        at the end, find ourselves outvoted, and step down.

        Returns:
            Whether somebody waits, and ZooKeeper was asked to remove our znode.
        """
        own_name = self._membership.name
        members = active_members(dict(self._view.values))
        heirs = [name for name, each in members.items() if each.id == self._broker_id and name != own_name]
        if own_name is None or not heirs or self._session.state is not SessionState.CONNECTED:
            return False
        self._session.delete_later(paths.member(self._group_path, own_name), lambda _: None)
        return True

    def stop(self, on_left: Callable[[], None] | None = None) -> None:
        """Leave the group, for good. Neither `take_over` nor `step_down` is called after this.

        Args:
            on_left: Called when our znode is gone, or when that has to wait for ZooKeeper.
        """
        self._on_left = on_left or self._on_left
        if self._role is Role.OFFLINE:
            self._on_left()
        self._view.cancel()
        self._feed(Input.STOP)

    def _vote(self) -> None:
        """Look at the group again. A suspended or lost session elects nobody."""
        if self._session.state is not SessionState.CONNECTED or not self._view.listed:
            return
        members, own_name = self._view.values, self._membership.name
        for record in members.values():
            if record.services and record.id == self._broker_id:
                self._last_master = record.container
        self._standing = place = standing(members, self._view.unread, own_name, self._broker_id)
        if place is Standing.FIRST:
            self._feed(Input.ELECTED)
        elif place is Standing.BEHIND:
            ahead = next(n for n, record in active_members(members).items() if record.id == self._broker_id)
            self._reason = f"{members[ahead].container} ({ahead}) is ahead of us ({own_name}) in the group"
            self._feed(Input.OUTVOTED)
        if self._on_group_changed is not None:
            self._on_group_changed()

    def _feed(self, kind: Input) -> None:
        role, outputs = advance(self._role, kind)
        if role is not self._role:
            log.info("%s: %s: %s → %s", self._label, kind.value, self._role.value, role.value)
        self._role = role
        for output in outputs:
            _CARRY_OUT[output](self)

    def _take_over(self) -> None:
        self._listener.take_over()

    def _step_down(self) -> None:
        self._listener.step_down(self._reason)

    def _join(self) -> None:
        self._membership.join()

    def _publish(self) -> None:
        self._membership.update(self._services)

    def _withdraw(self) -> None:
        self._membership.update(())

    def _rejoin(self) -> None:
        delay_s, self._rejoin_delay_s = self._rejoin_delay_s, 0.0
        self._membership.rejoin(delay_s)

    def _leave(self) -> None:
        self._membership.leave(self._on_left)

    def _delay_after_lost_session_s(self) -> float:
        if self._role in (Role.MASTER, Role.TAKING_OVER):
            return 0.0
        return self._choose_delay_s(REJOIN_DELAY_MIN_S, REJOIN_DELAY_MAX_S)


_CARRY_OUT: dict[Output, Callable[[BrokerElection], None]] = {
    Output.JOIN: BrokerElection._join,
    Output.TAKE_OVER: BrokerElection._take_over,
    Output.PUBLISH: BrokerElection._publish,
    Output.WITHDRAW: BrokerElection._withdraw,
    Output.STEP_DOWN: BrokerElection._step_down,
    Output.REJOIN: BrokerElection._rejoin,
    Output.LEAVE: BrokerElection._leave,
}
