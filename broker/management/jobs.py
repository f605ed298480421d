"""What changes something: done in steps, one a turn, each step one append; over when the last one is durable.

A crash between two steps loses nothing and doubles nothing: what was appended is done, the rest is not begun.
The steps wait for the disk, so that a long job takes no more memory than a short one, and clients have their
turns between them.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.errors import ClientError, SendBlocked
from broker.management.errors import ManagementError, NotFound, NotPossible, TooMany, from_client_error
from broker.management.model import JobInfo

if TYPE_CHECKING:
    from broker.region.region import Region

RUNNING_MAX: Final = 16
"""Jobs of a broker at a time; each has its step in every turn."""
KEPT_MAX: Final = 100
"""Jobs that are over and can still be asked about."""

RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

_log: Final = logging.getLogger("broker.management")


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom somebody asks, as he says himself.

    Attributes:
        user, role: his.
        source: from where.
    """

    user: str
    role: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        user: as he has logged in.
        remote: from where.
        connection: by which connection; empty: by none of this broker.
        asker: for whom, if he says so, for the audit log: it gives him no rights.
    """

    user: str
    remote: str = ""
    connection: str = ""
    asker: Asker | None = None

    def __str__(self) -> str:
        return f"{self.user} ({self.remote})" if self.remote else self.user


class Job(ABC):
    """One change that somebody has asked for.

    Attributes:
        number: names it.
        operation: what it does, as the request calls it.
        destination: of what.
        target: where to, if it moves anything.
    """

    def __init__(
        self, region: Region, operation: str, destination: str, *, target: str = "", detail: str = ""
    ) -> None:
        self.region = region
        self.operation = operation
        self.destination = destination
        self.target = target
        self.detail = detail
        self.number = 0
        self.caller = Caller("")
        self.state = RUNNING
        self.started = region.now_ms
        self.ended = 0
        self.looked_at = 0
        self.total = 0
        self.changed = 0
        self.skipped = 0
        self.left = 0
        self.result = ""
        self.error = self.code = ""
        self._batch = 0
        self._is_finished = False
        self._listeners: list[Callable[[Job], None]] = []

    @abstractmethod
    def step(self) -> tuple[int, bool]:
        """Do the next part.

        Returns:
            The batch that makes it durable, 0: nothing was appended; and whether that was all.

        Raises:
            ManagementError, ClientError: it cannot go on; this step has changed nothing.
        """

    def dispatch(self) -> None:
        """The region's turn: do a step, or wait for the disk."""
        region = self.region
        if self.state != RUNNING:
            return
        if self._batch > region.durable_batch or region.store.is_behind:
            region.blocked[self] = None
            return
        if self._is_finished:
            self._end(DONE)
            return
        try:
            batch, self._is_finished = self.step()
        except ManagementError as error:
            self._fail(error)
        except ClientError as error:
            self._fail(from_client_error(error))
        except SendBlocked as error:
            self._fail(TooMany(str(error)))
        else:
            self._batch = max(batch, self._batch)
            self._go_on()

    def _go_on(self) -> None:
        region = self.region
        if self._batch > region.durable_batch:
            region.blocked[self] = None
        elif self._is_finished:
            self._end(DONE)
            return
        else:
            region.unfinished[self] = None
        self._tell()

    def _fail(self, error: ManagementError) -> None:
        self.code = error.code
        self._end(FAILED, str(error))

    def _end(self, state: str, error: str = "") -> None:
        self.state, self.error, self.ended = state, error, self.region.now_ms
        how = f"{state}: {error}" if error else state
        _log.info("%s: %s: %s, %d messages", self.caller, self.title, how, self.changed)
        self._tell()

    def cancel(self) -> None:
        """Do no further step; what is done stays done."""
        if self.state == RUNNING:
            self._end(CANCELLED)

    def call(self, listener: Callable[[Job], None]) -> None:
        """Call back after every step, and when it is over; now, if it is."""
        if self.state == RUNNING:
            self._listeners.append(listener)
        else:
            listener(self)

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener(self)

    @property
    def title(self) -> str:
        """For the log."""
        target = f" to {self.target}" if self.target else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.operation} {self.destination}{target}{detail}"

    def info(self) -> JobInfo:
        """What is told of it."""
        return JobInfo(
            id=self.number,
            operation=self.operation,
            destination=self.destination,
            target=self.target,
            user=self.caller.user,
            state=self.state,
            started=self.started,
            ended=self.ended,
            looked_at=self.looked_at,
            total=self.total,
            changed=self.changed,
            skipped=self.skipped,
            left=self.left,
            result=self.result,
            error=self.error,
        )


class Immediate(Job):
    """Something that takes one step.

    Args:
        do: does it; returns the batch.
    """

    def __init__(
        self,
        region: Region,
        operation: str,
        destination: str,
        do: Callable[[Immediate], int],
        *,
        detail: str = "",
    ) -> None:
        super().__init__(region, operation, destination, detail=detail)
        self.total = 1
        self._do = do

    def step(self) -> tuple[int, bool]:
        """Do it."""
        batch = self._do(self)
        self.looked_at = self.changed = 1
        return batch, True


class Jobs:
    """All jobs of one broker."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._jobs: dict[int, Job] = {}
        self._count = 0

    def start(self, job: Job, caller: Caller) -> Job:
        """Have it done; its first step is in the next turn of the region.

        Raises:
            TooMany: so many are running.
        """
        if len(self.running()) >= RUNNING_MAX:
            raise TooMany(f"{RUNNING_MAX} operations are running; wait until one of them is over.")
        self._count += 1
        job.number, job.caller = self._count, caller
        for number in [each.number for each in self._jobs.values() if each.state != RUNNING][: -KEPT_MAX + 1]:
            del self._jobs[number]
        self._jobs[job.number] = job
        _log.info("%s: %s", caller, job.title)
        self._region.dirty[job] = None
        return job

    def running(self) -> list[Job]:
        """Those that are not over."""
        return [job for job in self._jobs.values() if job.state == RUNNING]

    def all(self) -> list[Job]:
        """Those that are running and some that are over, the newest first."""
        return list(reversed(self._jobs.values()))

    def find(self, number: int) -> Job:
        """A job by its number.

        Raises:
            NotFound: there is none, or it was over long ago.
        """
        job = self._jobs.get(number)
        if job is None:
            raise NotFound(f"There is no operation {number} any more.")
        return job

    def cancel(self, number: int) -> Job:
        """Stop a job.

        Raises:
            NotFound: there is none.
            NotPossible: it is over.
        """
        job = self.find(number)
        if job.state != RUNNING:
            raise NotPossible(f"Operation {number} is over: {job.state}.")
        job.cancel()
        return job
