"""Branches of distributed transactions: what identifies them, and what their managers are told.

Source: X/Open, Distributed Transaction Processing: The XA Specification, 1991; `javax.transaction.xa`.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final, NamedTuple

from broker.errors import BranchRefused

READ_ONLY: Final = -1
"""In place of a batch: a branch that did nothing is prepared, and ended with that."""
XID_BYTES_MAX: Final = 64
"""Of each of the two parts of an id. Source: XA, §4.2."""
XID: Final = "XID:["
"""The text of an id begins with this, and the name of no local transaction does."""
_TEXT: Final = re.compile(r"XID:\[(-?\d+),globalId=([0-9a-f]*),branchId=([0-9a-f]*)\]")


class XaCode(IntEnum):
    """Error codes that are used here; names and numbers are those of XA."""

    RB_ROLLBACK = 100
    RB_OTHER = 104
    HEURISTIC_COMMIT = 7
    RETRY = 4
    HEURISTIC_ROLLBACK = 6
    NOT_KNOWN = -4
    INVALID = -5
    PROTOCOL = -6
    DUPLICATE_ID = -8


class Xid(NamedTuple):
    """What identifies a branch.

    Attributes:
        format_id: who has made it, and how.
        global_id: of the transaction; at most 64 bytes.
        branch: of the transaction; at most 64 bytes.
    """

    format_id: int
    global_id: bytes
    branch: bytes

    def check(self) -> Xid:
        """The id itself if it can be one.

        Raises:
            BranchRefused: a part of it is too long, or it has no transaction.
        """
        if not 0 < len(self.global_id) <= XID_BYTES_MAX or len(self.branch) > XID_BYTES_MAX:
            raise BranchRefused(
                f"Each part of a branch's id has at most {XID_BYTES_MAX} bytes, the first at least one.",
                XaCode.INVALID,
            )
        return self

    @property
    def text(self) -> str:
        """The way ActiveMQ writes it, with all digits."""
        return f"{XID}{self.format_id},globalId={self.global_id.hex()},branchId={self.branch.hex()}]"

    @classmethod
    def parse(cls, text: str) -> Xid:
        """The reverse of `text`.

        Raises:
            ValueError: it is none.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no branch's id")
        return cls(int(match[1]), bytes.fromhex(match[2]), bytes.fromhex(match[3]))


def not_known(xid: str) -> BranchRefused:
    """The answer to whoever asks for a branch that there is not."""
    return BranchRefused(f"Transaction '{xid}' has not been started.", XaCode.NOT_KNOWN)
