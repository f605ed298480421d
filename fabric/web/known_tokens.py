"""All tokens in memory: whose token it is that a request shows is known in microseconds."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.defer import Deferred, TimeoutError

from fabric.web.errors import Refused
from fabric.web.tokens import TEXT, TokenRecord, digest
from registry.errors import RegistryError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from broker.reactor import Clock

READING_MAX: Final = 100
"""Tokens that the registry is asked for at a time: who makes some up costs it no more than this."""
READ_S_MAX: Final = 10.0
"""How long it may take to answer."""

ReadToken = Callable[[str, Callable[[TokenRecord | RegistryError | None], None]], None]
"""See `TokenStore.read_later`."""


class KnownTokens:
    """The registry's tokens, as they were delivered last. In the reactor's thread.

    A token that is not there is asked for once: it may have been made a moment ago, and before the first
    delivery nothing is there.

    Args:
        now_s: seconds since 1970.
        read: asks the registry.
        clock: for answers that do not come.
    """

    def __init__(self, now_s: Callable[[], float], read: ReadToken, clock: Clock) -> None:
        self._now_s = now_s
        self._read = read
        self._clock = clock
        self._records: Mapping[str, TokenRecord] = {}
        self._reading = 0

    def set_records(self, records: Mapping[str, TokenRecord]) -> None:
        """The tokens have changed."""
        self._records = records

    async def find(self, text: str) -> TokenRecord | None:
        """The token with this text, None if it is none, was revoked or has expired.

        Raises:
            Refused: the registry cannot be asked.
        """
        match = TEXT.fullmatch(text)
        if match is None:
            return None
        record = self._records.get(match[1]) or await self._asked(match[1])
        if record is None or not hmac.compare_digest(record.digest.encode(), digest(text).encode()):
            return None
        return self._valid(record)

    def get(self, token_id: str) -> TokenRecord | None:
        """The token of this id, None if it was revoked or has expired."""
        record = self._records.get(token_id)
        return None if record is None else self._valid(record)

    def _valid(self, record: TokenRecord) -> TokenRecord | None:
        return None if self._now_s() >= record.expires else record

    async def _asked(self, token_id: str) -> TokenRecord | None:
        """A token as the registry has it. Raises `Refused`."""
        if self._reading >= READING_MAX:
            raise Refused(503, "Too many tokens are being looked up.", "Try again in a second.")
        answered: Deferred[TokenRecord | RegistryError | None] = Deferred()
        answered.addTimeout(READ_S_MAX, cast("IReactorTime", self._clock))
        self._reading += 1
        try:
            self._read(token_id, lambda found: None if answered.called else answered.callback(found))
            found = await answered
        except TimeoutError:
            found = RegistryError("It does not answer.")
        finally:
            self._reading -= 1
        if isinstance(found, RegistryError):
            raise Refused(503, "The registry cannot be asked for this token.", "Is ZooKeeper up?")
        return found
