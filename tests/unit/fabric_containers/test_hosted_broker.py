"""What a container does to the configuration of its broker."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fabric.home import Home
from fabric.services.broker import own_certificates, within_ports


@pytest.mark.parametrize(
    ("port", "narrowed"),
    [
        ("${port:61616,61626}", "${port:20000,20099}"),
        ("${port:20050,61626}", "${port:20050,20099}"),
        ("0", "${port:20000,20099}"),
        ("61620", "61620"),
    ],
)
def test_ports_stay_within_the_range_of_the_container(port: str, narrowed: str) -> None:
    """A port to be chosen is chosen within the container's range; a fixed one is as it was given."""
    assert within_ports({"bindPort": port}, 20000, 20099) == {"bindPort": narrowed}


def test_a_connector_without_a_port_gets_one_of_the_range() -> None:
    """A connector on any port stays within the range of its container too."""
    kept = within_ports({"connectors": "openwire stomp", "stomp-port": "61613"}, 20000, 20099)
    assert kept["openwire-port"] == "${port:20000,20099}"
    assert kept["stomp-port"] == "61613"


def test_without_a_range_nothing_changes() -> None:
    """The default range changes no port."""
    assert within_ports({"bindPort": "0"}, 0, 65535) == {"bindPort": "0"}


def test_a_container_finds_its_own_certificates(tmp_path: Path) -> None:
    """Those that `certificate-create` made; others that are named count more."""
    home = Home(tmp_path)
    context: Any = SimpleNamespace(home=home, container="node")
    certificate, trust = str(home.container_certificate("node")), str(home.authority_certificate)
    assert own_certificates({"connectors": "openwire auto"}, context) == {}
    assert own_certificates({"connectors": "x", "x-protocol": "wss"}, context) == {
        "ssl.keyStore": certificate
    }
    home.certificates.mkdir()
    home.container_certificate("node").touch()
    home.authority_certificate.touch()
    assert own_certificates({}, context) == {
        "ssl.keyStore": certificate,
        "ssl.trustStore": trust,
        "ssl.certificateLogin": "true",
    }
    assert own_certificates({"ssl.keyStore": "/a", "ssl.trustStore": "/b"}, context) == {}
