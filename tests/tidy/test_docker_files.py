"""What Docker and compose read: both generations of compose understand it, and all it names is there."""

import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
ALONE = ("compose.yaml",)
FILES = [("compose.single.yaml",), ALONE, (*ALONE, "compose.monitoring.yaml")]

TOP_LEVEL = {"services", "networks", "volumes", "secrets"}
"""Of the compose specification. Left out are `version`, of which the second generation warns, and `name`,
which 1.29 refuses."""

VARIABLE = re.compile(r"\$\{[A-Z_]+(.*?)\}")


class StrictLoader(yaml.SafeLoader):
    """Refuses what compose v2 refuses: one key twice in a mapping."""


def unique_keys(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping; two merges are two of one key, too."""
    keys = [key.value for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(problem=f"twice: {twice}", problem_mark=node.start_mark)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, unique_keys)


def load(text: str) -> Any:
    """What a file says, merges carried out."""
    return yaml.load(text, StrictLoader)


def complaints(documents: list[dict[str, Any]]) -> Iterator[str]:
    """What would not be understood of files that are given together."""
    declared: dict[str, dict[str, Any]] = {part: {} for part in TOP_LEVEL}
    for document in documents:
        for part, entries in document.items():
            if part in declared:
                declared[part].update(entries)
            elif not part.startswith("x-"):
                yield f"{part}: not in both generations"
    for name, service in declared["services"].items():
        yield from complaints_of(name, service, declared)


def complaints_of(name: str, service: dict[str, Any], declared: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What would not be understood of a service."""
    for part in ("networks", "secrets"):
        for used in service.get(part, ()):
            if used not in declared[part]:
                yield f"{name}: {part} has no {used}"
    for mount in service.get("volumes", ()):
        source = VARIABLE.sub("/", mount).partition(":")[0]
        if not source.startswith((".", "/")) and source not in declared["volumes"]:
            yield f"{name}: volumes has no {source}"
    waits_for = service.get("depends_on", {})
    conditions = waits_for if isinstance(waits_for, dict) else {other: {} for other in waits_for}
    for other, how in conditions.items():
        if other not in declared["services"]:
            yield f"{name}: depends on {other}, which is no service"
        elif how.get("condition") == "service_healthy" and "healthcheck" not in declared["services"][other]:
            yield f"{name}: waits for the health of {other}, which has no check"
    for port in service.get("ports", ()):
        if not port.startswith("127.0.0.1:"):
            yield f"{name}: {port} is published to everybody"
    if not VARIABLE.match(service["image"]):
        yield f"{name}: its image cannot be chosen"


@pytest.mark.parametrize("names", FILES, ids=lambda names: names[-1])
def test_compose_files(names: tuple[str, ...]) -> None:
    """Whatever they name exists, and they use only what both generations have."""
    assert list(complaints([load((DOCKER / name).read_text("utf-8")) for name in names])) == []


@pytest.mark.parametrize("name", sorted({name for names in FILES for name in names}))
def test_variables_of_compose_files(name: str) -> None:
    """Each has a default, or a sentence that says what it is for: none is silently empty."""
    found = VARIABLE.findall((DOCKER / name).read_text("utf-8"))
    assert found
    assert [rest for rest in found if not rest.startswith((":-", ":?"))] == []


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        ("version: '3.8'\nservices: {}", "version: not in both generations"),
        ("services: {a: {image: '${A:-a}', networks: [n]}}", "a: networks has no n"),
        ("services: {a: {image: '${A:-a}', volumes: ['v:/v']}}", "a: volumes has no v"),
        ("services: {a: {image: '${A:-a}', depends_on: [b]}}", "a: depends on b, which is no service"),
        (
            "services: {a: {image: '${A:-a}', depends_on: {a: {condition: service_healthy}}}}",
            "a: waits for the health of a, which has no check",
        ),
        ("services: {a: {image: '${A:-a}', ports: ['1:1']}}", "a: 1:1 is published to everybody"),
        ("services: {a: {image: a}}", "a: its image cannot be chosen"),
    ],
)
def test_planted_mistakes(planted: str, complaint: str) -> None:
    """Each of these can be found."""
    assert list(complaints([load(planted)])) == [complaint]


def test_planted_key_that_is_there_twice() -> None:
    """The second generation refuses it, also if it is a merge."""
    for planted in ("a: 1\na: 2", "b: &b {}\nc: &c {}\na:\n  <<: *b\n  <<: *c"):
        with pytest.raises(yaml.constructor.ConstructorError, match="twice"):
            load(planted)


def test_version_of_the_images() -> None:
    """The label is the project's version."""
    project = tomllib.loads((DOCKER.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"\nARG VERSION={project['version']}\n" in (DOCKER / "Dockerfile").read_text("utf-8")


def test_grafana_finds_the_dashboard_and_its_figures() -> None:
    """Provisioning, compose and the dashboard name the same things."""
    monitoring = load((DOCKER / "compose.monitoring.yaml").read_text("utf-8"))["services"]
    mounts = dict(mount.removesuffix(":ro").split(":") for mount in monitoring["grafana"]["volumes"])
    assert all((DOCKER / source).exists() for source in mounts)
    provisioning = DOCKER / "grafana" / "provisioning"
    (provider,) = load((provisioning / "dashboards" / "fabric.yaml").read_text("utf-8"))["providers"]
    assert mounts["./grafana/fabric.json"] == f"{provider['options']['path']}/fabric.json"
    (source,) = load((provisioning / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    variables = json.loads((DOCKER / "grafana" / "fabric.json").read_text("utf-8"))["templating"]["list"]
    assert {"name": "source", "type": "datasource", "query": "prometheus"}.items() <= variables[0].items()


def test_packages_of_debian_in_a_bill_of_materials() -> None:
    """Those that are installed are added to the Python packages, and replaced when it is done again."""
    script = runpy.run_path(str(DOCKER / "fabric-bill"))
    lines = "installed tini 0.19.0-1 amd64\nconfig-files old 1 all\ninstalled libc++1 1:14.0-1 amd64\n"
    packages = script["components"](lines, {"ID": "debian", "VERSION_ID": "12"})
    assert [(one["type"], one["name"], one["version"]) for one in packages] == [
        ("operating-system", "debian", "12"),
        ("library", "libc++1", "1:14.0-1"),
        ("library", "tini", "0.19.0-1"),
    ]
    assert packages[1]["purl"] == "pkg:deb/debian/libc%2B%2B1@1:14.0-1?arch=amd64&distro=debian-12"
    python = {"bom-ref": "Twisted==24", "name": "Twisted", "version": "24"}
    bill = {"components": [python], "dependencies": [{"ref": "Twisted==24"}], "metadata": {}}
    once = script["with_packages"](bill, packages)
    assert once["components"] == [python, *packages]
    assert {one["ref"] for one in once["dependencies"]} == {one["bom-ref"] for one in once["components"]}
    assert script["with_packages"](once, packages) == once
