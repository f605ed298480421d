"""Where the brokers of a group serve, for clients that want to know where else they could go."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Cluster:
    """What the masters of a group publish. Belongs in the reactor's thread.

    Attributes:
        urls: of all masters' connectors, this broker's own among them, in the order of their election.
        listeners: called when that has changed; the values are of no interest.
    """

    def __init__(self) -> None:
        self.urls: tuple[str, ...] = ()
        self.listeners: dict[Callable[[], None], None] = {}
        self._turns = -1

    def update(self, urls: Iterable[str]) -> None:
        """The group has published this."""
        urls = tuple(urls)
        if urls != self.urls:
            self.urls = urls
            for listener in list(self.listeners):
                listener()

    def urls_of(self, scheme: str, *, turned: bool = False) -> list[str]:
        """Where the clients of one kind of connector could go.

        Args:
            scheme: of the connector's URL.
            turned: begin with another broker each time, so that clients that go to the first one spread.
        """
        prefix = f"{scheme}://"
        urls = [url for url in self.urls if url.startswith(prefix)]
        if not turned or not urls:
            return urls
        self._turns += 1
        first = self._turns % len(urls)
        return urls[first:] + urls[:first]
