"""An owner's thread for unit tests: this one, when told, with a clock that stands still until it is moved."""

from collections.abc import Callable

from support.fake_zookeeper import FakeZooKeeper

from registry.session import Session


class Pump:
    """Keeps what sessions post until `run`, and their timers until `advance`."""

    def __init__(self) -> None:
        self.posted: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.now_s = 0.0

    def run(self) -> None:
        """Run what is posted, and what is posted by that."""
        while self.posted:
            self.posted.pop(0)()

    def advance(self, seconds: float) -> None:
        """Move the clock, running timers at their time."""
        end_s = self.now_s + seconds
        self.run()
        while self.timers and min(self.timers, key=lambda timer: timer[0])[0] <= end_s:
            timer = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(timer)
            self.now_s = timer[0]
            timer[1]()
            self.run()
        self.now_s = end_s

    def set_timer(self, delay_s: float, call: Callable[[], None]) -> None:
        """Run `call` when the clock has moved by `delay_s`."""
        self.timers.append((self.now_s + delay_s, call))

    def open_session(self, zookeeper: FakeZooKeeper) -> Session:
        """Open a session that belongs to this thread. It needs no closing."""
        session = Session(
            "fake:1",
            "x",
            post=self.posted.append,
            set_timer=self.set_timer,
            client_factory=zookeeper.client,
        )
        session.start()
        self.run()
        return session
