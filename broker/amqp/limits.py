"""What a peer may ask of this protocol. Each limit names its unit, its reason and its precedent."""

from __future__ import annotations

from typing import Final

SASL_FRAME_BYTES_MAX: Final = 16 * 1024
"""Bytes of one SASL frame: user and password of 1,024 characters each, four bytes a character, twice. The
specification (5.3.1) says 512, which long passwords do not fit."""

CHANNEL_MAX: Final = 32_767
"""Highest number of a session's channel. Source: ActiveMQ's `CHANNEL_MAX`."""

COORDINATOR_CREDIT: Final = 1_000
"""The same for transactions' beginnings and ends."""

PARTIAL_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of messages that have come in part, over all links of one connection. A message itself ends at the
connector's `wireFormat.maxFrameSize`."""

NESTING_DEPTH_MAX: Final = 32
"""Values within values; described types, maps, lists and arrays count one each. Proton's own reader is not
asked to go deeper either."""

ARRAY_ITEMS_MAX: Final = 65_536
"""Elements of one array: some types take no bytes, so that their number alone would take memory."""

ERROR_CHARACTERS_MAX: Final = 1_000
"""Characters of an error's text told to a client; it may quote the client's own strings."""
