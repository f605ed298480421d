"""What a client of MQTT may ask for. Each limit names its unit, its reason and its precedent."""

from __future__ import annotations

from typing import Final

LENGTH_BYTES_MAX: Final = 4
"""Bytes of a variable byte integer. Source: MQTT 5.0 §1.5.5."""

LENGTH_MAX: Final = 268_435_455
"""Bytes that may follow a packet's fixed header: what four bytes can say."""

TEXT_BYTES_MAX: Final = 65_535
"""Bytes of one text or of one binary field: what its 16-bit length can say."""

PACKET_IDS_MAX: Final = 65_535
"""Packet identifiers of one direction, 0 excepted."""

CONNECT_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a CONNECT packet, which anybody may send: its five texts can have 320 KiB, the rest is for user
properties. OpenWire's frames before the login have the same limit here."""

WAITING_BYTES_MAX: Final = 1024 * 1024
"""Bytes kept of what follows a CONNECT that is not answered yet. The socket's owner should not read
meanwhile; then at most one read comes."""

USER_PROPERTIES_MAX: Final = 1_000
"""User properties of one packet: five bytes can be one, which takes forty times that in memory. Web servers
take about a hundred header lines."""

FILTERS_MAX: Final = 5_000
"""Topic filters of one SUBSCRIBE or UNSUBSCRIBE: a connection of the region has as many consumers."""

CACHED_TOPIC_BYTES_MAX: Final = 256
"""Bytes of a topic name whose check is remembered; real names are shorter."""

CACHED_TOPICS_MAX: Final = 4_096
"""Topic names whose check is remembered, of all connections together: about 1 MiB."""

RECEIVE_MAXIMUM: Final = 1_000
"""PUBLISH packets of QoS 1 and 2 that a client of 5.0 may send unanswered. Mosquitto allows 20 and EMQX 32;
ours are answered in batches, once per write of the journal, so that more of them may be under way."""

SEND_MAXIMUM: Final = 32_767
"""PUBLISH packets of QoS 1 and 2 that a client is sent unanswered, if it does not take less: half of the
identifiers, so that those of an earlier connection, which may be as many, leave enough."""

TOPIC_ALIASES_MAX: Final = 10
"""Topic aliases of one direction: each may hold a name of 64 KiB. Mosquitto has the same default."""

PROGRESS_BYTES: Final = 1_000
"""Bytes of a packet on its way that count as a sign of life: a large packet over a slow line is none of the
silence that keep alive ends, one byte now and then is. Mosquitto has the same."""
