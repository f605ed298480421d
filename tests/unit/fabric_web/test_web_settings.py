"""What a profile may say of the ports of the console and the metrics."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.certificates import Keys

from broker.admission import PER_SECOND, TRUSTED, AddressLimits
from broker.errors import ConfigurationInvalid
from fabric.errors import FabricError
from fabric.home import Home
from fabric.web.settings import REQUESTS_PER_SECOND, WebSettings, read_settings

PID = "io.fabric8.metrics"


def context(folder: Path) -> Any:
    """A container's."""
    return SimpleNamespace(home=Home(folder), container="root")


def test_what_counts_if_nothing_is_said() -> None:
    """One address has nine tenths of the connections; nobody is believed to be a proxy."""
    settings = WebSettings.parse({}, 50)
    assert settings == WebSettings(
        connections_max=50,
        limits=AddressLimits(connections_max=45, per_second=PER_SECOND, trusted=TRUSTED),
        requests_per_second=REQUESTS_PER_SECOND,
    )
    assert settings.scheme == "http"


def test_the_properties() -> None:
    """They are called as those of brokers' connectors, without a connector's name."""
    settings = WebSettings.parse(
        {
            "maximumConnections": "10",
            "maximumConnectionsPerAddress": "3",
            "newConnectionsPerSecond": "2",
            "requestsPerSecond": "0",
            "limits.trusted": "none",
            "proxyProtocol.trusted": "10.0.0.0/8",
            "proxyProtocol.required": "true",
            "forwardedFor.trusted": "192.0.2.7, 2001:db8::/32",
        },
        50,
    )
    assert settings.limits == AddressLimits(connections_max=3, per_second=2, trusted=())
    assert (settings.connections_max, settings.requests_per_second) == (10, 0)
    assert settings.proxies == (ipaddress.ip_network("10.0.0.0/8"),) and settings.requires_proxy
    assert settings.forwarders == (ipaddress.ip_network("192.0.2.7"), ipaddress.ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("maximumConnections", "0"),
        ("maximumConnectionsPerAddress", "-1"),
        ("newConnectionsPerSecond", "x"),
        ("requestsPerSecond", "1.5"),
        ("limits.trusted", "here"),
        ("proxyProtocol.trusted", "10.0.0.0/99"),
        ("proxyProtocol.required", "true"),
        ("forwardedFor.trusted", "proxy.example.com"),
        ("protocol", "ftp"),
        ("protocol", "https"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, key: str, value: str) -> None:
    """With the PID, what is wrong, and what to do; a certificate that is not there, too."""
    with pytest.raises(FabricError) as raised:
        read_settings(PID, {key: value}, context(tmp_path), "metrics", 50)
    assert PID in raised.value.what and "profile-edit" in raised.value.do_next
    assert key in raised.value.what or isinstance(raised.value.__cause__, ConfigurationInvalid) is False


def test_tls_is_spoken_if_the_profile_says_so(tmp_path: Path) -> None:
    """With the container's own certificate, or one that is named; `http` switches it off."""
    keys = Keys(tmp_path)
    named = {"ssl.keyStore": str(keys.server)}
    home = Home(tmp_path / "home")
    own = home.container_certificate("root")
    own.parent.mkdir(parents=True)
    own.write_bytes(keys.server.read_bytes())
    for properties, scheme in (
        ({}, "http"),
        (named, "https"),
        ({"protocol": "https"}, "https"),
        ({"protocol": " HTTPS "}, "https"),
        ({**named, "protocol": "http"}, "http"),
    ):
        found = read_settings(PID, properties, context(tmp_path / "home"), "metrics", 50)
        assert found.scheme == scheme, properties


def test_a_port_that_can_be_read_on_the_way_is_told_of(tmp_path: Path) -> None:
    """Unless only this host reaches it; with TLS what counts is when the certificate ends."""
    plain = WebSettings()
    assert plain.notice(PID, "the metrics listen", "127.0.0.1") == ""
    notice = plain.notice(PID, "the metrics listen", "0.0.0.0")
    assert notice.startswith("the metrics listen on 0.0.0.0 without TLS") and PID in notice
    secure = read_settings(
        PID, {"ssl.keyStore": str(Keys(tmp_path).server)}, context(tmp_path), "metrics", 50
    )
    assert cast("str", secure.notice(PID, "the metrics listen", "0.0.0.0")).count("without TLS") == 0
