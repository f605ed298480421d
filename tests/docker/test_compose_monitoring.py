"""Prometheus beside the compose lab finds console and containers by itself, and knows the alerts."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.docker_lab import FOLDER, ComposeProject, DockerLab
from support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

IMAGE = "fabric-prometheus"
BUILD_TIMEOUT_S = 240
FIND_TIMEOUT_S = 90
"""Prometheus asks every 15 s who is there, and every 15 s each of these."""
PASSWORD = "seen by all who look"


class Prometheus:
    """The service of that name in a lab that runs."""

    def __init__(self, lab: DockerLab) -> None:
        self._lab = lab

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return "activeTargets" in self.ask("targets")
        except OSError:
            return False

    def ask(self, path: str) -> dict[str, Any]:
        """Return the data of an answer of its API."""
        url = f"http://127.0.0.1:{self._lab.published_port('prometheus', 9090)}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def targets(self) -> dict[str, str]:
        """Return the health of each target by its job and its container, or its address if it has no name."""
        return {
            f"{one['labels']['job']} {one['labels'].get('container', one['labels']['instance'])}": one[
                "health"
            ]
            for one in self.ask("targets")["activeTargets"]
        }

    def values(self, query: str) -> dict[str, float]:
        """Return the present values of an expression by container."""
        found = self.ask(f"query?query={query}")["result"]
        return {one["metric"].get("container", ""): float(one["value"][1]) for one in found}


@contextmanager
def prometheus_beside(lab: DockerLab, password: Path) -> Iterator[Prometheus]:
    """Prometheus in the networks of a lab, with an image of Debian's package; it is removed afterwards."""
    base = lab.engine.images.get("fabric-host:latest").labels["org.opencontainers.image.base.name"]
    subprocess.run(
        [
            *("docker", "build", "--network", "host", "--build-arg", f"BASE={base}", "--tag", IMAGE),
            str(FOLDER / "prometheus"),
        ],
        check=True,
        timeout=BUILD_TIMEOUT_S,
    )
    variables = {
        **lab.project.variables,
        "PROMETHEUS_IMAGE": IMAGE,
        "PROMETHEUS_PORT": "0",
        "PROMETHEUS_PASSWORD_FILE": str(password),
    }
    both = ComposeProject(lab.project.project, ["compose.yaml", "compose.monitoring.yaml"], variables)
    try:
        both.run("up", "--detach", "--no-recreate", "prometheus")
        yield Prometheus(lab)
    finally:
        both.run("rm", "--stop", "--force", "prometheus")


def test_prometheus_finds_what_there_is(lab: DockerLab, tmp_path: Path) -> None:
    """The console tells it of containers with metrics; a new one is seen, and all rules are read."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    lab.create_pair("watched")
    brokers = {"watched-east", "watched-west"}
    lab.run("user-add", "prometheus", "--role", "viewer", "--password", PASSWORD)
    lab.run("container-add-profile", "watched-east", "metrics")
    with prometheus_beside(lab, password) as prometheus:
        wanted = {"fabric-console console:8181": "up", "fabric watched-east": "up"}
        wait_until(prometheus.is_ready, FIND_TIMEOUT_S, lambda: lab.logs_of("prometheus"))
        wait_until(
            lambda: prometheus.targets() == wanted,
            FIND_TIMEOUT_S,
            lambda: f"{prometheus.targets()}\n{lab.logs_of('prometheus')}",
        )
        lab.run("container-add-profile", "watched-west", "metrics")
        wanted["fabric watched-west"] = "up"
        wait_until(lambda: prometheus.targets() == wanted, FIND_TIMEOUT_S, lambda: str(prometheus.targets()))
        groups = prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["health"] for rule in rules} == {"ok"}
        assert "FabricNoMaster" in {rule["name"] for rule in rules}
        connected = prometheus.values("fabric_container_connected")
        assert {"root", "east", "west", *brokers} <= {name for name, is_so in connected.items() if is_so}
        wait_until(lambda: prometheus.values("fabric_broker_role").keys() == brokers, FIND_TIMEOUT_S)
