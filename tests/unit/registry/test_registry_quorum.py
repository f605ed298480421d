"""The servers of an ensemble as ZooKeeper writes them."""

import stat
from pathlib import Path

import pytest

from registry.quorum import EnsembleServer, QuorumSettings, newest_servers, parse_servers, super_digest

FIRST = EnsembleServer(1, "127.0.0.1", 2888, 3888, "127.0.0.1", 2181)


@pytest.mark.parametrize(
    ("line", "server"),
    [
        ("server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181", FIRST),
        ("server.7=h:1:2:observer;0.0.0.0:3", EnsembleServer(7, "h", 1, 2, "0.0.0.0", 3, votes=False)),
        ("server.7=h:1:2;3", EnsembleServer(7, "h", 1, 2, "0.0.0.0", 3)),
        ("server.2=[::1]:1:2:participant;[::1]:3", EnsembleServer(2, "[::1]", 1, 2, "[::1]", 3)),
    ],
)
def test_servers_are_read(line: str, server: EnsembleServer) -> None:
    """A server is read in all the ways ZooKeeper may write it, among lines that are none."""
    assert parse_servers(f"{line}\nversion=100000006") == {server.id: server}


@pytest.mark.parametrize("votes", [True, False])
def test_what_is_written_is_read(votes: bool) -> None:
    """A server is written as it is read."""
    server = EnsembleServer(3, "zk.example", 5, 6, "10.0.0.3", 7, votes)
    assert parse_servers(server.line()) == {3: server}


def test_nothing_is_read_from_what_is_no_configuration() -> None:
    """A server that stands alone has no list; what does not look like one is left out."""
    assert parse_servers("") == {}
    assert parse_servers("server.x=1\nserver.1=a:b:c") == {}


def test_newest_list_counts(tmp_path: Path) -> None:
    """ZooKeeper's versions are hexadecimal numbers; a list that was not completed does not count."""
    config = tmp_path / "zoo.cfg"
    assert newest_servers(config) is None
    for name, text in (("9", "old"), ("10000000a", "new"), ("200000000", ""), ("300000000.next", "half")):
        (tmp_path / f"zoo.cfg.dynamic.{name}").write_text(text)
    newest = newest_servers(config)
    assert newest is not None
    assert newest.name == "zoo.cfg.dynamic.10000000a"


def test_files_of_a_member(tmp_path: Path) -> None:
    """Its number, the first list of servers, and a secret nobody else reads; a later list is kept."""
    config, database = tmp_path / "zoo.cfg", tmp_path / "data"
    database.mkdir()
    other = EnsembleServer(2, "b", 2888, 3888, "b", 2181)
    settings = QuorumSettings(FIRST, (other,), "secret")
    lines = settings.write(tmp_path, database, config)
    assert (database / "myid").read_text() == "1\n"
    assert parse_servers((tmp_path / "servers.cfg").read_text()) == {1: FIRST, 2: other}
    assert f"dynamicConfigFile={tmp_path}/servers.cfg" in lines
    assert "quorum.auth.serverRequireSasl=true" in lines
    assert stat.S_IMODE((tmp_path / "jaas.conf").stat().st_mode) == 0o600
    assert 'user_fabric="secret"' in (tmp_path / "jaas.conf").read_text()
    later = tmp_path / "zoo.cfg.dynamic.100000001"
    later.write_text(FIRST.line())
    assert f"dynamicConfigFile={later}" in settings.write(tmp_path, database, config)


def test_super_user_is_known_by_a_digest() -> None:
    """As ZooKeeper's own tool computes it (`DigestAuthenticationProvider super:pw`)."""
    assert super_digest("pw").startswith("super:")
    assert len(super_digest("pw")) == len("super:") + 28
