"""Which topics a durable subscription receives from."""

from typing import Final

TOPIC: Final = "topic://"


def subscription_matches(pattern: str, topic: str) -> bool:
    """Whether a durable subscription to a destination receives what is sent to a topic.

    Source: ActiveMQ's wildcards: `*` is one element of a name, a last `>` is all that follow. Several
    destinations are separated by commas.
    """
    if pattern == topic:
        return True
    if not (pattern.startswith(TOPIC) and topic.startswith(TOPIC)):
        return False
    elements = topic[len(TOPIC) :].split(".")
    return any(_name_matches(each.split("."), elements) for each in pattern[len(TOPIC) :].split(","))


def _name_matches(wanted: list[str], elements: list[str]) -> bool:
    for i, element in enumerate(wanted):
        if element == ">":
            return True
        if i >= len(elements) or element not in ("*", elements[i]):
            return False
    return len(wanted) == len(elements)
