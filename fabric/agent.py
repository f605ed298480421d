"""The agent of a container: makes its services what its profiles ask for.

Each pass writes how far it is to the registry: `analyzing`, `updating (…)`, `finalizing`, and at the end
`success`, or `error` with the reason. A service that cannot be started, or reports an error later, is shown
and tried again; the others go on undisturbed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, succeed

from fabric.encrypted import Decrypted, decrypt_all, has_encrypted
from fabric.errors import FabricError
from fabric.overlay import Effective, resolve
from fabric.profile_watch import ProfileWatch
from fabric.profiles import AGENT_PID
from fabric.reactor import in_thread
from fabric.reconcile import reconcile, service_pids
from fabric.records import ERROR, SUCCESS, Provision
from fabric.service_set import RETRY_DELAY_MIN_S, ServiceSet
from fabric.store import ContainerStore
from fabric.znodes import read_reference
from registry.errors import RegistryError
from registry.session import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.python.failure import Failure

    from fabric.reactor import DelayedCall
    from fabric.services import ServiceContext, ServiceFactory

log = logging.getLogger(__name__)

SETTLE_TIMEOUT_S = 5.0
"""How long a pass waits for new services to get where they are going, so that `success` means they are there.
A broker is slave or master in a fraction of a second; one that recovers a large journal takes longer."""

SETTLE_POLL_S = 0.02
STATUS_POLL_S = 1.0


class Agent:
    """Reconciles one container. Lives in the reactor's thread."""

    def __init__(
        self,
        context: ServiceContext,
        factories: Mapping[str, ServiceFactory],
        substitutions: Mapping[str, str],
        on_configuration: Callable[[Mapping[str, Mapping[str, str]]], None] = lambda configuration: None,
    ) -> None:
        """Make it; nothing happens before `start`.

        Args:
            context: What services are given.
            factories: By PID prefix.
            substitutions: For the placeholders, see `fabric.overlay`.
            on_configuration: Called with the whole configuration when the profiles have changed.
        """
        self._context = context
        self._reactor = context.reactor
        self._prefixes = factories.keys()
        self._substitutions = dict(substitutions)
        self._on_configuration = on_configuration
        self._containers = ContainerStore(context.session)
        self._services = ServiceSet(context, factories, self._schedule_retry)
        self._watch = ProfileWatch(context.session, context.container, self._profiles_changed)
        self._effective: Effective | FabricError | None = None
        self._changed = False
        self._is_new = False
        """The pass is due to the profiles, not to a retry, so its way is shown and not its outcome alone."""
        self._pass_runs = False
        self._stopping = False
        self._retry: DelayedCall | None = None
        self._poll: DelayedCall | None = None
        self._problems: Mapping[str, str] = {}
        """By PID: what cannot be decrypted here."""
        self._key_stamp: object = None
        self._written: Provision | None = None
        self._writer = DeferredLock()  # what is written later must stand later

    def start(self) -> None:
        """Begin to follow the profiles."""
        self._context.session.add_state_listener(self._registry_changed)
        self._watch.start()
        self._poll = self._reactor.callLater(STATUS_POLL_S, self._poll_status)

    def readvertise(self) -> None:
        """The container advertises another address, which stands in the context already."""
        self._substitutions["container.ip"] = self._context.advertised_host
        self._services.readvertise()
        self._wake()  # placeholders may have stood for the old one

    def substitute(self, placeholder: str, value: str) -> None:
        """A placeholder stands for something else now."""
        self._substitutions[placeholder] = value
        self._wake()

    def stop(self) -> Deferred[Any]:
        """Stop all services, all at once.

        The Deferred fires when they have stopped or were given up, and what was being written stands: it
        must not come after what the container writes last.
        """
        self._stopping = True
        stopped = self._services.stop_all()  # first: a failover waits for it
        self._watch.cancel()
        for call in (self._retry, self._poll):
            if call is not None and call.active():
                call.cancel()
        return DeferredList([stopped, self._writer.run(lambda: None)])

    # When to do a pass.

    def _profiles_changed(self, effective: Effective | FabricError) -> None:
        if effective != self._effective:
            self._effective = effective
            self._is_new = True
            if isinstance(effective, Effective):
                self._on_configuration(effective.configuration)
            self._wake()

    def _registry_changed(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED and not self._pass_runs:
            self._written = None
            self._write_outcome()

    def _wake(self) -> None:
        self._changed = True
        if not self._pass_runs and not self._stopping:
            self._pass_runs = True
            Deferred.fromCoroutine(self._passes()).addErrback(self._pass_failed)

    async def _passes(self) -> None:
        while self._changed and not self._stopping:
            self._changed = False
            await self._one_pass()
        self._pass_runs = False

    def _pass_failed(self, failure: Failure) -> None:
        """Report an error of our own; the next change begins anew."""
        self._pass_runs = False
        log.error("Provisioning failed:\n%s", failure.getTraceback())
        self._write(Provision(ERROR, f"Provisioning failed: {failure.getErrorMessage()}"))

    def _schedule_retry(self, delay_s: float | None = None) -> None:
        """Do a pass after `delay_s`, by default when the next attempt at a failed service is due."""
        due_s = self._services.retry_due_s
        if delay_s is None and due_s is not None:
            delay_s = max(0.0, due_s - self._reactor.seconds())
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if delay_s is not None and not self._stopping:
            self._retry = self._reactor.callLater(delay_s, self._wake)

    # One pass.

    async def _one_pass(self) -> None:
        if self._effective is None:
            return
        if isinstance(self._effective, FabricError):
            await self._write_outcome()
            return
        await self._write_result("analyzing")
        try:
            wanted = await in_thread(self._reactor, self._wanted, self._effective)
        except RegistryError as error:
            log.warning("The profiles cannot be resolved now: %s", error)
            self._schedule_retry(RETRY_DELAY_MIN_S)
            return
        await self._change_services(self._decryptable(wanted))
        await self._write_result("finalizing")
        await self._settled()
        self._is_new = False
        await self._write_outcome()

    def _wanted(self, effective: Effective) -> Decrypted:
        """Return the properties of each service wanted. Blocks: placeholders are read from the registry."""
        session = self._context.session
        needed = service_pids(effective.configuration, self._prefixes)
        needed[AGENT_PID] = dict(effective.configuration.get(AGENT_PID, {}))
        resolved = resolve(needed, self._substitutions, lambda reference: read_reference(session, reference))
        services = service_pids(resolved, self._prefixes)
        self._key_stamp = stamp_of(self._context.home.master_key)
        return decrypted(services, self._context.home.master_key)

    def _decryptable(self, wanted: Decrypted) -> dict[str, Mapping[str, str]]:
        """What can be run. A service that runs stays as it is if what it should be now is not readable."""
        running = self._services.properties
        for pid, problem in wanted.problems.items():
            if self._problems.get(pid) != problem:
                log.error("%s: %s", pid, problem)
        self._problems = wanted.problems
        kept = {pid: running[pid] for pid in wanted.problems if pid in running}
        return {**wanted.configuration, **kept}

    async def _change_services(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        services = self._services
        services.reconfigure(wanted)
        steps = reconcile(services.properties, wanted)
        services.keep_failures(wanted)
        if steps.stop:
            log.info("Stopping %s", ", ".join(steps.stop))
            await self._write_result("updating (stopping services)")
            running = services.properties.keys() & set(steps.stop)
            await DeferredList([services.stop(pid) for pid in sorted(running)])
        due = [pid for pid in steps.start if services.is_due(pid)]
        if due:
            log.info("Starting %s", ", ".join(due))
            await self._write_result("updating (starting services)")
        for pid in due:
            if not self._stopping:
                services.start(pid, wanted[pid])
        self._schedule_retry()

    async def _settled(self) -> None:
        deadline_s = self._reactor.seconds() + SETTLE_TIMEOUT_S
        while not self._services.is_settled() and not self._stopping and not self._changed:
            if self._reactor.seconds() >= deadline_s:
                return
            await _later(self._reactor.callLater, SETTLE_POLL_S)

    # What the registry is told.

    def _poll_status(self) -> None:
        """Services may come to grief, and recover, long after they were started."""
        self._poll = self._reactor.callLater(STATUS_POLL_S, self._poll_status)
        if not self._pass_runs:
            self._write_outcome()
            if self._problems and stamp_of(self._context.home.master_key) != self._key_stamp:
                self._wake()  # somebody has brought the key

    def _write_outcome(self) -> Deferred[None]:
        running = tuple(sorted(self._services.properties))
        if self._effective is None:
            return succeed(None)
        if isinstance(self._effective, FabricError):
            return self._write(Provision(ERROR, str(self._effective), running))
        problems = [f"{pid}: {problem}" for pid, problem in sorted(self._problems.items())]
        problems += self._services.problems()
        texts = problems + self._services.notices()
        return self._write(Provision(ERROR if problems else SUCCESS, "\n".join(texts), running))

    def _write_result(self, result: str) -> Deferred[None]:
        if not self._is_new:
            return succeed(None)
        return self._write(Provision(result, services=tuple(sorted(self._services.properties))))

    def _write(self, provision: Provision) -> Deferred[None]:
        """Write it, unless it stands there. What cannot be written now is written when ZooKeeper is back."""
        if provision == self._written or self._stopping:
            return succeed(None)
        self._written = provision
        log.info("Provisioning: %s", provision.status)
        writing: Deferred[None] = self._writer.run(
            in_thread, self._reactor, self._containers.set_provision, self._context.container, provision
        )
        return writing.addErrback(self._not_written)

    def _not_written(self, failure: Failure) -> None:
        self._written = None
        if isinstance(failure.value, RegistryError):
            log.warning("The provisioning state could not be written: %s", failure.getErrorMessage())
        else:
            log.error("Writing the provisioning state failed:\n%s", failure.getTraceback())


def decrypted(configuration: Mapping[str, Mapping[str, str]], key_file: Path) -> Decrypted:
    """Decrypt what services are given; the keys are only looked at if something is encrypted."""
    if not has_encrypted(configuration):
        return Decrypted(configuration)
    from fabric.crypt import KeyFile  # noqa: PLC0415 - takes memory that most containers need not

    return decrypt_all(configuration, lambda text: KeyFile(key_file).read().decrypt(text))


def stamp_of(path: Path) -> tuple[int, ...]:
    """What is another when a file has changed; empty if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


def _later(call_later: Callable[..., object], delay_s: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    call_later(delay_s, waiting.callback, None)
    return waiting
