"""When a slow disk commits what clients wait for: at once, or with what others will wait for soon. Pure.

Clients that send one message at a time ask again when they are answered. Without a delay the first of them
start a commit, the others wait for the next one, and the two halves take turns: each commit has half of the
messages that it could have had. So where a commit takes long, what is asked while it runs waits for its end,
and then a little for those whom it answers::

    commit of a,b,c,d ........ done, answered      a b c d ask again
      e f g h ask, and wait                    ───┬─────────────────▶ commit of all eight
                                                  └─ at most DELAY_SHARE of what a commit takes

How many are waited for is learned: one more than there were the last time, and no more than can come.

Source: PostgreSQL's `commit_delay` and `commit_siblings`.
"""

from __future__ import annotations

from typing import Final

from journal.options import BUSY_BYTES

DELAY_SHARE: Final = 0.25
"""How long is waited for others, of what a commit takes: what is lost at most where they do not come."""
DELAY_S_MAX: Final = 0.005
"""And no longer than this: a client that is answered asks again within a millisecond or two."""


class CommitDelay:
    """Learns from each commit who comes back when he is answered."""

    def __init__(self) -> None:
        self._flushed = 0
        """The last batch whose commit was asked for."""
        self._held = 0
        """How many clients waited for it."""
        self._expected = 0
        self._until_s = 0.0

    def flushed(self, batch: int, held: int) -> None:
        """The commit of everything up to `batch` is asked for; so many clients wait for it."""
        self._flushed = batch
        self._held = held

    def durable(self, answered: int, held: int, commit_s: float, now_s: float) -> None:
        """A commit has ended: so many clients are answered, so many wait already for the next one."""
        self._expected = min(held + answered, self._held + 1)
        self._until_s = now_s + min(commit_s * DELAY_SHARE, DELAY_S_MAX)

    def wait_s(self, held: int, durable_batch: int, waiting_bytes: int, now_s: float) -> float | None:
        """Return how long a commit is put off.

        Args:
            held: how many clients wait.
            durable_batch: the last batch that is committed.
            waiting_bytes: what is not committed yet.
            now_s: monotonic.

        Returns:
            0 not at all, None until the commit that is under way has ended; otherwise seconds from now,
            unless somebody comes earlier.
        """
        if waiting_bytes > BUSY_BYTES:
            return 0.0
        if self._flushed > durable_batch:
            return None
        if not 0 < held < self._expected:
            return 0.0
        return max(self._until_s - now_s, 0.0)
