"""The house rules hold for this repository, and each of them can fail."""

import functools
import subprocess
from pathlib import Path

import house_rules
import pytest
from house_rules import PACKAGE_RULES, TEST_RULES, Rule, Source

ROOT = Path(__file__).parents[2]
PACKAGES = ("broker", "fabric", "journal", "mqclient", "registry")


@functools.cache
def repository_files() -> list[str]:
    """Every file that is, or could be, committed."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@functools.cache
def sources(*folders: str) -> list[Source]:
    """The Python files below some top-level folders."""
    wanted = [name for name in repository_files() if name.endswith(".py") and name.split("/")[0] in folders]
    return [Source(name, (ROOT / name).read_text("utf-8")) for name in wanted]


def complaints(rule: Rule, *folders: str) -> list[str]:
    """All that breaks one rule."""
    return [complaint for source in sources(*folders) for complaint in rule(source)]


def test_top_level() -> None:
    """The top of the repository is the fixed set."""
    names = {name.split("/")[0] for name in repository_files()}
    assert list(house_rules.top_level_is_known(names)) == []


@pytest.mark.parametrize("rule", PACKAGE_RULES, ids=lambda rule: rule.__name__)
def test_packages(rule: Rule) -> None:
    """The five packages keep the rule."""
    assert complaints(rule, *PACKAGES) == []


@pytest.mark.parametrize("rule", TEST_RULES, ids=lambda rule: rule.__name__)
def test_tests(rule: Rule) -> None:
    """The tests keep the rule."""
    assert complaints(rule, "tests") == []


def test_no_machine_is_named() -> None:
    """No file names a machine, a registry or a tool of the place where it was written."""
    found = []
    for name in repository_files():
        text = (ROOT / name).read_bytes().decode("utf-8", errors="replace")
        found += house_rules.no_machine_is_named(Source(name, text))
    assert found == []


def test_links_in_documentation() -> None:
    """Whoever follows a link in the documentation arrives."""
    names = repository_files()
    existing = {*names, *(str(folder) for name in names for folder in Path(name).parents)}
    found = []
    for name in names:
        if name.endswith(".md"):
            source = Source(name, (ROOT / name).read_text("utf-8"))
            found += house_rules.links_resolve(source, existing)
    assert found == []


def test_paths_in_documentation() -> None:
    """Whoever looks for a file that the documentation names finds it, and so each test of a promise."""
    names = repository_files()
    existing = {*names, *(str(folder) for name in names for folder in Path(name).parents)}
    found = []
    for name in names:
        if name.startswith("docs/") and not name.endswith(".png"):
            source = Source(name, (ROOT / name).read_text("utf-8"))
            found += house_rules.named_files_exist(source, existing)
    assert found == []


def test_planted_missing_path_is_found() -> None:
    """A path to nothing is noticed; a file, a folder and what is no path are not."""
    text = "`tests/gone.py` `tests/there.py` `tests/` `journal inspect` `/fabric/configs` `tests/*.py`"
    found = list(house_rules.named_files_exist(Source("docs/a.md", text), {"tests/there.py", "tests"}))
    assert found == ["docs/a.md:1: there is no tests/gone.py"]


def test_planted_dead_link_is_found() -> None:
    """A link to nothing is noticed; one to a neighbour, a folder above or another site is not."""
    text = "[a](gone.md) [b](there.md#part) [c](../docs/there.md) [d](https://example.org/x)"
    found = list(house_rules.links_resolve(Source("docs/a.md", text), {"docs/there.md"}))
    assert found == ["docs/a.md:1: gone.md leads nowhere"]


def lines(count: int, indent: str = "") -> str:
    """That many statements."""
    return f"{indent}x = 1\n" * count


PLANTED: list[tuple[Rule, str, str]] = [
    (house_rules.class_names_say_what, "broker/a.py", "class QueueManager:\n    pass\n"),
    (house_rules.modules_are_short, "broker/a.py", lines(house_rules.MODULE_LINES_MAX + 1)),
    (
        house_rules.functions_are_short,
        "broker/a.py",
        "def f():\n" + lines(house_rules.FUNCTION_LINES_MAX, "    "),
    ),
    (house_rules.reactor_only_in_mains, "broker/a.py", "from twisted.internet import defer, reactor\n"),
    (house_rules.reactor_only_in_mains, "broker/a.py", "import twisted.internet.reactor\n"),
    (house_rules.environment_only_in_mains, "broker/a.py", "home = os.environ['HOME']\n"),
    (house_rules.environment_only_in_mains, "broker/a.py", "name = sys.argv[1]\n"),
    (house_rules.kazoo_only_in_registry, "broker/a.py", "from kazoo.client import KazooClient\n"),
    (house_rules.kazoo_only_in_registry, "broker/a.py", "import kazoo.exceptions\n"),
    (house_rules.znode_paths_only_in_paths, "fabric/a.py", "path = f'/fabric/configs/{name}'\n"),
    (house_rules.store_files_only_in_files, "journal/a.py", "import os\n"),
    (house_rules.store_files_only_in_files, "journal/a.py", "with open(name) as file:\n    pass\n"),
    (house_rules.store_files_only_in_files, "journal/a.py", "data = self._path.read_bytes()\n"),
    (house_rules.public_things_are_documented, "broker/a.py", "x = 1\n"),
    (house_rules.public_things_are_documented, "broker/a.py", '"""Module."""\ndef f():\n    pass\n'),
    (
        house_rules.public_things_are_documented,
        "broker/a.py",
        '"""Module."""\nclass A:\n    """A."""\n    def f(self):\n        pass\n',
    ),
    (house_rules.exceptions_to_checks_have_reasons, "broker/a.py", "import b  # noqa: F401\n"),
    (house_rules.exceptions_to_checks_have_reasons, "broker/a.py", "b = c  # type: ignore[misc]\n"),
    (house_rules.tests_state_a_promise, "tests/test_a.py", "def test_it():\n    assert True\n"),
    (house_rules.tests_wait_for_conditions, "tests/test_a.py", "import time\ntime.sleep(1)\n"),
    (house_rules.tests_wait_for_conditions, "tests/test_a.py", "from time import sleep\n"),
    (house_rules.no_machine_is_named, "docs/a.md", "see /work" + "/main/docs\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_planted_violation_is_found(rule: Rule, path: str, text: str) -> None:
    """A rule that cannot fail is no rule: each finds exactly the one violation planted for it."""
    assert len(list(rule(Source(path, text)))) == 1


def test_planted_top_level_entry_is_found() -> None:
    """A file dropped at the top of the repository is noticed."""
    assert len(list(house_rules.top_level_is_known({"README.md", "notes.txt"}))) == 1


ALLOWED: list[tuple[Rule, str, str]] = [
    (house_rules.class_names_say_what, "broker/a.py", "class ManagerOfNothingElse:\n    pass\n"),
    (
        house_rules.modules_are_short,
        "broker/a.py",
        '"""Generated by generate.py."""\n' + lines(house_rules.MODULE_LINES_MAX + 1),
    ),
    (house_rules.reactor_only_in_mains, "mqclient/main.py", "from twisted.internet import reactor\n"),
    (house_rules.kazoo_only_in_registry, "registry/a.py", "import kazoo\n"),
    (house_rules.znode_paths_only_in_paths, "fabric/a.py", '"""Reads /fabric/configs/x."""\n'),
    (house_rules.znode_paths_only_in_paths, "fabric/a.py", "example = 'fabric zk-get /fabric/configs/x'\n"),
    (house_rules.store_files_only_in_files, "journal/a.py", "file = self._files.open(name)\n"),
    (house_rules.store_files_only_in_files, "journal/a.py", "journal = Journal.open(directory)\n"),
    (
        house_rules.exceptions_to_checks_have_reasons,
        "broker/a.py",
        "# Registers itself when imported.\nimport b  # noqa: F401\n",
    ),
    (house_rules.tests_wait_for_conditions, "tests/support/waiting.py", "import time\ntime.sleep(0.01)\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_allowed_is_not_reported(rule: Rule, path: str, text: str) -> None:
    """The neighbours of a violation pass."""
    assert list(rule(Source(path, text))) == []
