"""A program with Apache's own Java client manages our broker with messages, as Apache's broker cannot be."""

from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

GOT = [
    "got: red message",
    "at: queue://interop.moved",
    "was at: queue://interop.managed",
    "property: red",
    "redelivered: false",
]


def test_a_java_program_manages_our_broker(
    programs: JavaPrograms, zookeeper: ZooKeeperForTests, tmp_path: Path
) -> None:
    """Requests and answers are text messages; what is moved keeps its content, and knows where it was."""
    with our_broker(zookeeper, tmp_path) as broker:
        assert programs.facts("Management", broker.url) == [
            "size: 3",
            "moved: 2",
            "left: 1",
            "wrong: not_found",
            *GOT,
            *GOT,
            "more: null",
            "purged: 1",
        ]
