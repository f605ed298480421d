"""The images hold what a host needs, and nothing that helps an intruder."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from docker.errors import ImageNotFound
from docker.models.images import Image
from support.waiting import wait_until
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

IMAGES = {"fabric-host:latest": 300, "fabric:latest": 650}
"""Largest size of each in MB, on a Debian without anything else."""

UID = 10001

BILL = "/usr/share/doc/fabric/sbom.json"
PYTHON_PACKAGES = (
    "import importlib.metadata as m;"
    "print(*(f'{one.name.lower()} {one.version}' for one in m.distributions()), sep='\\n')"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    """Return the engine."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest, engine: docker.DockerClient) -> Image:
    """Return each image."""
    try:
        return engine.images.get(request.param)
    except ImageNotFound:
        pytest.fail(f"There is no image {request.param}: run ./dev docker build")


def end_of(engine: docker.DockerClient, image: Image | str, *words: str, **more: Any) -> tuple[int, str]:
    """Run a container of its own, without a network, to its end; return its exit code and what it printed."""
    container = engine.containers.create(image, list(words), network_mode="none", **more)
    try:
        container.start()
        code: int = container.wait(timeout=60)["StatusCode"]
        return code, container.logs().decode()
    finally:
        container.remove(v=True, force=True)


def run(engine: docker.DockerClient, image: Image, *words: str, **more: Any) -> str:
    """Run a command in a container of its own; return what it printed."""
    code, printed = end_of(engine, image, *words, **more)
    assert code == 0, printed
    return printed


def test_nobody_in_it_is_root(engine: docker.DockerClient, image: Image) -> None:
    """Its processes run as a user without rights, and no file gives them more."""
    assert image.attrs["Config"]["User"] == "fabric"
    assert run(engine, image, "id", "-u").strip() == str(UID)
    privileged = ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"]
    found = run(engine, image, "sh", "-c", " ".join(privileged) + " 2>/dev/null || true", user="root")
    assert found == ""


def test_it_is_small(image: Image) -> None:
    """No image is larger than it has to be."""
    limits = [size for tag, size in IMAGES.items() if tag in image.tags]
    assert image.attrs["Size"] / 1e6 < min(limits)


def test_it_says_what_it_is(image: Image) -> None:
    """Labels name it; a check says whether it does what it is for."""
    labels = image.labels
    assert labels["org.opencontainers.image.title"] == "Fabric"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"https?://[^@]+|unknown", labels["org.opencontainers.image.source"])
    assert labels["org.opencontainers.image.base.name"]
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    assert image.attrs["Config"]["Healthcheck"]["Test"] == ["CMD", "fabric-health"]


def test_it_carries_its_bill_of_materials(engine: docker.DockerClient, image: Image) -> None:
    """What is in it is listed: every package of Python and of Debian, those of Python with a licence."""
    bill = json.loads(run(engine, image, "cat", BILL))
    assert bill["bomFormat"] == "CycloneDX"
    itself = bill["metadata"]["component"]
    assert itself["name"] == "fabric-mq"
    assert itself["version"] == image.labels["org.opencontainers.image.version"]
    listed = {f"{one['name'].lower()} {one['version']}": one for one in bill["components"]}
    python = set(run(engine, image, "python", "-c", PYTHON_PACKAGES).splitlines())
    assert f"fabric-mq {itself['version']}" in python
    python -= {f"fabric-mq {itself['version']}"}
    assert python <= listed.keys()
    assert [name for name in python if not listed[name].get("licenses")] == []
    debian = run(engine, image, "dpkg-query", "--show", "--showformat=${Package} ${Version}\\n").splitlines()
    assert {"tini", "libc6"} <= {line.split()[0] for line in debian}
    assert {line.lower() for line in debian} <= listed.keys()
    # Debian's entries, and one for Debian itself; nothing that is not there.
    assert len(listed) == len(python) + len(debian) + 1
    named = {one["bom-ref"] for one in bill["components"]} | {itself["bom-ref"]}
    assert {one["ref"] for one in bill["dependencies"]} == named


def test_it_has_what_it_needs_to_run(engine: docker.DockerClient, image: Image) -> None:
    """The compiled extras are there; compilers, tests and pip are not."""
    assert "fabric" in run(engine, image, "fabric", "--version")
    assert run(engine, image, "python", "-c", "import proton, crc32c, kazoo") == ""
    script = "command -v gcc git pip || true; ls /opt/fabric/lib/python3*/site-packages"
    present = run(engine, image, "sh", "-c", script).split()
    assert not {"tests", "pytest", "pip"} & set(present)
    assert not [name for name in present if name.startswith("/")]


def test_only_the_large_one_has_zookeeper(engine: docker.DockerClient) -> None:
    """Hosts of brokers need no Java; the first host may run the registry itself."""
    look = ["sh", "-c", "command -v java || echo none"]
    assert run(engine, engine.images.get("fabric-host:latest"), *look).strip() == "none"
    found = ["python", "-c", "from registry.server import find_zookeeper; print(find_zookeeper().source)"]
    assert "package" in run(engine, engine.images.get("fabric:latest"), *found)


def test_its_first_process_buries_the_dead() -> None:
    """A process whose parent has ended does not stay as a zombie."""
    testcontainers_config.ryuk_disabled = True  # it is an image, too, and the containers end with the test
    orphan = "(sh -c 'sleep 0.1 &' &); exec sleep 300"
    with DockerContainer("fabric-host:latest").with_command(["sh", "-c", orphan]) as container:
        count = ["sh", "-c", "cat /proc/[0-9]*/stat | grep -c ') Z '"]
        first = container.exec(["cat", "/proc/1/comm"])
        assert first.output.decode().strip() == "tini"
        wait_until(lambda: container.exec(count).output.decode().strip() == "0")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"FABRIC_ROLE": "boss"}, "must be create, join, client or zookeeper"),
        ({}, "Set FABRIC_ROLE"),
        ({"FABRIC_ROLE": "create"}, "set FABRIC_PASSWORD_FILE or FABRIC_PASSWORD"),
        ({"FABRIC_ROLE": "join"}, "ZOOKEEPER_URL has to say where the fabric to join is"),
        ({"FABRIC_ROLE": "join", "ZOOKEEPER_URL": "zk:2181"}, "set ZOOKEEPER_PASSWORD_FILE"),
        ({"FABRIC_ROLE": "create", "FABRIC_PASSWORD_FILE": "/absent"}, "/absent, which FABRIC_PASSWORD_FILE"),
        (
            {"FABRIC_ROLE": "join", "ZOOKEEPER_URL": "zk:1", "ZOOKEEPER_PASSWORD": "x", "FABRIC_WAIT_S": "0"},
            "No ZooKeeper serves at zk:1",
        ),
    ],
)
def test_what_is_missing_is_said(
    engine: docker.DockerClient, environment: dict[str, str], words: str
) -> None:
    """A host that cannot become what it should ends at once, and says what to set."""
    code, printed = end_of(engine, "fabric-host:latest", environment=environment)
    assert code == 1
    assert words in printed
