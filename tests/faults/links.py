"""Faults of a host's links, done in the host's network namespace from this machine: iptables and a delay.

All rules stand in a chain of our own at the beginning of INPUT and OUTPUT, so that `heal` cannot forget one.
Latency is added by a process that holds packets back (`faults.delay`), since not every kernel has netem; loss
is iptables' own chance.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from faults.hosts import Host, run
from support.waiting import wait_until

CHAINS = {"INPUT": "FAULTS-IN", "OUTPUT": "FAULTS-OUT"}
QUEUE = 7
TESTS = Path(__file__).parent.parent
READY = b"ready\n"


class Links:
    """The links of one host. Nothing is changed before the first fault."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._delay: subprocess.Popen[bytes] | None = None

    def cut(self, peers: Iterable[Host]) -> None:
        """Let nothing through between the host and others; nobody is told, connections stay open."""
        self._prepare()
        for address in (address for peer in peers for address in peer.addresses):
            self._rule("INPUT", "--source", address, "--jump", "DROP")
            self._rule("OUTPUT", "--destination", address, "--jump", "DROP")

    def cut_all(self) -> None:
        """Let nothing in or out, but within the host."""
        self._prepare()
        self._rule("INPUT", "!", "--in-interface", "lo", "--jump", "DROP")
        self._rule("OUTPUT", "!", "--out-interface", "lo", "--jump", "DROP")

    def worsen(self, *, latency_ms: float, loss: float) -> None:
        """Hold back every packet that the host sends, and lose some in both directions.

        Args:
            latency_ms: added to each way out, and so to each round trip.
            loss: share of the packets, in each direction.
        """
        self._prepare()
        self._delay = subprocess.Popen(
            [*self._enter(), sys.executable, "-m", "faults.delay", str(QUEUE), str(latency_ms)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(TESTS)},
        )
        assert self._delay.stdout is not None
        if self._delay.stdout.readline() != READY:
            raise AssertionError(f"packets to {self._host.name} cannot be held back: {self._delay.wait()}")
        chance = ("--match", "statistic", "--mode", "random", "--probability", str(loss), "--jump", "DROP")
        self._rule("INPUT", "!", "--in-interface", "lo", *chance)
        self._rule("OUTPUT", "!", "--out-interface", "lo", *chance)
        queue = ("--jump", "NFQUEUE", "--queue-num", str(QUEUE), "--queue-bypass")
        self._rule("OUTPUT", "!", "--out-interface", "lo", *queue)

    def heal(self) -> None:
        """Undo everything; may be called at any time."""
        for hook, chain in CHAINS.items():
            with contextlib.suppress(AssertionError):
                self._tables("--flush", chain)
                self._tables("--delete", hook, "--jump", chain)
                self._tables("--delete-chain", chain)
        if self._delay is not None:
            self._delay.terminate()
            self._delay.wait()
            assert self._delay.stdout is not None
            self._delay.stdout.close()
            self._delay = None

    def has_faults(self) -> bool:
        """Whether there is a chain of ours."""
        listed = run([*self._enter(), "iptables", "--wait", "--list-rules"])
        return any(chain in listed for chain in CHAINS.values())

    def _prepare(self) -> None:
        if self.has_faults():
            return
        for hook, chain in CHAINS.items():
            self._tables("--new-chain", chain)
            self._tables("--insert", hook, "--jump", chain)

    def _rule(self, hook: str, *words: str) -> None:
        self._tables("--append", CHAINS[hook], *words)

    def _tables(self, *words: str) -> None:
        run([*self._enter(), "iptables", "--wait", *words])

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._host.pid), "--net"]


def wait_reachable(host: Host, address: str, port: int, timeout_s: float = 30.0) -> None:
    """Wait until a host can open a connection."""
    words: Sequence[str] = [
        *("nsenter", "--target", str(host.pid), "--net", sys.executable, "-c"),
        f"import socket; socket.create_connection(({address!r}, {port}), 1).close(); print('open')",
    ]
    wait_until(lambda: "open" in run(words, fails=True), timeout_s, f"{host.name} reaches {address}:{port}")
