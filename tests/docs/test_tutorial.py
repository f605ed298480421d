"""The tutorial is true: a test types all of it, in order, and compares what is printed."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.transcript import Shell, execute, steps

from fabric.create import end_fabric
from fabric.home import Home

pytestmark = pytest.mark.integration

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-fabric.md"


@pytest.fixture
def fabric_home(tmp_path: Path) -> Iterator[Path]:
    """A FABRIC_HOME whose processes are ended if the tutorial broke off."""
    home = tmp_path / "home"
    yield home
    end_fabric(Home(home), print)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.timeout(300)
def test_tutorial(fabric_home: Path, tmp_path: Path) -> None:
    """Every command of the tutorial prints what the tutorial says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with Shell(tmp_path, {"FABRIC_HOME": str(fabric_home), "PATH": path}) as shell:
        for step in steps(TUTORIAL.read_text("utf-8")):
            execute(shell, step)
