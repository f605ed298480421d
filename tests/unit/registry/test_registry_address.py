"""Connection strings: how they are kept, and what is refused."""

import pytest

from registry.address import check_url, normal_url, path_of, reached_here
from registry.errors import RegistryUnavailable


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("zk1:2181", "zk1:2181"),
        ("zk1", "zk1"),
        (" zk1:2181,zk2:2182 ", "zk1:2181,zk2:2182"),
        ("zk1:2181/", "zk1:2181"),
        ("zk1:2181,zk2:2181/fabric1/", "zk1:2181,zk2:2181/fabric1"),
        ("zk1:2181//fabrics//a", "zk1:2181/fabrics/a"),
        ("[::1]:2181/a", "[::1]:2181/a"),
        ("grün.example.:2181", "grün.example.:2181"),
        ("10.0.0.7:2181/zookeepers", "10.0.0.7:2181/zookeepers"),
    ],
)
def test_an_address_is_kept_in_one_way(given: str, kept: str) -> None:
    """Slashes too many are dropped; the rest is as given."""
    assert check_url(given) == normal_url(given) == kept
    assert normal_url(kept) == kept


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "'' is not host:port"),
        ("/fabric1", "'' is not host:port"),
        ("zk1:2181,", "'' is not host:port"),
        ("zk1:port", "'zk1:port' is not host:port"),
        ("zk1:0", "'zk1:0' is not host:port"),
        ("zk1:65536", "'zk1:65536' is not host:port"),
        ("zk1:2181:2182", "is not host:port"),
        ("zk 1:2181", "is not host:port"),
        ("zk1..example:2181", "'zk1..example:2181' is not host:port"),
        (f"{'z' * 64}.example:2181", ".example:2181' is not host:port"),
        ("zk://zk1:2181", "leave out the scheme"),
        ("zk1:2181/a,zk2:2181/a", "the path stands once, behind the last server"),
        ("zk1:2181/a/../b", "its path is no znode's"),
        ("zk1:2181/a\x00b", "its path is no znode's"),
        ("zk1:2181/zookeeper/x", "ZooKeeper keeps for itself"),
    ],
)
def test_what_is_no_address(given: str, why: str) -> None:
    """The error says which part is wrong."""
    with pytest.raises(RegistryUnavailable) as refused:
        check_url(given)
    assert why in str(refused.value)


def test_the_path_of_an_address() -> None:
    """It begins with a slash, or there is none."""
    assert path_of("zk1:2181,zk2:2181/fabrics/a/") == "/fabrics/a"
    assert path_of("zk1:2181/") == ""


@pytest.mark.parametrize(
    ("bind_address", "reached"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("zk1", "zk1"),
    ],
)
def test_where_a_host_reaches_its_own_server(bind_address: str, reached: str) -> None:
    """On loopback if it listens everywhere, else only where it listens."""
    assert reached_here(bind_address) == reached
