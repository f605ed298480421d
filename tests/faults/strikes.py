"""What each fault does to a lab, and how it is repaired."""

import contextlib
from collections.abc import Callable, Iterator

from faults.lab import BROKERS, ZOOKEEPERS, Lab
from faults.plan import Kind

LATENCY_MS, LOSS = 200.0, 0.05
HOUR_S = 3600.0

Strike = contextlib.AbstractContextManager[None]


class Strikes:
    """Entered, a fault strikes; left, it is repaired, whatever happened meanwhile."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._doing: dict[Kind, Callable[[str], Strike]] = {
            Kind.REGISTRY: self._registry,
            Kind.STORE: self._store,
            Kind.CLIENTS: self._clients,
            Kind.EVERYTHING: self._everything,
            Kind.ONE_ZOOKEEPER: self._one_zookeeper,
            Kind.QUORUM: self._quorum,
            Kind.MINORITY: self._minority,
            Kind.PAUSE: self._pause,
            Kind.KILL: self._kill,
            Kind.LINE: self._line,
            Kind.CLOCK: self._clock,
        }
        assert set(self._doing) == set(Kind)

    def strike(self, kind: Kind, master: str) -> Strike:
        """The fault, done to whoever is master now."""
        return self._doing[kind](master)

    @contextlib.contextmanager
    def _cut(self, host: str, peers: tuple[str, ...]) -> Iterator[None]:
        links = self._lab.links[host]
        try:
            links.cut([self._lab.hosts[peer] for peer in peers])
            yield
        finally:
            links.heal()

    def _registry(self, master: str) -> Strike:
        return self._cut(master, ZOOKEEPERS)

    def _clients(self, master: str) -> Strike:
        return self._cut(master, ("client",))

    @contextlib.contextmanager
    def _everything(self, master: str) -> Iterator[None]:
        """Its network, and its store with it: that is behind the same cable."""
        links = self._lab.links[master]
        try:
            self._lab.hold_store(master)
            links.cut_all()
            yield
        finally:
            links.heal()
            self._lab.release_store(master)

    @contextlib.contextmanager
    def _store(self, master: str) -> Iterator[None]:
        self._lab.hold_store(master)
        try:
            yield
        finally:
            self._lab.release_store(master)

    @contextlib.contextmanager
    def _lose(self, *zookeepers: str) -> Iterator[None]:
        for name in zookeepers:
            self._lab.hosts[name].kill()
        try:
            yield
        finally:
            for name in zookeepers:
                self._lab.start_process(name)

    def _one_zookeeper(self, master: str) -> Strike:
        del master
        return self._lose(ZOOKEEPERS[0])

    def _quorum(self, master: str) -> Strike:
        del master
        return self._lose(*ZOOKEEPERS[:2])

    @contextlib.contextmanager
    def _minority(self, master: str) -> Iterator[None]:
        """One ZooKeeper and the master can talk to each other, and with no other server of the ensemble."""
        alone, *others = ZOOKEEPERS
        with self._cut(master, tuple(others)), self._cut(alone, (*others, *_others_of(master))):
            yield

    @contextlib.contextmanager
    def _pause(self, master: str) -> Iterator[None]:
        host = self._lab.hosts[master]
        host.freeze()
        try:
            yield
        finally:
            host.thaw()

    @contextlib.contextmanager
    def _kill(self, master: str) -> Iterator[None]:
        self._lab.hosts[master].kill()
        try:
            yield
        finally:
            self._lab.start_process(master)

    @contextlib.contextmanager
    def _line(self, master: str) -> Iterator[None]:
        links = self._lab.links[master]
        try:
            links.worsen(latency_ms=LATENCY_MS, loss=LOSS)
            yield
        finally:
            links.heal()

    @contextlib.contextmanager
    def _clock(self, master: str) -> Iterator[None]:
        self._lab.move_clock(master, -HOUR_S)
        try:
            yield
        finally:
            self._lab.move_clock(master, 0)


def _others_of(master: str) -> tuple[str, ...]:
    return tuple(name for name in BROKERS if name != master)
