"""The realms of a container, as a service.

All services of the container share them: one memory, one number of checks at a time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from twisted.python.threadpool import ThreadPool

from fabric.reactor import in_pool, in_thread
from fabric.realms import ENTRY_POINT_GROUP, Realm, RealmInvalid, duration_s
from fabric.realms.chain import CHECKED_TOGETHER, GRACE_S, RIGHT_S, Answer, RealmChain

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from fabric.services import ServiceContext

log: Final = logging.getLogger(__name__)

REALMS_MAX: Final = 10

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class AuthenticationService:
    """The realms; `chain` is who asks them."""

    def __init__(self, context: ServiceContext, properties: Mapping[str, str]) -> None:
        self._context = context
        self._pool = ThreadPool(0, CHECKED_TOGETHER, "realms")
        self.chain = self._make(properties)

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Be ready for checks."""
        self._pool.start()
        log.info(
            "Logins are also checked by: %s", ", ".join(realm.name for realm in self.chain.realms) or "nobody"
        )

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Close all connections."""
        return in_thread(self._context.reactor, self._stop, self.chain)

    def reconfigure(self, properties: Mapping[str, str]) -> bool:
        """Take other properties over; who is connected keeps his roles."""
        try:
            chain = self._make(properties)
        except RealmInvalid:
            return False
        chain.take_over(self.chain)
        self.chain = chain  # what the other one is asked already is answered; its connections end with it
        return True

    def status(self) -> Mapping[str, object]:
        """Return which realms there are."""
        notices = [realm.notice for realm in self.chain.realms if realm.notice]
        found: dict[str, object] = {"role": "realms", "realms": [realm.name for realm in self.chain.realms]}
        return {**found, "notice": "; ".join(notices)} if notices else found

    def _stop(self, chain: RealmChain) -> None:
        self._pool.stop()
        for realm in chain.realms:
            realm.close()

    def _make(self, properties: Mapping[str, str]) -> RealmChain:
        def run(call: Callable[[], Answer], done: Callable[[Answer], None]) -> None:
            in_pool(self._context.reactor, self._pool, call).addCallback(done)

        return RealmChain(
            read_realms(properties),
            run,
            self._context.reactor.seconds,
            right_s=duration_s("cache", properties, "cache.timeToLive", int(RIGHT_S * 1000)),
            grace_s=duration_s("cache", properties, "cache.grace", int(GRACE_S * 1000)),
        )


def read_realms(properties: Mapping[str, str]) -> list[Realm]:
    """The realms that properties describe. Raises `RealmInvalid`."""
    names = list(dict.fromkeys(properties.get("realms", "").replace(",", " ").split()))
    if len(names) > REALMS_MAX:
        raise RealmInvalid(f"realms names {len(names)}; at most {REALMS_MAX} are possible.")
    kinds = {each.name: each for each in entry_points(group=ENTRY_POINT_GROUP)}
    realms: list[Realm] = []
    for name in names:
        kind = properties.get(f"{name}.type") or name
        if not _NAME.fullmatch(name) or kind not in kinds:
            raise RealmInvalid(
                f"The realm {name!r} is of the kind {kind!r}; there is: {', '.join(sorted(kinds))}. "
                f"A realm of any other name says with {name}.type which of these it is."
            )
        own = {
            key.removeprefix(f"{name}."): value
            for key, value in properties.items()
            if key.startswith(f"{name}.")
        }
        realms.append(kinds[kind].load()(name, own))
    return realms
