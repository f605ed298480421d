"""Where the masters of a group serve, kept current for clients.

Source: fabric8 ``FabricDiscoveryAgent``. Better than there: the url of a master that left is dropped as
soon as anybody else of its group is there to show that the registry is healthy; a client need not wait for
TCP to notice.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from registry import paths
from registry.errors import NoSuchNode, RegistryUnavailable
from registry.group import GroupView
from registry.members import MemberRecord, active_members, masters
from registry.nonblocking import NonblockingSession
from registry.placeholders import has_placeholder, resolve_later
from registry.session import Session, SessionState

CLIENT_SCHEMES = ("tcp", "ssl", "nio", "nio+ssl")
"""What an OpenWire client can connect to."""

GROUPS_ASKED_MAX = 100
"""Groups that are asked for their members, one after the other, for a hint."""


def groups_with_members(session: Session) -> list[str]:
    """Names of the groups of brokers that have members, sorted; of very many only the first. Blocks.

    Raises:
        RegistryUnavailable: there is no connection now; that is not waited for.
        RegistryError: they cannot be read.
    """
    if session.state is not SessionState.CONNECTED:
        raise RegistryUnavailable(f"No connection with ZooKeeper at {session.url}.")
    try:
        names = session.children(paths.amq_groups())[:GROUPS_ASKED_MAX]
        return [name for name in names if session.children(paths.amq_group(name))]
    except NoSuchNode:
        return []


@dataclass(frozen=True, slots=True)
class Master:
    """The first active member of a broker.

    Attributes:
        broker: its name.
        container: where it runs.
        urls: where it serves, without placeholders; none while it is only about to.
    """

    broker: str
    container: str
    urls: tuple[str, ...]


class MastersView:
    """Tells the masters of a group, the one that joined first in front.

    What is known is kept while ZooKeeper is out of reach, and while the group has no member at all: both say
    nothing about the brokers. While it has members, the masters are exactly those.
    """

    def __init__(
        self,
        session: NonblockingSession,
        group: str,
        on_change: Callable[[tuple[Master, ...]], None],
        *,
        on_empty: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it; nothing is read before `start`.

        Args:
            session: Whose owner's thread `on_change` is called in.
            group: Name of the broker group, such as ``default``.
            on_change: Called with all masters whenever the group has been looked at.
            on_empty: Called when that has shown nobody: those that were told may serve on, or not.
        """
        self._session = session
        self._on_change = on_change
        self._on_empty = on_empty
        self._round = 0  # addresses looked up for an earlier round are out of date
        self._closed = False
        self._view = GroupView(session, paths.amq_group(group), self._on_group)

    def start(self) -> None:
        """Begin to read. From any thread."""
        self._view.start()

    def close(self) -> None:
        """Tell nothing more. From any thread; in the owner's thread it holds from this moment on."""
        self._closed = True
        self._session.post(self._view.cancel)

    def _on_group(self) -> None:
        if not self._view.complete:
            return
        if not active_members(self._view.values):
            if not self._closed:
                self._on_empty()
            return
        self._round += 1
        self._resolve(list(masters(self._view.values).values()), (), self._round)

    def _resolve(self, records: list[MemberRecord], found: tuple[Master, ...], number: int) -> None:
        """Replace the placeholders of one master after the other, and tell."""
        if not records:
            if not self._closed:
                self._on_change(found)
            return
        record, *rest = records

        def on_resolved(urls: tuple[str, ...]) -> None:
            if number == self._round:
                self._resolve(rest, (*found, Master(record.id, record.container, urls)), number)

        self._resolve_urls(record.services, (), on_resolved)

    def _resolve_urls(
        self, urls: tuple[str, ...], resolved: tuple[str, ...], done: Callable[[tuple[str, ...]], None]
    ) -> None:
        """Replace placeholders in one url after the other; those that cannot be are left out."""
        while urls and not has_placeholder(urls[0]):
            resolved += (urls[0],)
            urls = urls[1:]
        if not urls:
            done(resolved)
            return

        def on_resolved(url: str | None) -> None:
            self._resolve_urls(urls[1:], resolved if url is None else (*resolved, url), done)

        resolve_later(self._session, urls[0], on_resolved)


class DiscoveryView:
    """Tells the urls of a group's masters, in the order and with the caution of `MastersView`."""

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
        self._on_change = on_change
        self._broker_id = broker_id
        self._schemes = frozenset(schemes)
        self._urls: tuple[str, ...] = ()
        self._masters: tuple[Master, ...] = ()
        self._view = MastersView(session, group, self._on_masters)

    @property
    def urls(self) -> tuple[str, ...]:
        """What was told last."""
        return self._urls

    @property
    def masters(self) -> tuple[Master, ...]:
        """All masters of the group as they were seen last, also those whose urls are not told."""
        return self._masters

    def start(self) -> None:
        """Begin to read. From any thread."""
        self._view.start()

    def close(self) -> None:
        """Tell nothing more. From any thread; in the owner's thread it holds from this moment on."""
        self._view.close()

    def _on_masters(self, found: tuple[Master, ...]) -> None:
        self._masters = found
        chosen = (one for one in found if self._broker_id is None or one.broker == self._broker_id)
        urls = (url for one in chosen for url in one.urls if url.partition("://")[0] in self._schemes)
        usable = tuple(dict.fromkeys(urls))
        if usable != self._urls:
            self._urls = usable
            self._on_change(usable)
