"""Starts `perf.broker_process` and asks it for figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

END_TIMEOUT_S = 60.0


class BrokerDied(Exception):
    """The broker's process ended; it has said why on standard error."""


class BenchBroker:
    """One broker as a process of its own, on a watched disk; ended with the block.

    Attributes:
        first: its figures when it began to serve, with `port` and `opened_s`.
    """

    def __init__(self, data: Path, *options: str) -> None:
        command = [sys.executable, "-m", "perf.broker_process", str(data), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.first = self._read()
        except BrokerDied:
            self._process.wait()
            raise

    @property
    def port(self) -> int:
        """Where it listens on this host."""
        return int(self.first["port"])

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens, by the scheme of the published URL."""
        ports: dict[str, int] = self.first["ports"]
        return ports

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def facts(self) -> dict[str, Any]:
        """Its figures now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BrokerDied("the broker's process has ended")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def end(self) -> None:
        """Stop it cleanly; kill it if that takes too long."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> BenchBroker:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if kind is None:
            self.end()
        else:
            self.kill()
