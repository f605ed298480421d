"""Where the masters of a group serve, kept current for clients.

Source: fabric8 ``FabricDiscoveryAgent``. Better than there: the url of a master that left is dropped as
soon as anybody else of its group is there to show that the registry is healthy; a client need not wait for
TCP to notice.
"""

from collections.abc import Callable, Iterable

from registry import paths
from registry.group import GroupView
from registry.members import active_members, masters
from registry.nonblocking import NonblockingSession
from registry.placeholders import has_placeholder, resolve_later

CLIENT_SCHEMES = ("tcp", "ssl", "nio", "nio+ssl")
"""What an OpenWire client can connect to."""


class DiscoveryView:
    """Tells the urls of a group's masters, those of the broker that joined first in front.

    Known urls are kept while ZooKeeper is out of reach, and while the group has no member at all: both say
    nothing about the brokers. While it has members, the urls are exactly those of the masters.
    """

    def __init__(
        self,
        session: NonblockingSession,
        group: str,
        on_change: Callable[[tuple[str, ...]], None],
        *,
        broker_id: str | None = None,
        schemes: Iterable[str] = CLIENT_SCHEMES,
    ) -> None:
        """Make it; nothing is read before `start`.

        Args:
            session: Whose owner's thread `on_change` is called in.
            group: Name of the broker group, such as ``default``.
            on_change: Called with all urls when they have changed; at first when there are any.
            broker_id: Only this broker's.
            schemes: Only urls of these.
        """
        self._session = session
        self._on_change = on_change
        self._broker_id = broker_id
        self._schemes = frozenset(schemes)
        self._urls: tuple[str, ...] = ()
        self._round = 0  # addresses looked up for an earlier round are out of date
        self._closed = False
        self._view = GroupView(session, paths.amq_group(group), self._on_group)

    @property
    def urls(self) -> tuple[str, ...]:
        """What was told last."""
        return self._urls

    def start(self) -> None:
        """Begin to read. From any thread."""
        self._view.start()

    def close(self) -> None:
        """Tell nothing more. From any thread; in the owner's thread it holds from this moment on."""
        self._closed = True
        self._session.post(self._view.cancel)

    def _on_group(self) -> None:
        if not self._view.complete or not active_members(self._view.values):
            return
        self._round += 1
        chosen = masters(self._view.values)
        if self._broker_id is not None:
            chosen = {key: record for key, record in chosen.items() if key == self._broker_id}
        self._resolve([url for record in chosen.values() for url in record.services], (), self._round)

    def _resolve(self, urls: list[str], resolved: tuple[str, ...], number: int) -> None:
        """Replace placeholders in one url after the other, and tell."""
        while urls and not has_placeholder(urls[0]):
            resolved += (urls.pop(0),)
        if not urls:
            self._tell(resolved)
            return

        def on_resolved(url: str | None) -> None:
            if number == self._round:
                self._resolve(urls[1:], resolved if url is None else (*resolved, url), number)

        resolve_later(self._session, urls[0], on_resolved)

    def _tell(self, urls: Iterable[str]) -> None:
        usable = tuple(dict.fromkeys(url for url in urls if url.partition("://")[0] in self._schemes))
        if usable != self._urls and not self._closed:
            self._urls = usable
            self._on_change(usable)
