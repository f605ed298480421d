"""A change of the ensemble's password, in two steps, by a session of a command.

    ensemble-password NEW     every znode is given to both passwords
                              the registry says the new one            containers note it, and say so
                              every znode again: what was made meanwhile
    ensemble-password -c      the registry says that it is the only one    containers say that they know
                              every znode is given to the new one alone

No session ends, so no broker notices. Every step looks at what is there, so a command that was interrupted is
repeated. Source: fabric8 `EnsemblePasswordAction` for the two steps; there nobody knew who had followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fabric.errors import ChangedMeanwhile, FabricError
from fabric.names import enumerated
from registry import paths
from registry.errors import NodeExists, VersionConflict
from registry.password import ToldPassword, new_step, problem_with

if TYPE_CHECKING:
    from fabric.store import ContainerStore
    from registry.session import Session

TAKE_OVER_S = 60.0
"""How long containers are waited for; one that works answers within a second."""

POLL_S = 0.2
ROUNDS_MAX = 5
"""How often access lists are looked at for what was made by commands that began before the end."""


class PasswordChangeError(FabricError):
    """The ensemble's password cannot be changed so."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who has taken over what the registry says of the password.

    Attributes:
        taken: containers that have.
        waiting: connected ones that have not.
        away: ones that are not connected, on hosts that know the earlier password only.
    """

    taken: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


class PasswordChange:
    """The change. Blocks."""

    def __init__(
        self,
        session: Session,
        containers: ContainerStore,
        say: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._containers = containers
        self._say = say
        self._sleep = sleep
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether the earlier password is accepted, too."""
        told = self._session.told_password()
        return told is not None and bool(told.before)

    def standing(self) -> Standing:
        """Return who has taken over what is said now; all, if nothing was ever said."""
        told = self._session.told_password()
        records = self._containers.all()
        taken = {record.id for record in records} if told is None else self._taken(told.step)
        hosts = {record.parent or record.id for record in records if record.id in taken}
        return Standing(
            taken=tuple(sorted(taken)),
            waiting=tuple(one.id for one in records if one.connected and one.id not in taken),
            away=tuple(
                one.id for one in records if not one.connected and (one.parent or one.id) not in hosts
            ),
        )

    def begin(self, new: str, timeout_s: float = TAKE_OVER_S) -> Standing:
        """Make a password open everything besides the present one, and wait until the containers use it.

        Raises:
            PasswordChangeError: it cannot be one, is the present one, or another change is under way.
            ChangedMeanwhile, RegistryError: as they say.
        """
        if problem := problem_with(new):
            raise PasswordChangeError(f"This cannot be the ensemble's password: {problem}.")
        told, version = self._read()
        if told is None or not told.before:
            if new == self._session.password:
                raise PasswordChangeError("That is the ensemble's password already.")
            planned = ToldPassword(new_step(), new, before=self._session.password)
            self._give(planned.passwords)
            told = self._tell(planned, version)
        elif told.password != new:
            raise PasswordChangeError(
                "A change of the password is under way, to another one than this.",
                "`fabric ensemble-password` shows it. Complete it first: fabric ensemble-password --commit",
            )
        self._wait(told.step, timeout_s)
        self._give(told.passwords)  # what was made before all knew
        return self.standing()

    def commit(self, *, force: bool = False, timeout_s: float = TAKE_OVER_S) -> Standing:
        """Make the new password the only one. Without a change under way, see that it is.

        Args:
            force: Although containers have not taken it over.
            timeout_s: How long those that have are waited for.

        Raises:
            PasswordChangeError: containers have not taken it over.
            ChangedMeanwhile, RegistryError: as they say.
        """
        told, version = self._read()
        lost: tuple[str, ...] = ()
        if told is not None and told.before:
            standing = self.standing()
            if not force:
                _check_taken(standing)
            lost = standing.waiting
            told = self._tell(ToldPassword(new_step(), told.password), version)
        if told is not None:
            self._wait(told.step, timeout_s, without=lost)
        for _ in range(ROUNDS_MAX):
            if not self._give((self._session.password,)):
                break  # no command has made anything for both meanwhile
        return self.standing()

    def _read(self) -> tuple[ToldPassword | None, int | None]:
        """What the registry says, and the version of the znode; None if there is none."""
        node = self._session.get_or_none(paths.ensemble_password())
        return self._session.told_password(), None if node is None else node.version

    def _tell(self, told: ToldPassword, version: int | None) -> ToldPassword:
        """Let the registry say it, unless somebody else has let it say something meanwhile."""
        self._session.adopt(told)  # what is written now is to open to both
        try:
            if version is None:
                self._session.create(paths.ensemble_password(), told.to_bytes())
            else:
                self._session.set(paths.ensemble_password(), told.to_bytes(), version)
        except (NodeExists, VersionConflict) as error:
            raise ChangedMeanwhile("The ensemble's password") from error
        return told

    def _give(self, passwords: Iterable[str]) -> int:
        return self._session.give_tree(
            tuple(passwords), lambda count: self._say(f"Changing access lists: {count} znodes")
        )

    def _wait(self, step: str, timeout_s: float, without: Collection[str] = ()) -> None:
        """Wait until the connected containers have taken the step over, or the time is up."""
        deadline_s = self._clock() + timeout_s
        said: set[str] = set()
        while True:
            alive = set(self._session.children(paths.alive()))
            missing = alive - self._taken(step) - set(without)
            if not missing or self._clock() >= deadline_s:
                return
            if missing != said:
                known = len(alive) - len(missing)
                self._say(f"{known} of {len(alive)} containers know; not yet: {enumerated(missing)}")
                said = missing
            self._sleep(POLL_S)

    def _taken(self, step: str) -> set[str]:
        """The containers that have answered to this step."""
        parent = paths.ensemble_password()
        names = self._session.children(parent) if self._session.exists(parent) else ()
        nodes = {name: self._session.get_or_none(paths.ensemble_password_taken(name)) for name in names}
        return {name for name, node in nodes.items() if node is not None and node.data == step.encode()}


def _check_taken(standing: Standing) -> None:
    if standing.waiting:
        raise PasswordChangeError(
            f"The new password is not yet known to: {enumerated(standing.waiting)}. Nothing was changed.",
            "They are connected: see `fabric container-logs NAME`, or restart them. "
            "With --force they are shut out.",
        )
    if standing.away:
        raise PasswordChangeError(
            f"The new password is not known on the hosts of: {enumerated(standing.away)}. Nothing changed.",
            "Start these containers first. With --force they are not waited for, and who comes back later "
            "types on these hosts: fabric ensemble-password --note",
        )
