"""What somebody wants of the connections with an ensemble beside its address: TLS, and a login by SASL.

Command lines, properties and environments say it in words of their own; `make_channel` makes the same of all.
The files and the sockets are in `registry.encryption`, the login's words in `registry.login`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from registry.errors import ChannelIncomplete, InvalidRecord


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


@dataclass(frozen=True, slots=True)
class ChannelNames:
    """What the parts are called where somebody has given them, for errors."""

    certificate: str
    key: str
    sasl_user: str
    sasl_password: str


OPTIONS = ChannelNames(
    "--zookeeper-certificate", "--zookeeper-key", "--zookeeper-sasl-user", "--zookeeper-sasl-password"
)
"""What the options of our commands are called."""


def make_channel(
    given: ChannelSettings, names: ChannelNames, ask_password: Callable[[str], str] = lambda user: ""
) -> ChannelSettings | None:
    """Return what is meant by what was given; None if nothing was.

    Args:
        given: as it was said; a file, or that names do not matter, means TLS.
        names: what the parts are called there.
        ask_password: asked for the password of a user who was given none; empty: it is missing.

    Raises:
        ChannelIncomplete: one is missing that another needs.
    """
    if given.key and not given.certificate:
        raise ChannelIncomplete(
            f"{names.key} is the key of a certificate: name that with {names.certificate}."
        )
    if given.sasl_password and not given.sasl_user:
        raise ChannelIncomplete(f"{names.sasl_password} is a user's: name him with {names.sasl_user}.")
    password = given.sasl_password
    if given.sasl_user and not password and not (password := ask_password(given.sasl_user)):
        raise ChannelIncomplete(
            f"The password of {given.sasl_user} is missing: give it with {names.sasl_password}."
        )
    tls = bool(given.tls or given.ca or given.certificate or given.any_host_name)
    meant = replace(given, tls=tls, sasl_password=password)
    return None if meant == PLAIN else meant


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
