"""Where messages go beside, or instead of, the destination they are sent to: the original's interceptors.

::

    useVirtualTopics = true                 a topic VirtualTopic.Orders feeds the queues
    virtualTopic.name = VirtualTopic.>      Consumer.A.VirtualTopic.Orders, Consumer.B.VirtualTopic.Orders, …
    virtualTopic.prefix = Consumer.*.
    compositeQueue.MY.QUEUE.forwardTo = queue://FOO, topic://BAR
    compositeQueue.MY.QUEUE.forwardOnly = false
    compositeTopic.NEWS.>.forwardTo = queue://ARCHIVE
    useMirroredQueues = true                a queue Q feeds the topic VirtualTopic.Mirror.Q

Pure configuration; `broker.region.routing` does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from broker.destination import Destination, DestinationKind
from broker.errors import ConfigurationInvalid, InvalidDestination
from broker.policies import ONE, REST, matches, specificity

VIRTUAL: Final = "virtualTopic."
_COMPOSITES: Final = {
    "compositeQueue.": DestinationKind.QUEUE,
    "compositeTopic.": DestinationKind.TOPIC,
}
_VIRTUAL_NAMES: Final = ("name", "prefix", "postfix", "selectorAware")
_COMPOSITE_NAMES: Final = ("forwardTo", "forwardOnly")


@dataclass(frozen=True, slots=True)
class VirtualTopics:
    """Topics each of which feeds the queues of its consumers' names.

    Attributes:
        name: elements of the pattern of the topics' names.
        prefix: elements before the topic's name in a queue's; `*` stands for the consumer's name.
        postfix: elements behind it.
        selector_aware: a queue is fed only with what a consumer of it selects.
    """

    name: tuple[str, ...] = ("VirtualTopic", REST)
    prefix: tuple[str, ...] = ("Consumer", ONE)
    postfix: tuple[str, ...] = ()
    selector_aware: bool = False

    def topic_of(self, queue: Sequence[str]) -> str | None:
        """The topic that feeds a queue, by the elements of its name; None if none does."""
        before, behind = len(self.prefix), len(queue) - len(self.postfix)
        topic = queue[before:behind]
        if (
            not topic
            or not matches(self.prefix, queue[:before])
            or tuple(queue[behind:]) != self.postfix
            or not self.covers(topic)
        ):
            return None
        return ".".join(topic)

    def covers(self, topic: Sequence[str]) -> bool:
        """Whether a topic is virtual, by the elements of its name."""
        return matches(self.name, topic)


@dataclass(frozen=True, slots=True)
class Composite:
    """Destinations whose messages go elsewhere, too.

    Attributes:
        kind: queue or topic.
        pattern: elements of the names it is about.
        forward_to: where they go.
        forward_only: they do not stay themselves.
    """

    kind: DestinationKind
    pattern: tuple[str, ...]
    forward_to: tuple[Destination, ...]
    forward_only: bool = True


@dataclass(frozen=True, slots=True)
class Forwarding:
    """All that a broker forwards.

    Attributes:
        virtual_topics: empty if it has none.
        composites: the more specific ones first.
        mirror: before and behind a queue's name in its mirror's; None: queues have no mirrors.
    """

    virtual_topics: tuple[VirtualTopics, ...] = (VirtualTopics(),)
    composites: tuple[Composite, ...] = ()
    mirror: tuple[str, str] | None = None

    @classmethod
    def parse(cls, properties: Mapping[str, str]) -> Forwarding:
        """Read what a broker's PID says of it.

        Raises:
            ConfigurationInvalid: a value is wrong; the text names it.
        """
        values = {key: value.strip() for key, value in properties.items() if value.strip()}
        mirror = None
        if _flag(values, "useMirroredQueues", "false"):
            prefix = values.get("mirroredQueue.prefix", "VirtualTopic.Mirror.")
            mirror = (prefix, values.get("mirroredQueue.postfix", ""))
        return cls(
            _virtual_topics(values) if _flag(values, "useVirtualTopics", "true") else (),
            _composites(values),
            mirror,
        )

    def composite_of(self, destination: Destination) -> Composite | None:
        """The most specific composite that a destination is."""
        elements = destination.name.split(".")
        for composite in self.composites:
            if composite.kind is destination.kind and matches(composite.pattern, elements):
                return composite
        return None

    def mirror_of(self, queue: Destination) -> Destination | None:
        """The topic that hears what is sent to a queue."""
        if self.mirror is None or queue.kind is not DestinationKind.QUEUE:
            return None
        prefix, postfix = self.mirror
        return Destination.topic(f"{prefix}{queue.name}{postfix}")


DEFAULT_FORWARDING: Final = Forwarding()


def _flag(values: Mapping[str, str], key: str, default: str) -> bool:
    value = values.get(key, default).lower()
    if value not in ("true", "false"):
        raise ConfigurationInvalid(f"{key} {value!r} is neither true nor false.")
    return value == "true"


def _virtual_topics(values: Mapping[str, str]) -> tuple[VirtualTopics, ...]:
    """One of the names in `virtualTopic.NAME`, or one per id in `virtualTopic.ID.NAME`."""
    groups: dict[str, None] = {}
    for key in values:
        if not key.startswith(VIRTUAL):
            continue
        name = key.rpartition(".")[2]
        if name not in _VIRTUAL_NAMES:
            raise ConfigurationInvalid(f"{key} is none of {', '.join(_VIRTUAL_NAMES)} of virtual topics.")
        groups[key.removesuffix(name)] = None
    return tuple(_virtual_topic(values, group) for group in groups or {VIRTUAL: None})


def _virtual_topic(values: Mapping[str, str], group: str) -> VirtualTopics:
    name = values.get(f"{group}name", "VirtualTopic.>").split(".")
    if REST in name[:-1] or not all(name):
        raise ConfigurationInvalid(f"{group}name {'.'.join(name)!r} is no pattern of topics' names.")
    prefix = values.get(f"{group}prefix", "Consumer.*.")
    if not prefix.endswith(".") or REST in prefix.split(".") or not all(prefix[:-1].split(".")):
        raise ConfigurationInvalid(
            f"{group}prefix {prefix!r} does not end with a dot, or is no beginning of queues' names."
        )
    postfix = values.get(f"{group}postfix", "")
    if postfix and not (postfix.startswith(".") and all(postfix[1:].split("."))):
        raise ConfigurationInvalid(f"{group}postfix {postfix!r} does not begin with a dot.")
    if _flag(values, f"{group}selectorAware", "false"):
        raise ConfigurationInvalid(f"{group}selectorAware is not supported yet; use false.")
    return VirtualTopics(
        tuple(name), tuple(prefix[:-1].split(".")), tuple(postfix[1:].split(".")) if postfix else ()
    )


def _composites(values: Mapping[str, str]) -> tuple[Composite, ...]:
    found: dict[str, tuple[DestinationKind, str]] = {}
    for key in values:
        for prefix, kind in _COMPOSITES.items():
            if key.startswith(prefix):
                pattern, _, name = key.removeprefix(prefix).rpartition(".")
                if name not in _COMPOSITE_NAMES or not pattern:
                    raise ConfigurationInvalid(
                        f"{key} is none of {prefix}NAME.{' and '.join(_COMPOSITE_NAMES)}."
                    )
                found[f"{prefix}{pattern}"] = kind, pattern
    composites = [_composite(values, key, kind, pattern) for key, (kind, pattern) in found.items()]
    composites.sort(key=lambda composite: specificity(composite.pattern), reverse=True)
    return tuple(composites)


def _composite(values: Mapping[str, str], key: str, kind: DestinationKind, pattern: str) -> Composite:
    elements = tuple(pattern.split("."))
    if REST in elements[:-1] or not all(elements):
        raise ConfigurationInvalid(f"{key} is no name of a destination, or pattern of names.")
    try:
        forward_to = Destination(kind, f"{values.get(f'{key}.forwardTo', '')},").members()
    except InvalidDestination as error:
        raise ConfigurationInvalid(f"{key}.forwardTo: {error}") from error
    for destination in forward_to:
        if destination.is_pattern or destination.is_temporary:
            raise ConfigurationInvalid(f"{key}.forwardTo: messages cannot be forwarded to {destination}.")
        if destination.kind is kind and matches(elements, destination.name.split(".")):
            raise ConfigurationInvalid(f"{key}.forwardTo: {destination} would be forwarded to itself.")
    return Composite(kind, elements, forward_to, _flag(values, f"{key}.forwardOnly", "true"))
