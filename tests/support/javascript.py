"""Other people's clients in JavaScript: the programs in `tests/interop/js`."""

import subprocess
from pathlib import Path

from support.apache import RunningProgram

PROGRAMS = Path(__file__).parents[1] / "interop" / "js"


def start(output: Path, program: str, *arguments: str) -> RunningProgram:
    """Start a program whose facts go to a file while it runs."""
    return RunningProgram(_command(program, *arguments), output)


def facts(program: str, *arguments: str, timeout_s: float = 60.0) -> list[str]:
    """Run a program to its end and return the facts that it printed, one a line."""
    done = subprocess.run(
        _command(program, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"
    return done.stdout.splitlines()


def _command(program: str, *arguments: str) -> list[str]:
    assert (PROGRAMS / "node_modules").exists(), "./dev setup installs what the programs need"
    return ["node", str(PROGRAMS / program), *arguments]
