"""What is shipped of others: its bill of materials, and whether anything is known against it.

    python -m supply_chain bill               write the bill of materials and hold it against pyproject.toml
    python -m supply_chain vulnerabilities    ask the Python package index what is known of these versions

Looked at is what an installation with all extras needs to run, not what developers use besides.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BILL = ROOT / "build" / "fabric-mq.cdx.json"
REMEMBERED = ROOT / ".venv" / ".vulnerabilities.json"
ROOT_COMPONENT = "root-component"

ANSWER_S_MAX = 60
SOCKET_S_MAX = 10

#: How many packages a line names of which nothing was said; usually it is all of them or one.
NAMES_MAX = 5

#: What a check ends with that could not be made; EX_TEMPFAIL of sysexits.h.
EXIT_NOT_CHECKED = 75


class Outcome(StrEnum):
    """What came of asking."""

    NOTHING_KNOWN = "nothing known"
    VULNERABLE = "vulnerable"
    NOT_CHECKED = "not checked"


EXIT_CODES = {Outcome.NOTHING_KNOWN: 0, Outcome.VULNERABLE: 1, Outcome.NOT_CHECKED: EXIT_NOT_CHECKED}

#: How long an answer counts for the same versions; a service that was away is asked again sooner.
KEPT_S = {Outcome.NOTHING_KNOWN: 86400, Outcome.VULNERABLE: 86400, Outcome.NOT_CHECKED: 3600}


@dataclass(frozen=True)
class Package:
    """An installed package, and the requirements that it declares."""

    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is known of the shipped versions, and the lines that say so."""

    outcome: Outcome
    lines: tuple[str, ...]


class NotInstalled(Exception):
    """Something that is shipped is not installed here."""


# ---- what is shipped


def shipped(requirements: Iterable[str], installed: Mapping[str, Package]) -> dict[str, str]:
    """Versions by canonical name of all that these requirements bring, directly or not.

    Raises:
        NotInstalled: one of them is missing.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(one), "") for one in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in installed:
            raise NotInstalled(f"{requirement} is needed and not installed: ./dev setup installs it")
        versions[name] = installed[name].version
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(one), wanted) for one in installed[name].requires]
    return dict(sorted(versions.items()))


def installed_here() -> dict[str, Package]:
    """The packages of the environment that this runs in, by canonical name."""
    return {
        canonicalize_name(one.name): Package(one.version, tuple(one.requires or ()))
        for one in distributions()
    }


def requirements_of_project() -> list[str]:
    """What the project declares that it needs to run, with all its extras; as the images are made of it."""
    listed = subprocess.run(
        [ROOT / "docker" / "requirements.sh", ROOT / "pyproject.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.splitlines()


# ---- the bill of materials


def restricted(bill: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A CycloneDX document of an environment, without what is not shipped."""
    wanted = set(names)
    components = [one for one in bill["components"] if canonicalize_name(one["name"]) in wanted]
    kept = {ROOT_COMPONENT, *(one["bom-ref"] for one in components)}
    dependencies = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in kept]}
        for one in bill["dependencies"]
        if one["ref"] in kept
    ]
    return {**bill, "components": components, "dependencies": dependencies}


def gaps(bill: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """What a bill of materials does not say of what is shipped."""
    components = {canonicalize_name(one["name"]): one for one in bill["components"]}
    for name in names:
        if name not in components:
            yield f"{name}: not in the bill of materials"
            continue
        for fact in ("version", "licenses"):
            if not components[name].get(fact):
                yield f"{name}: {fact} not known"


def write_bill() -> int:
    """Write the bill of materials; 1 if it has gaps."""
    versions = shipped(requirements_of_project(), installed_here())
    made = subprocess.run(
        [
            *(sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", ROOT / "pyproject.toml"),
            *("--output-reproducible", "--output-file", "-", sys.executable),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    bill = restricted(json.loads(made.stdout), versions)
    BILL.parent.mkdir(exist_ok=True)
    BILL.write_text(json.dumps(bill, indent=2) + "\n", "utf-8")
    found = list(gaps(bill, versions))
    print(*found, f"{BILL.relative_to(ROOT)}: {len(versions)} packages", sep="\n")
    return 1 if found else 0


# ---- what is known against it


def judge(report: str, errors: str) -> Verdict:
    """What a report of pip-audit in JSON says; none, if the service could not be asked.

    A package that the service does not know counts as not checked, for nothing was said of it.
    """
    try:
        packages = json.loads(report)["dependencies"]
    except ValueError:
        said = errors.strip().splitlines() or ["nothing was answered"]
        return Verdict(Outcome.NOT_CHECKED, (f"The service could not be asked: {said[-1]}",))
    found = [
        f"{one['name']} {one['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or '-'}"
        for one in packages
        for known in one.get("vulns", ())
    ]
    if found:
        return Verdict(Outcome.VULNERABLE, tuple(found))
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    if unknown or not packages:
        names = ", ".join(unknown[:NAMES_MAX]) + (", ..." if len(unknown) > NAMES_MAX else "")
        told = f"The service said nothing of {len(unknown)} of {len(packages)} packages: {names}"
        return Verdict(Outcome.NOT_CHECKED, (told,))
    return Verdict(Outcome.NOTHING_KNOWN, (f"{len(packages)} packages, nothing is known against them",))


def remembered(text: str, lock: Sequence[str], now_s: float) -> Verdict | None:
    """The verdict of an earlier question about the same versions, while it counts."""
    try:
        kept = json.loads(text)
        verdict = Verdict(Outcome(kept["outcome"]), tuple(kept["lines"]))
        fresh = 0 <= now_s - kept["asked_s"] < KEPT_S[verdict.outcome]
        return verdict if fresh and kept["lock"] == list(lock) else None
    except (ValueError, KeyError, TypeError):
        return None


def ask(lock: Sequence[str]) -> Verdict:
    """Ask the service about these versions, each `name==version`.

    Raises:
        subprocess.CalledProcessError: pip-audit does not understand how it is called.
    """
    file = REMEMBERED.with_suffix(".txt")
    file.write_text("\n".join(lock) + "\n", "utf-8")
    command = [
        *(sys.executable, "-m", "pip_audit", "--vulnerability-service", "pypi", "--format", "json"),
        *("--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", str(SOCKET_S_MAX)),
        *("--requirement", str(file)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(Outcome.NOT_CHECKED, (f"The service did not answer in {ANSWER_S_MAX} s",))
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return judge(done.stdout, done.stderr)


def check_vulnerabilities() -> int:
    """Say what is known against the shipped versions; the exit code tells the outcomes apart."""
    versions = shipped(requirements_of_project(), installed_here())
    lock = [f"{name}=={version}" for name, version in versions.items()]
    now_s = time.time()
    verdict = None
    if REMEMBERED.exists():
        verdict = remembered(REMEMBERED.read_text("utf-8"), lock, now_s)
    if verdict is None:
        verdict = ask(lock)
        kept = {"asked_s": now_s, "lock": lock, "outcome": verdict.outcome, "lines": verdict.lines}
        REMEMBERED.write_text(json.dumps(kept), "utf-8")
    print(*verdict.lines, sep="\n")
    return EXIT_CODES[verdict.outcome]


def main(words: Sequence[str]) -> int:
    """Make one of the checks."""
    return {"bill": write_bill, "vulnerabilities": check_vulnerabilities}[words[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
