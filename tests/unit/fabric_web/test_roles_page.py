"""The reference of roles says what the code does: each route, each page, each command."""

import re
from pathlib import Path

import pytest

from fabric.cli.main import COMMANDS
from fabric.web.remote_commands import NOT_FROM_AFAR, role_for
from fabric.web.table import ROUTES

PAGE = (Path(__file__).parents[3] / "docs/reference/roles.md").read_text()


def section(title: str) -> str:
    """The text below a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[tuple[str, str]]:
    """What stands in a table of routes, with its role."""
    return re.findall(r"^\| `([^`]+)` \| (\w+) \|$", section(title), re.MULTILINE)


@pytest.mark.parametrize(("title", "is_api"), [("API", True), ("Console", False)])
def test_every_route_has_its_role(title: str, is_api: bool) -> None:
    """In the order of the code, none left out, none too many; static files are nobody's secret."""
    assert rows(title) == [
        (f"{route.method} {route.path}", route.role.label if route.role else "everybody")
        for route in ROUTES
        if route.is_api is is_api and not route.path.startswith("/static/")
    ]


def test_every_command_has_its_role() -> None:
    """Each command stands in one row."""
    found = {
        name: role
        for role, names in re.findall(r"^\| (\w+) \| (`.*) \|$", section("Commands"), re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    assert found == {name: "nobody" if name in NOT_FROM_AFAR else role_for(name).label for name in COMMANDS}
