"""What a peer may ask of the codec. Each limit names its unit, its reason and its precedent."""

from __future__ import annotations

# Bytes of one frame. ActiveMQ's shipped configuration sets the same (wireFormat.maxFrameSize=104857600).
FRAME_SIZE_MAX_DEFAULT = 104_857_600

# Bytes of the peer's WireFormatInfo, the frame before all others: ActiveMQ limits its content to 64
# properties of 512 bytes, which stays below this.
HANDSHAKE_FRAME_SIZE_MAX = 65_536

# Properties of a WireFormatInfo, and bytes of one text in it. ActiveMQ 5.18 and later have the same limits.
HANDSHAKE_PROPERTIES_MAX = 64
HANDSHAKE_TEXT_SIZE_MAX = 512

# Structures within structures; an advisory about a dead letter, the deepest there is, needs 6.
NESTING_DEPTH_MAX = 16

# Causes of a Java exception, each a nested one; Java's own print-out becomes unreadable long before.
CAUSES_MAX = 32

# Elements of an array or lines of a stack trace: what the 16-bit count can say; negative ones are refused.
ARRAY_LENGTH_MAX = 32_767

# Bytes of one string: loose encoding has an unsigned 16-bit length, Apache's tight encoder stops at 32766.
LOOSE_STRING_SIZE_MAX = 65_535
TIGHT_STRING_SIZE_MAX = 32_766

# Entries of each direction's cache: ActiveMQ's default, its ceiling, and the number of free places that its
# sender keeps, above which a cache must be for that sender to work at all.
CACHE_SIZE_DEFAULT = 1024
CACHE_SIZE_MAX = 16_383
CACHE_FREE_PLACES = 100
