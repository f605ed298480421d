"""A reactor for unit tests: its clock stands still until it is moved, its threads run at once."""

from collections.abc import Callable

from twisted.internet.task import Clock


class FakePool:
    """A thread pool without threads."""

    started = True

    def callInThreadWithCallback(  # noqa: N802 - Twisted's name
        self,
        on_result: Callable[[bool, object], None] | None,
        call: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> None:
        """Call now, and hand over the result."""
        from twisted.python.failure import Failure

        try:
            result, success = call(*args, **kw), True
        except Exception:  # noqa: BLE001 - as the real one: whatever is raised is the result
            result, success = Failure(), False
        if on_result is not None:
            on_result(success, result)

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""


class FakeReactor(Clock):
    """What `fabric.reactor.Reactor` asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self.readers: list[object] = []
        self.pool = FakePool()

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:  # noqa: N802 - Twisted's name
        """Keep the call for `turn`."""
        self.posted.append((call, args))

    def getThreadPool(self) -> FakePool:  # noqa: N802 - Twisted's name
        """The threads."""
        return self.pool

    def addReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Watch a descriptor; tests call its `doRead`."""
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Watch it no longer."""
        self.readers.remove(reader)

    def turn(self) -> None:
        """Run what is posted, and what is posted by that."""
        while self.posted:
            call, args = self.posted.pop(0)
            call(*args)

    def pass_time(self, seconds: float, step_s: float = 0.25) -> None:
        """Let the time pass in steps, each a turn."""
        self.turn()
        end_s = self.seconds() + seconds
        while self.seconds() < end_s - 1e-9:
            self.advance(min(step_s, end_s - self.seconds()))
            self.turn()
