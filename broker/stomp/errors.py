"""What can be wrong with a STOMP frame.

::

    FrameInvalid      its client is told, and the connection ends
"""

from __future__ import annotations

from broker.errors import RequestInvalid


class FrameInvalid(RequestInvalid):
    """The frame is not what STOMP allows."""
