"""The certificates of the fabric's own ZooKeeper servers."""

from pathlib import Path

import pytest

from fabric.addresses import certified_names
from fabric.certificates import Authority
from fabric.errors import FabricError
from fabric.home import Home, ManagedZooKeeper
from fabric.server_certificates import make_certificate, secured

SERVER = ManagedZooKeeper(2281, "0.0.0.0", "/data", 100)


def test_the_first_server_brings_the_authority(tmp_path: Path) -> None:
    """It is made once; the servers of other containers of this host are signed by it, too."""
    home = Home(tmp_path)
    home.make()
    make_certificate(home, "root", ["zk1", "127.0.0.1"])
    authority = home.authority_certificate.read_bytes()
    made = secured(SERVER, home, "node", ["zk1"], plain_port=2181, authority="")
    assert (made.plain_port, made.authority) == (2181, str(home.authority_certificate))
    assert Path(made.certificate).read_bytes().count(b"PRIVATE KEY") == 2
    assert home.authority_certificate.read_bytes() == authority
    before = Path(made.certificate).read_bytes()
    assert secured(SERVER, home, "node", ["zk1"], plain_port=2181, authority="") == made
    assert Path(made.certificate).read_bytes() == before


def test_elsewhere_it_has_to_be_brought(tmp_path: Path) -> None:
    """A host without the authority's key says what is missing; one that has its file uses it."""
    home = Home(tmp_path / "east")
    home.make()
    with pytest.raises(FabricError, match=r"certificates/east\.pem is missing") as missing:
        secured(SERVER, home, "east", ["zk2"], plain_port=2181, authority="/etc/ca.pem")
    assert "fabric certificate-create --container east --out east.pem" in missing.value.do_next
    authority = Authority(tmp_path / "root")
    authority.create()
    authority.sign_container("east", ["zk2"], home.container_certificate("east"))
    made = secured(SERVER, home, "east", ["zk2"], plain_port=2181, authority="/etc/ca.pem")
    assert (made.certificate, made.authority) == (str(home.container_certificate("east")), "/etc/ca.pem")


def test_what_a_container_is_called() -> None:
    """All its addresses, and on its own host those of the host; where it listens everywhere is no name."""
    fields = {"bindaddress": "0.0.0.0", "localhostname": "zk1", "localip": "10.0.0.1", "manualip": ""}
    assert certified_names(fields, ["zk.example.com"], is_here=False) == ["10.0.0.1", "zk1", "zk.example.com"]
    here = certified_names(fields, is_here=True)
    assert here[:2] == ["10.0.0.1", "zk1"]
    assert {"localhost", "127.0.0.1"} <= set(here)
