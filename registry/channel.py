"""What somebody wants of the connections with an ensemble beside its address: TLS, and a login by SASL.

The files and the sockets are in `registry.encryption`, the login's words in `registry.login`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from registry.errors import InvalidRecord


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """How connections with ZooKeeper's servers are secured.

    Attributes:
        tls: whether they are encrypted, and the servers have to prove who they are.
        ca: PEM file of the authorities whose servers are trusted; those of this system if it is empty.
        certificate: PEM file of the certificate that servers are shown, and its chain; none if it is empty.
        key: PEM file of its key; in `certificate` itself if it is empty.
        any_host_name: whether a trusted certificate is good for every server, whatever name it has.
        sasl_user: who we are to servers that ask for a login (SASL, DIGEST-MD5); nobody if it is empty.
        sasl_password: his.
    """

    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    any_host_name: bool = False
    sasl_user: str = ""
    sasl_password: str = field(default="", repr=False)

    def to_json(self) -> dict[str, str | bool]:
        """Return what differs from the default; nothing for connections that are not secured."""
        return {name: value for name, value in asdict(self).items() if value}


PLAIN = ChannelSettings()
"""Neither encrypted nor logged in."""

CHANNEL = "zookeeper_channel"
"""Where fabric.json has these settings; not there if connections are not secured."""


def channel_from_json(content: object) -> ChannelSettings:
    """Read what `to_json` has written; what is unknown is ignored.

    Raises:
        InvalidRecord: it is something else.
    """
    if not isinstance(content, Mapping):
        raise InvalidRecord("it is not an object")
    known = {}
    for name, default in asdict(PLAIN).items():
        value = content.get(name, default)
        if type(value) is not type(default):
            raise InvalidRecord(f"{name} is not a {'truth value' if default is False else 'text'}")
        known[name] = value
    return ChannelSettings(**known)
