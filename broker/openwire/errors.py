"""What can go wrong in OpenWire.

::

    CodecError        bytes that are no command, or a command that has no bytes; the broker's own
    └── FrameTooLarge a frame above the limit that was negotiated
"""

from __future__ import annotations

from broker.errors import CodecError

__all__ = ["CodecError", "FrameTooLarge"]


class FrameTooLarge(CodecError):
    """The frame is larger than the negotiated limit."""

    def __init__(self, size: int, size_max: int) -> None:
        super().__init__(f"Frame size of {size} bytes is larger than the maximum of {size_max} bytes")
        self.size = size
        self.size_max = size_max
