"""Masters and slaves."""

import json

import pytest
from support.memory_session import MemorySession

from fabric.clusters import (
    Member,
    cluster_path,
    cluster_table,
    group_members,
    parse_member,
    read_members,
    relative,
    verbose_table,
)
from registry import paths

BASE = paths.clusters()


def member(path: str, **content: object) -> Member:
    """A member as its JSON describes it."""
    parsed = parse_member(f"{BASE}/{path}", json.dumps(content).encode())
    assert parsed is not None
    return parsed


LAB = [
    member(
        "amq/default/00000000000", id="root", container="root", ready=True, services=["tcp://127.0.0.1:61616"]
    ),
    member(
        "amq/default/00000000001",
        id="tolerantbroker",
        container="brokercontainer",
        services=["tcp://127.0.0.1:41662"],
    ),
    member("amq/default/00000000002", id="tolerantbroker", container="brokercontainer2", services=[]),
]


def test_the_labs_table() -> None:
    """Headers, grouping and indentation are the original's, without its stray fifth header."""
    assert cluster_table(group_members(LAB), BASE).lines() == [
        "[cluster]          [masters]        [slaves]          [services]",
        "amq/default",
        "   root            root             -                 tcp://127.0.0.1:61616",
        "   tolerantbroker  brokercontainer  brokercontainer2  tcp://127.0.0.1:41662",
    ]


def test_the_group_itself_is_a_dot() -> None:
    """`cluster-list amq/default` prints `.` and its members below it."""
    lines = cluster_table(group_members(LAB), f"{BASE}/amq/default").lines()
    assert [line.split("  ")[0] for line in lines[1:2]] == ["."]
    assert lines[2].startswith("   root  ")


def test_the_verbose_table_has_a_line_per_service() -> None:
    """With the znode of each member, and whether it is ready."""
    members = [
        member("amq/g/00000000003", id="b", container="one", services=["tcp://a:1", "ssl://a:2"]),
        member("amq/g/00000000004", id="b", container="two", services=[], ready=False),
    ]
    assert verbose_table(group_members(members), BASE).lines() == [
        "[cluster]  [masters]  [slaves]  [services]  [zk path]                                    [ready]",
        "amq/g",
        "   b       one        -         tcp://a:1   /fabric/registry/clusters/amq/g/00000000003  yes",
        "                                ssl://a:2",
        "           -          two       -           /fabric/registry/clusters/amq/g/00000000004  no",
    ]


def test_several_masters_and_services_are_joined() -> None:
    """With commas, in the order of the members."""
    members = [
        member("webapps/00000000001", id="w", container="b", services=["http://b", "https://b"]),
        member("webapps/00000000000", id="w", container="a", services=["http://a"]),
    ]
    assert cluster_table(group_members(members), BASE).lines()[2] == (
        "   w       a, b       -         http://a, http://b, https://b"
    )


def test_a_container_counts_once() -> None:
    """Its later znode is the one that lives; the earlier is left over from a lost session."""
    members = [
        member("amq/g/00000000001", id="b", container="one", services=["tcp://old:1"]),
        member("amq/g/00000000002", id="b", container="two", services=[]),
        member("amq/g/00000000003", id="b", container="one", services=[]),
    ]
    [row] = group_members(members)
    assert (row.masters, row.slaves, row.services) == ([], ["two", "one"], [])


def test_members_without_services_say_whether_they_are_started() -> None:
    """So do other kinds of clusters than brokers."""
    [row] = group_members(
        [
            member("git/00000000000", id="g", container="a", started=True),
            member("git/00000000001", id="g", container="b"),
        ]
    )
    assert (row.masters, row.slaves) == (["a"], ["b"])


def test_older_members_are_understood() -> None:
    """`agent` was the name of `container`, and a missing id is the container's."""
    old = member("amq/g/00000000000", id="b", agent="one", services=[])
    assert old.container == "one"
    assert member("git/0", container="c").id == "c"


@pytest.mark.parametrize(
    "data", [b"", b" ", b"text", b"[]", b"{}", b'{"id": "x", "services": 3}', b"\xff", b"[" * 99_999]
)
def test_what_is_no_member_is_left_out(data: bytes) -> None:
    """One damaged znode does not hide the others."""
    assert parse_member("/a/0", data) is None


def test_members_are_found_at_any_depth(session: MemorySession) -> None:
    """And their services' placeholders are resolved."""
    session.create(f"{BASE}/a/b/c/0", b'{"id": "x", "container": "k", "services": ["tcp://IP:1"]}')
    session.create(f"{BASE}/a/0", b"not a member")
    found = read_members(session, f"{BASE}/a", lambda service: service.replace("IP", "10.0.0.1"))
    assert [(one.path, one.services) for one in found] == [(f"{BASE}/a/b/c/0", ("tcp://10.0.0.1:1",))]
    assert read_members(session, f"{BASE}/nowhere") == []


def test_records_for_scripts() -> None:
    """They name the cluster the same way whatever path was asked for."""
    record = group_members(LAB)[1].to_json()
    assert record == {
        "cluster": "amq/default",
        "id": "tolerantbroker",
        "masters": ["brokercontainer"],
        "slaves": ["brokercontainer2"],
        "services": ["tcp://127.0.0.1:41662"],
        "members": [
            {
                "path": f"{BASE}/amq/default/00000000001",
                "container": "brokercontainer",
                "ready": True,
                "services": ["tcp://127.0.0.1:41662"],
            },
            {
                "path": f"{BASE}/amq/default/00000000002",
                "container": "brokercontainer2",
                "ready": True,
                "services": [],
            },
        ],
    }


@pytest.mark.parametrize(
    ("path", "znode"),
    [
        ("", BASE),
        ("amq", f"{BASE}/amq"),
        ("amq/default/", f"{BASE}/amq/default"),
        ("/fabric/x/", "/fabric/x"),
        ("/", "/"),
    ],
)
def test_paths(path: str, znode: str) -> None:
    """Relative ones lie below the clusters, absolute ones are taken as they are."""
    assert cluster_path(path) == znode


def test_relative_names() -> None:
    """As seen from the path that was asked for."""
    assert relative(BASE, BASE) == "."
    assert relative(f"{BASE}/amq/default", f"{BASE}/amq") == "default"
