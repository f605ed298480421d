"""The named limits of what a STOMP client may send."""

from __future__ import annotations

from typing import Final

COMMAND_BYTES_MAX: Final = 1_024
"""Bytes of a command's line. Source: ActiveMQ's `StompWireFormat`."""

HEADER_BYTES_MAX: Final = 10 * 1_024
"""Bytes of one header's line. Source: the same."""

HEADERS_MAX: Final = 1_000
"""Headers of one frame. Source: the same."""

HEAD_BYTES_MAX: Final = 1_024 * 1_024
"""Bytes of a frame's command and headers together. The two limits above would allow ten times as much, which
nobody sends; ActiveMQ's `maxFrameSize` counts them, and allows anything unless it is set."""

ANONYMOUS_BYTES_MAX: Final = 64 * 1_024
"""Bytes of a frame before login. CONNECT has a handful of short headers and no body."""

ERROR_CHARACTERS_MAX: Final = 1_000
"""Characters of an error's text told to a client; it may quote the client's own words."""

REMEMBERED_HEADS_MAX: Final = 64
"""Different headers of SEND frames whose meaning one connection remembers; a producer sends the same over and
over."""

REMEMBERED_HEAD_BYTES_MAX: Final = 512
"""Longer ones are not remembered, so that this memory stays below 100 KiB a connection."""

HEART_BEAT_MS_MIN: Final = 1_000
"""Shortest time between two heart-beats that this side promises: idle connections are looked at once a
second."""

HEART_BEAT_MS_MAX: Final = 24 * 3_600_000
"""Longest that is told apart from none."""
