"""Software: Python, Java, ZooKeeper, and which version of the fabric runs where."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, ok, problem, warning
from fabric.software import installed_version
from registry.errors import ServerNotFound
from registry.server import find_zookeeper

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

PYTHON_MIN: Final = (3, 11)
JAVA_MIN: Final = 8
"""What ZooKeeper 3.5 and later run on."""

_JAVA_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)[^"]*"')


def python(scene: Scene) -> Verdicts:
    """The interpreter of this command, which is that of the containers it starts."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON_MIN:
        yield problem(f"Python is {found}.", "Install Python 3.11 or later.")
    else:
        yield ok(f"Python is {found}, Fabric is {installed_version()}.")


def java_and_zookeeper(scene: Scene) -> Verdicts:
    """What `create` and containers of the ensemble need on this host."""
    needed = any(scene.home.container(name).read_managed_zookeeper() for name in scene.home.container_names())
    try:
        found = find_zookeeper(scene.machine.environment)
    except ServerNotFound as error:
        if needed or not scene.home.has_fabric():
            yield problem(str(error), "Or use a ZooKeeper elsewhere: fabric create --zookeeper-url HOST:PORT")
        else:
            yield ok("Java and ZooKeeper are not installed, and this host needs none.")
        return
    yield ok(f"ZooKeeper was found by {found.source}: {found.classpath[0]}")
    try:
        said = scene.machine.program([str(found.java), "-version"])
    except OSError as error:
        yield problem(
            f"Java, {found.java}, cannot be run: {error}.", "Install a Java runtime, or set JAVA_HOME."
        )
        return
    version = _JAVA_VERSION.search(said)
    if version is None:
        yield problem(
            f"Java, {found.java}, does not say its version: {said.strip()[:200] or 'nothing at all'}",
            "Install a Java runtime, or set JAVA_HOME.",
        )
    elif int(version[1]) < JAVA_MIN:
        yield problem(f"Java is of version {version[1]}.", f"ZooKeeper needs {JAVA_MIN} or later.")
    else:
        yield ok(f"Java is of version {version[1]}: {found.java}")


def fabric_versions(scene: Scene) -> Verdicts:
    """Which version of the fabric each container runs, beside what is installed here."""
    installed = installed_version()
    by_version: dict[str, list[str]] = {}
    for name, facts in scene.facts.items():
        by_version.setdefault(facts.software, []).append(name)
    if len(by_version) > 1:
        told = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(by_version.items()))
        yield warning(
            f"The containers run different versions of Fabric: {told}.",
            "That is right during an upgrade; then: fabric container-restart --rolling --all",
        )
    for record in scene.own_containers:
        running = scene.facts[record.id].software if record.id in scene.facts else installed
        if running != installed:
            yield warning(
                f"Container {record.id} runs Fabric {running}, and {installed} is installed on this host.",
                f"It takes the new one when it is restarted: fabric container-restart {record.id}",
            )
    if len(by_version) <= 1:
        yield ok(f"All connected containers run Fabric {next(iter(by_version), installed)}.")


CHECKS: Final = (
    Check("software.python", "Python and Fabric on this host", python),
    Check("software.zookeeper", "Java and ZooKeeper on this host", java_and_zookeeper),
    Check("software.fabric", "versions of Fabric in the containers", fabric_versions, needs_registry=True),
)
