"""The services of one container: those that run, those that could not be started and wait for another try."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python.failure import Failure

from fabric.errors import FabricError
from fabric.reconcile import factory_prefix
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fabric.services import ContainerService, ServiceContext, ServiceFactory

log = logging.getLogger(__name__)

RETRY_DELAY_MIN_S = 1.0
RETRY_DELAY_MAX_S = 30.0
"""A service that could not be started is tried again after the one, doubling to the other."""

STOP_TIMEOUT_S = 20.0
"""A service that has not stopped by then is given up: the container goes on without it."""


@dataclass(slots=True)
class _Running:
    """A service that was started."""

    properties: Mapping[str, str]
    service: ContainerService
    starting: bool = True
    """Its `startService` has not come to an end."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A service that could not be started, and when it is tried again."""

    properties: Mapping[str, str]
    error: str
    delay_s: float
    due_s: float


class ServiceSet:
    """Starts and stops services. What one of them does wrong costs the others nothing."""

    def __init__(
        self,
        context: ServiceContext,
        factories: Mapping[str, ServiceFactory],
        on_failed: Callable[[], None],
    ) -> None:
        """Make an empty set.

        Args:
            context: What services are given.
            factories: By PID prefix.
            on_failed: Called when a service could not be started; `retry_due_s` says when to try again.
        """
        self._context = context
        self._reactor = context.reactor
        self._factories = factories
        self._on_failed = on_failed
        self._running: dict[str, _Running] = {}
        self._failed: dict[str, _Failed] = {}
        self._ending: set[Deferred[None]] = set()

    @property
    def properties(self) -> dict[str, Mapping[str, str]]:
        """The properties of each running service, by PID."""
        return {pid: running.properties for pid, running in self._running.items()}

    @property
    def retry_due_s(self) -> float | None:
        """When the next attempt is due, or None."""
        return min((failed.due_s for failed in self._failed.values()), default=None)

    def statuses(self) -> dict[str, Mapping[str, object]]:
        """Return what each running service says of itself, by PID, sorted."""
        return {pid: running.service.status() for pid, running in sorted(self._running.items())}

    def problems(self) -> list[str]:
        """Return what is wrong, a line or more for each service in trouble."""
        problems = [f"{pid}: {failed.error}" for pid, failed in sorted(self._failed.items())]
        for pid, status in self.statuses().items():
            if status.get("error"):
                problems.append(f"{pid}: {status['error']}")
        return problems

    def notices(self) -> list[str]:
        """Return what people should know although nothing is wrong."""
        statuses = self.statuses().items()
        return [f"{pid}: {status['notice']}" for pid, status in statuses if status.get("notice")]

    def is_settled(self) -> bool:
        """Whether every service has got to what it will do, or says what keeps it from that."""
        if any(running.starting for running in self._running.values()):
            return False
        return all(status.get("settled", True) or status.get("error") for status in self.statuses().values())

    def keep_failures(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        """Forget the failures of services that are not wanted any more, or not so."""
        self._failed = {
            pid: failed for pid, failed in self._failed.items() if failed.properties == wanted.get(pid)
        }

    def is_due(self, pid: str) -> bool:
        """Whether the service may be started now: it has not failed, or its wait is over."""
        failed = self._failed.get(pid)
        return failed is None or failed.due_s <= self._reactor.seconds()

    def reconfigure(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        """Let services that can take over other properties do so while they run."""
        for pid, running in self._running.items():
            properties = wanted.get(pid)
            if properties is None or properties == running.properties or running.starting:
                continue
            reconfigure = getattr(running.service, "reconfigure", None)
            if reconfigure is not None and reconfigure(properties):
                running.properties = properties

    def readvertise(self) -> None:
        """Let services tell anew where they serve: the container advertises another address."""
        for pid, running in self._running.items():
            readvertise = getattr(running.service, "readvertise", None)
            if readvertise is not None and not running.starting:
                log.info("%s is told by its new address", pid)
                readvertise()

    def start(self, pid: str, properties: Mapping[str, str]) -> None:
        """Start a service."""
        prefix = factory_prefix(pid, self._factories.keys())
        assert prefix is not None, "only PIDs of factories are wanted"
        try:
            service = self._factories[prefix].create(pid, properties, self._context)
        except Exception as error:  # noqa: BLE001 - a service's failure must not end the container
            self._start_failed(pid, properties, error)
            return
        running = self._running[pid] = _Running(properties, service)
        self._context.services[pid] = service

        def started(_: object) -> None:
            running.starting = False
            self._failed.pop(pid, None)

        def not_started(failure: Failure) -> None:
            running.starting = False
            if self._running.get(pid) is running:
                del self._running[pid]
                del self._context.services[pid]
            assert isinstance(failure.value, Exception)
            self._start_failed(pid, properties, failure.value)

        maybeDeferred(service.startService).addCallbacks(started, not_started)

    def stop(self, pid: str) -> Deferred[Any]:
        """Stop a service. The Deferred fires, never with a failure, when it has stopped or is given up."""
        running = self._running.pop(pid)
        self._context.services.pop(pid, None)
        stopping = maybeDeferred(running.service.stopService)
        stopping.addTimeout(STOP_TIMEOUT_S, cast("IReactorTime", self._reactor))
        ended: Deferred[None] = Deferred()
        self._ending.add(ended)

        def done(result: object) -> None:
            if isinstance(result, Failure):
                log.error("%s did not stop in order:\n%s", pid, result.getTraceback())
            self._ending.discard(ended)
            ended.callback(None)

        stopping.addBoth(done)
        return ended

    def stop_all(self) -> Deferred[Any]:
        """Stop all services, all at once; those that are being stopped already are waited for too."""
        for pid in sorted(self._running):
            self.stop(pid)
        return DeferredList(list(self._ending))

    def _start_failed(self, pid: str, properties: Mapping[str, str], error: Exception) -> None:
        before = self._failed.get(pid)
        delay_s = min(before.delay_s * 2, RETRY_DELAY_MAX_S) if before else RETRY_DELAY_MIN_S
        is_expected = isinstance(error, FabricError | RegistryError | OSError | ValueError)
        log.error(
            "%s could not be started, next attempt in %g s: %s",
            pid,
            delay_s,
            error,
            exc_info=None if is_expected else error,
        )
        text = str(error) or type(error).__name__
        self._failed[pid] = _Failed(properties, text, delay_s, self._reactor.seconds() + delay_s)
        self._on_failed()
