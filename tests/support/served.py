"""The server of any protocol over a region in memory, for bytes that no honest client would send.

The clock stands still unless told; the journal makes everything durable when the region is settled.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from support.memory_broker import Users
from support.region import MemoryStore, new_region

from broker import naming
from broker.config import BrokerConfig
from broker.connector import ProtocolServer
from broker.protocols import server_builder
from broker.region.region import Region
from broker.serving import ServerContext
from broker.stomp import server as stomp_server

_NUMBERS = ((naming, "_connections"), (stomp_server, "_numbers"))
"""What the servers of a process count."""


class Served:
    """A region, and one client's server at a time.

    Attributes:
        said: what the server wrote to the client of the moment.
        now_s: monotonic seconds.
    """

    def __init__(
        self,
        connector: str,
        properties: Mapping[str, str] | None = None,
        *,
        counting_on: bool = False,
    ) -> None:
        given = {"connectors": connector, "broker-name": "b", **(properties or {})}
        (self._config,) = BrokerConfig.from_properties(given, container="c").connectors
        self.region: Region = new_region()
        self._users = Users()
        self.said = b""
        self.now_s = 0.0
        self.server: ProtocolServer
        for module, name in () if counting_on else _NUMBERS:  # the same bytes get the same answers
            setattr(module, name, itertools.count(1))

    def connect(self) -> None:
        """One more client comes."""
        self.said = b""
        context = ServerContext(
            self._config, self.region, self._users, "ID:broker-1", "broker", "tcp://127.0.0.1:1"
        )
        self.server = server_builder(context)("tcp://127.0.0.1:2", self.now_s, lambda: None)

    def feed(self, data: bytes, cuts: Sequence[int] = ()) -> None:
        """The client says something, in pieces that end at these places."""
        start = 0
        for cut in (*sorted(cuts), len(data)):
            if cut > start:
                self.server.receive_data(data[start:cut], self.now_s)
                start = cut

    def settle(self) -> None:
        """The journal makes everything durable, what can be dispatched is, the client reads."""
        store = self.region.store
        assert isinstance(store, MemoryStore)
        for _ in range(4):  # what becomes durable may append more
            store.durable_batch = len(store.batches)
            self.region.durable(store.durable_batch)
            self.server.durable(store.durable_batch)
            self.region.dispatch()
        self.said += self.server.data_to_send()
        connection = self.server.connection
        if connection is not None and not connection.closed:
            connection.replenish()

    def pass_time(self, seconds: float) -> None:
        """The clock goes on."""
        self.now_s += seconds
        self.region.advance(self.region.now_ms + int(seconds * 1000))
        deadline_s = self.server.deadline_s
        if deadline_s is not None and deadline_s <= self.now_s:
            self.server.handle_deadline(self.now_s)
        self.settle()

    def hang_up(self) -> None:
        """The socket is gone."""
        self.server.connection_lost("gone")
        self.said += self.server.data_to_send()

    def answers(self, data: bytes, cuts: Sequence[int] = ()) -> bytes:
        """All that a new client is told that says this, whether it is cut or not."""
        self.connect()
        self.feed(data, cuts)
        self.settle()
        self.hang_up()
        return self.said
