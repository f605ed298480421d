"""Whose requests come, and how many a second one address may send. Pure: the time is given."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from broker.admission import RareLog, Rate
from broker.proxy_protocol import is_within

if TYPE_CHECKING:
    from fabric.web.settings import WebSettings

NO_RATE: Final = "requestsPerSecond"


class Requests:
    """Counts the requests of one port.

    Attributes:
        refused: how many were.

    Args:
        settings: of the port.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._limits = settings.limits
        self._forwarders = settings.forwarders
        self._rate = Rate(settings.requests_per_second)
        self._log = RareLog()
        self.refused = 0

    def client_of(self, peer: str, forwarded: str) -> str:
        """The address a request comes from.

        Args:
            peer: of its connection.
            forwarded: what its headers `X-Forwarded-For` say, joined by commas. Each forwarder adds whom it
                has heard at the end, so it is read from there, as long as who has written it is believed.
        """
        client = peer
        for word in reversed(forwarded.split(",")):
            if not is_within(client, self._forwarders):
                break
            said = address_in(word)
            if said is None:
                break
            client = said
        return client

    def wait_s(self, address: str, now_s: float) -> float:
        """Count a request; 0: it is answered, otherwise the time until another one is."""
        if self._limits.trusts(address):
            return 0.0
        wait_s = self._rate.wait_s(address, now_s)
        self.refused += wait_s > 0
        return wait_s

    def lines(self, address: str, now_s: float) -> int:
        """How many refusals a line of the log stands for; 0: there is none now."""
        return self._log.count(address, now_s)


def address_in(word: str) -> str | None:
    """The address in one word of `X-Forwarded-For`, which may have a port; None: there is none.

    >>> address_in(" 192.0.2.1"), address_in("192.0.2.1:5000"), address_in("[2001:db8::1]:80")
    ('192.0.2.1', '192.0.2.1', '2001:db8::1')
    """
    text = word.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
