"""What tests ask of a fabric by its command line, wherever that is typed."""

import json
import subprocess
from abc import ABC, abstractmethod
from typing import Any

from support.waiting import wait_until

COMMAND_TIMEOUT_S = 90


class FabricCommands(ABC):
    """A fabric, used through its command line only."""

    @abstractmethod
    def execute(
        self, *arguments: str, code: int = 0, program: str = "fabric"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. The exit code must be `code`."""

    @abstractmethod
    def logs(self) -> str:
        """Return the last lines of all logs, for a test that failed."""

    def run(self, *arguments: str, code: int = 0, program: str = "fabric") -> str:
        """Run a command; return what it printed (stdout, then stderr). The exit code must be `code`."""
        done = self.execute(*arguments, code=code, program=program)
        return done.stdout + done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with `--output json`. The exit code must be `code`."""
        return json.loads(self.execute(*arguments, "--output", "json", code=code).stdout)

    def container(self, name: str) -> dict[str, Any]:
        """Return a container's record as `container-list` shows it."""
        return {record["id"]: record for record in self.json("container-list")}[name]

    def broker(self, name: str) -> dict[str, Any]:
        """Return the masters, slaves and services of a broker in the group `default`."""
        for row in self.json("cluster-list", "amq/default"):
            if row["id"] == name:
                return row
        return {"masters": [], "slaves": [], "services": []}

    def wait_provisioned(self, name: str, timeout_s: float = 60) -> None:
        """Wait until a container is connected and its status is `success`."""

        def is_provisioned() -> bool:
            record = self.container(name)
            return record["connected"] and record["provision_status"] == "success"

        wait_until(is_provisioned, timeout_s, lambda: f"{self.container(name)}\n{self.logs()}")

    def wait_master(self, broker: str, *, slaves: int, timeout_s: float = 60) -> str:
        """Wait until the broker has one serving master and so many slaves; return the master's container."""

        def has_settled() -> bool:
            row = self.broker(broker)
            return len(row["masters"]) == 1 and len(row["slaves"]) == slaves

        wait_until(has_settled, timeout_s, lambda: f"{self.broker(broker)}\n{self.logs()}")
        return self.broker(broker)["masters"][0]
