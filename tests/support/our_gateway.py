"""Our gateway as a process of its own, for tests with other people's clients."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests

TESTS = Path(__file__).parents[1]
DETECTING = "io.fabric8.gateway.detecting"
MQ = "io.fabric8.gateway.mq"


class OurGateway:
    """One gateway; whoever started it ends it by its own process id."""

    def __init__(
        self,
        zookeeper: ZooKeeperForTests,
        folder: Path,
        properties: Mapping[str, str],
        *,
        pid: str = DETECTING,
        container: str = "edge",
    ) -> None:
        """Start it, and wait until it listens.

        Args:
            zookeeper: its registry.
            folder: for its log; its name is that of the brokers' group, unless the properties say otherwise.
            properties: of its PID.
            pid: likewise.
            container: where it is taken to run.
        """
        self.log = folder / f"{container}.log"
        content = {"group": folder.name, **properties}
        command = [sys.executable, "-m", "support.gateway_process", zookeeper.url, zookeeper.password]
        command += [str(folder), container, pid, json.dumps(content)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=TESTS,
                env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.urls: list[str] = self._line()["services"]

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.text()
        content = json.loads(line)
        assert isinstance(content, dict)
        return content

    def port(self, scheme: str = "tcp") -> int:
        """Where clients of a protocol come in."""
        return next(int(url.rpartition(":")[2]) for url in self.urls if url.startswith(f"{scheme}://"))

    def url(self, scheme: str = "tcp") -> str:
        """The same as a URL."""
        return f"{scheme}://127.0.0.1:{self.port(scheme)}"

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        assert self.process.stdin is not None
        self.process.stdin.write("status\n")
        self.process.stdin.flush()
        return self._line()

    def text(self) -> str:
        """Its log."""
        return self.log.read_text("utf-8", "replace")

    def wait_masters(self, count: int = 1) -> None:
        """Wait until it knows so many ways to masters."""
        wait_until(lambda: len(self.status()["masters"]) >= count, message=self.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
