"""Lists in pages: sorted, filtered, each page beginning behind the last item of the one before."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TypeVar

from broker.management.model import Page
from broker.management.requests import ListRequest, check_limit
from broker.policies import ONE, REST, matches

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - what an item is told as


def page_of(
    things: Iterable[T],
    request: ListRequest,
    name: Callable[[T], str],
    info: Callable[[T], I],
    about: Callable[[T], str] | None = None,
) -> Page[I]:
    """One page.

    Items may come and go between two pages: none of those that stay is shown twice or left out.

    Args:
        things: all of them.
        request: which.
        name: by what they are sorted; unique.
        info: what is told of one.
        about: what the filter looks at; None: the name.

    Raises:
        RequestMalformed: the limit is not allowed.
    """
    limit = check_limit(request.limit)
    wanted = matcher(request.filter)
    found = [(name(each), each) for each in things if wanted((about or name)(each))]
    rest = [each for each in found if each[0] > request.after] if request.after else found
    shown = heapq.nsmallest(limit, rest, key=lambda each: each[0])
    following = shown[-1][0] if len(rest) > len(shown) else ""
    return Page([info(each) for _, each in shown], len(found), following)


def matcher(text: str) -> Callable[[str], bool]:
    """What decides for the filter of a list; see `ListRequest.filter`."""
    if not text:
        return lambda name: True
    elements = text.split(".")
    if REST in elements[-1:] or ONE in elements:
        return lambda name: matches(elements, name.split("."))
    if "*" in text or "?" in text:
        return lambda name: fnmatchcase(name, text)
    return lambda name: text in name
