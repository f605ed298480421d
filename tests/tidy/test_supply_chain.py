"""What is shipped of others is listed with version and licence, and what is known against it is told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import supply_chain
from supply_chain import NotInstalled, Outcome, Package, Verdict

INSTALLED = {
    "twisted": Package("24.3", ("attrs>=21", "pyopenssl>=21; extra == 'tls'", "mypy; extra == 'dev'")),
    "attrs": Package("23.1"),
    "pyopenssl": Package("24.0", ("twisted>=1",)),
    "mypy": Package("1.10"),
}
LOCK = ["attrs==23.1", "twisted==24.3"]


def known(name: str, *vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    """A package of which the service knows."""
    return {"name": name, "version": "1.0", "vulns": list(vulnerabilities)}


def judged(*packages: dict[str, Any]) -> Verdict:
    """What is made of a report."""
    return supply_chain.judge(json.dumps({"dependencies": packages, "fixes": []}), "")


def component(name: str, **facts: object) -> dict[str, Any]:
    """An entry of a bill of materials."""
    return {"name": name, "bom-ref": f"{name}==1", "version": "1", "licenses": [{"id": "MIT"}], **facts}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import subprocess\n\nassert subprocess\n", 0),
        ("import subprocess\n\nsubprocess.run(input(), shell=True)\n", 1),
        ("import pickle\n\npickle.loads(b'')\n", 1),
    ],
)
def test_code_that_is_not_secure_is_found(tmp_path: Path, code: str, status: int) -> None:
    """The configuration leaves out what is our style, and nothing else."""
    (tmp_path / "planted.py").write_text(code, "utf-8")
    configuration = ["--configfile", supply_chain.ROOT / "pyproject.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "--quiet", *configuration, "--recursive", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr


def test_shipped_is_what_is_needed_to_run() -> None:
    """Extras that are asked for count, others do not, and a circle ends."""
    assert supply_chain.shipped(["Twisted[tls]>=24"], INSTALLED) == {
        "attrs": "23.1",
        "pyopenssl": "24.0",
        "twisted": "24.3",
    }
    assert set(supply_chain.shipped(["Twisted", "mypy; python_version < '3'"], INSTALLED)) == {
        "attrs",
        "twisted",
    }


def test_something_shipped_is_missing() -> None:
    """What is not installed cannot be judged, and is named."""
    with pytest.raises(NotInstalled, match="klein>=24 is needed"):
        supply_chain.shipped(["klein>=24"], INSTALLED)


def test_the_project_itself() -> None:
    """Direct dependencies, those of extras and what these need are found; tools of developers are not."""
    versions = supply_chain.shipped(supply_chain.requirements_of_project(), supply_chain.installed_here())
    assert {"twisted", "python-qpid-proton", "pyopenssl", "zope-interface"} <= set(versions)
    assert not {"pytest", "mypy", "ruff", "bandit", "fabric-mq"} & set(versions)


def test_bill_holds_what_is_shipped() -> None:
    """Entries and edges of other packages are left out."""
    bill = {
        "components": [component("Twisted"), component("attrs"), component("mypy")],
        "dependencies": [
            {"ref": "root-component", "dependsOn": ["Twisted==1", "mypy==1"]},
            {"ref": "Twisted==1", "dependsOn": ["attrs==1", "mypy==1"]},
            {"ref": "attrs==1"},
            {"ref": "mypy==1"},
        ],
    }
    less = supply_chain.restricted(bill, ["twisted", "attrs"])
    assert [one["name"] for one in less["components"]] == ["Twisted", "attrs"]
    assert less["dependencies"] == [
        {"ref": "root-component", "dependsOn": ["Twisted==1"]},
        {"ref": "Twisted==1", "dependsOn": ["attrs==1"]},
        {"ref": "attrs==1", "dependsOn": []},
    ]


def test_gaps_of_a_bill() -> None:
    """Each shipped package needs an entry, a version and a licence."""
    bill = {
        "components": [component("Twisted"), component("attrs", licenses=[]), component("six", version="")]
    }
    assert list(supply_chain.gaps(bill, ["attrs", "kazoo", "six", "twisted"])) == [
        "attrs: licenses not known",
        "kazoo: not in the bill of materials",
        "six: version not known",
    ]


def test_nothing_known() -> None:
    """Every package was answered for, and nothing was said against it."""
    assert judged(known("attrs"), known("six")).outcome is Outcome.NOTHING_KNOWN


def test_vulnerable() -> None:
    """One finding is enough, whatever else was not answered; it is told with the versions that mend it."""
    flaw = {"id": "PYSEC-2024-1", "fix_versions": ["1.1", "2.0"], "aliases": []}
    worse = {"id": "PYSEC-2024-2", "fix_versions": []}
    verdict = judged(known("six", flaw, worse), {"name": "attrs", "skip_reason": "not found"})
    assert verdict.outcome is Outcome.VULNERABLE
    assert verdict.lines == (
        "six 1.0: PYSEC-2024-1, mended in 1.1, 2.0",
        "six 1.0: PYSEC-2024-2, mended in -",
    )


@pytest.mark.parametrize("packages", [[], [known("six"), {"name": "attrs", "skip_reason": "not found"}]])
def test_not_answered_for(packages: list[dict[str, Any]]) -> None:
    """Silence about a package is no good news of it."""
    verdict = judged(*packages)
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert ("attrs" in verdict.lines[0]) == bool(packages)


def test_many_that_are_not_answered_for() -> None:
    """A service that answers for none is told in one short line."""
    verdict = judged(*({"name": f"p{number}", "skip_reason": "not found"} for number in range(40)))
    assert verdict.lines == ("The service said nothing of 40 of 40 packages: p0, p1, p2, p3, p4, ...",)


@pytest.mark.parametrize("errors", ["", "Traceback\n  File\nConnectionError: no route\n"])
def test_not_reachable(errors: str) -> None:
    """Without a report nothing was checked; the last thing that was said is the reason."""
    verdict = supply_chain.judge("", errors)
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert verdict.lines[0].endswith("ConnectionError: no route" if errors else "nothing was answered")


def test_outcomes_are_told_apart_by_exit_codes() -> None:
    """A script sees which of the three it was."""
    assert sorted(supply_chain.EXIT_CODES.values()) == [0, 1, 75]


@pytest.mark.parametrize(
    ("outcome", "age_s", "counts"),
    [
        (Outcome.NOTHING_KNOWN, 0, True),
        (Outcome.VULNERABLE, 86399, True),
        (Outcome.NOTHING_KNOWN, 86400, False),
        (Outcome.NOT_CHECKED, 3600, False),
        (Outcome.NOTHING_KNOWN, -1, False),
    ],
)
def test_answers_are_remembered(outcome: Outcome, age_s: float, counts: bool) -> None:
    """An answer counts for a day, a silence for an hour, and neither for other versions."""
    text = json.dumps({"asked_s": 1000.0, "lock": LOCK, "outcome": outcome, "lines": ["as it was"]})
    verdict = supply_chain.remembered(text, LOCK, 1000.0 + age_s)
    assert verdict == (Verdict(outcome, ("as it was",)) if counts else None)
    assert supply_chain.remembered(text, [*LOCK, "six==1.17"], 1000.0 + age_s) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"outcome": "fine"}'])
def test_a_damaged_memory_is_no_memory(text: str) -> None:
    """The service is asked again."""
    assert supply_chain.remembered(text, LOCK, 0) is None
