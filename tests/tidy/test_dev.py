"""The script that developers type says what it does, what it lacks and what to install."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHES = ("bench console", "bench failover", "bench store", "bench throughput")
COMMANDS = ("lab", "console", "test", "check", *BENCHES, "simulate", "soak", "docker", "setup", "help")
TOOLS = ("bash", "cat", "dirname", "env", "id", "mktemp", "rm", "sed", "sha256sum", "setpriv", "tail")
NOBODY = 65534


class Checkout:
    """A folder with the script, an environment that is up to date, and only the tools it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir()
        (folder / "docker").mkdir()
        for name in ("dev", "docker/commands.sh", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        for tool in TOOLS:
            self.give(tool, f'exec "{shutil.which(tool)}" "$@"')
        self.give("python3", "exit 0")
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        self.write(python, 'echo "python $*"')
        digest = hashlib.sha256((folder / "pyproject.toml").read_bytes()).hexdigest()
        (folder / ".venv" / ".installed-from").write_text(f"{digest}  pyproject.toml {folder}", "utf-8")
        folder.chmod(0o755)

    def write(self, path: Path, script: str) -> None:
        """Write a small program."""
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n", "utf-8")
        path.chmod(0o755)

    def give(self, name: str, script: str) -> None:
        """Put a tool on the path."""
        self.write(self.tools / name, script)

    def run(self, words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script; as somebody without rights if these tests run with all rights."""
        drop = ["setpriv", f"--reuid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        return subprocess.run(
            [*drop, str(self.folder / "dev"), *words],
            env={"PATH": str(self.tools), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    """A checkout without Java, in a folder that somebody without rights may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="checkout-") as folder:
        yield Checkout(Path(folder))


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"]])
def test_help_has_a_line_for_each_command(checkout: Checkout, words: list[str]) -> None:
    """A newcomer who types only the name, or asks for help, sees all commands."""
    done = checkout.run(words)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


def test_unknown_command(checkout: Checkout) -> None:
    """A mistyped command is named, and the right ones are shown."""
    done = checkout.run(["tset"])
    assert done.returncode == 2
    assert done.stderr.startswith("dev has no command 'tset'.\n")
    assert "  test " in done.stderr


def test_unknown_benchmark(checkout: Checkout) -> None:
    """A benchmark that does not exist is answered with those that do."""
    done = checkout.run(["bench", "latency"])
    benchmarks = "console|destinations|failover|store|throughput"
    assert (done.returncode, done.stderr) == (1, f"usage: ./dev bench {benchmarks} [OPTIONS]\n")


@pytest.mark.parametrize(
    ("words", "code"), [(["docker"], 0), (["docker", "--help"], 0), (["docker", "fly"], 2)]
)
def test_docker_says_what_it_can_do(checkout: Checkout, words: list[str], code: int) -> None:
    """Without a command, or with a mistyped one, its commands are shown, and nothing happens."""
    done = checkout.run(words)
    assert done.returncode == code
    for command in ("build", "lab", "test", "down"):
        assert f"\n  {command} " in done.stdout + done.stderr


def test_docker_without_rights(checkout: Checkout) -> None:
    """Who may neither install nor start an engine is told what to type, or whom to ask."""
    checkout.give("apt-get", 'echo "must not be called"')
    checkout.give("docker", "exit 1")
    done = checkout.run(["docker", "build"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Missing: docker.io docker-compose.\n")
    checkout.give("dockerd", 'echo "must not be called"')
    checkout.give("docker-compose", "exit 0")
    done = checkout.run(["docker", "build"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No Docker engine answers. Start one")


@pytest.mark.parametrize(
    "words", [["build", "fast"], ["lab", "--halt"], ["lab", "--stop", "now"], ["down", "-v"]]
)
def test_docker_with_too_many_words(checkout: Checkout, words: list[str]) -> None:
    """A mistyped option does not start what was not meant."""
    checkout.give("docker", 'echo "must not be called"')
    done = checkout.run(["docker", *words])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"./dev docker {' '.join(words[:-1])} takes no '{words[-1]}'.\nusage: ")


def test_docker_lab_explains_itself(checkout: Checkout) -> None:
    """Asking for help starts nothing."""
    checkout.give("docker", 'echo "must not be called"')
    done = checkout.run(["docker", "lab", "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ./dev docker COMMAND")


ENGINE_IS_AWAY = 'echo "Cannot connect to the Docker daemon" >&2; exit 1'
ENGINE_REFUSES = 'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1'


@pytest.mark.parametrize("command", [["lab", "--stop"], ["down"]])
def test_no_lab_to_stop(checkout: Checkout, command: list[str]) -> None:
    """Without Docker, without its engine or without a lab it says so, and starts and installs nothing."""
    checkout.give("apt-get", 'echo "must not be called"')
    checkout.give("dockerd", 'echo "must not be called"')
    done = checkout.run(["docker", *command])
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No lab is there: Docker is not installed.\n"
    checkout.give("docker", ENGINE_IS_AWAY)
    done = checkout.run(["docker", *command])
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No lab is there: no Docker engine runs.\n"
    checkout.give("docker", "exit 0")
    done = checkout.run(["docker", *command])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No lab is there.\n")


@pytest.mark.parametrize("command", [["build"], ["lab"], ["lab", "--stop"]])
def test_an_engine_that_refuses_us(checkout: Checkout, command: list[str]) -> None:
    """A second engine would not help: the way to the first one is told."""
    checkout.give("docker", ENGINE_REFUSES)
    checkout.give("dockerd", 'echo "must not be called"')
    checkout.give("docker-compose", "exit 0")
    done = checkout.run(["docker", *command])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("A Docker engine runs, but ")
    assert "usermod -aG docker" in done.stderr


def test_an_engine_elsewhere_that_is_away(checkout: Checkout) -> None:
    """Who names an engine wants that one."""
    checkout.give("docker", ENGINE_IS_AWAY)
    checkout.give("dockerd", 'echo "must not be called"')
    checkout.give("docker-compose", "exit 0")
    done = checkout.run(["docker", "build"], DOCKER_HOST="tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "No Docker engine answers at tcp://127.0.0.1:1, which DOCKER_HOST names.\n"


@pytest.mark.parametrize(("driver", "free", "wanted"), [("overlay2", 2999, 3000), ("vfs", 9999, 10000)])
def test_a_disk_that_is_almost_full(checkout: Checkout, driver: str, free: int, wanted: int) -> None:
    """Before anything is built, it says where room is needed and how much."""
    checkout.give("docker", f'case $1 in info) echo "{driver} {checkout.folder}" ;; build) echo no ;; esac')
    checkout.give("docker-compose", "exit 0")
    checkout.give("df", f"echo Avail; echo ' {free}'")
    done = checkout.run(["docker", "build"])
    assert (done.returncode, done.stdout) == (1, "")
    told = f"in {checkout.folder}, where {free} MiB are free; {wanted} are needed.\nNothing was changed."
    assert told in done.stderr


@pytest.mark.parametrize("become", ["su -", "sudo sh"])
def test_without_rights_it_says_what_to_install(checkout: Checkout, become: str) -> None:
    """Who may not install packages is told the one line that does, and nothing else happens."""
    checkout.give("apt-get", 'echo "must not be called"')
    if become == "sudo sh":
        checkout.give("sudo", 'echo "must not be called"')
    done = checkout.run(["lab"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Missing: default-jre-headless.",
        "Install them with this line, then run this again:",
        f"  {become} -c 'apt-get update && apt-get install -y --no-install-recommends default-jre-headless'",
    ]


def test_all_that_is_missing_is_said_at_once(checkout: Checkout) -> None:
    """Python's venv is a package of its own; Java is not asked for in a second round."""
    checkout.give("apt-get", 'echo "must not be called"')
    checkout.give("python3", "[[ $2 != *ensurepip* ]]")
    shutil.rmtree(checkout.folder / ".venv")
    done = checkout.run(["setup"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.returncode == 1
    assert done.stderr.startswith("Missing: python3-venv gcc libc6-dev ")
    for package in ("pkg-config", "git", "default-jdk-headless"):
        assert f" {package}" in done.stderr.splitlines()[0]


def test_a_compiler_is_asked_for_only_if_something_is_to_be_compiled(checkout: Checkout) -> None:
    """The AMQP library needs C's headers, Python's and OpenSSL's; who has it needs nothing of that."""
    checkout.give("java", "exit 0")
    checkout.give("apt-get", 'echo "must not be called"')
    (checkout.folder / ".venv" / ".installed-from").unlink()
    python = checkout.folder / ".venv" / "bin" / "python"
    checkout.write(python, "[[ $2 != *proton* ]]")
    checkout.give("gcc", "exit 0")
    checkout.give("python3", "[[ $2 != *Python.h* ]]")
    done = checkout.run(["lab"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.returncode == 1
    missing = done.stderr.splitlines()[0]
    assert "python3-dev pkg-config" in missing
    assert "gcc" not in missing


def test_no_python_at_all(checkout: Checkout) -> None:
    """Then Python is one of the packages."""
    (checkout.tools / "python3").unlink()
    done = checkout.run(["lab"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.stderr.startswith("Missing: python3 python3-venv default-jre-headless.")


def test_without_apt_it_names_what_is_missing(checkout: Checkout) -> None:
    """On another distribution the script names what is missing in Debian's words."""
    done = checkout.run(["lab"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.returncode == 1
    assert "default-jre-headless" in done.stderr


def test_python_too_old(checkout: Checkout) -> None:
    """An old Python is refused with both versions."""
    checkout.give("python3", 'if [[ $1 == --version ]]; then echo "Python 3.9.2"; else exit 1; fi')
    done = checkout.run(["check"])
    assert (done.returncode, done.stderr) == (1, "Python 3.11 or newer is needed; python3 is Python 3.9.2.\n")


@pytest.mark.parametrize(("status", "code"), [(0, 0), (75, 0), (1, 1)])
def test_a_check_that_cannot_be_made_is_no_failure(checkout: Checkout, status: int, code: int) -> None:
    """Where nobody answers whether dependencies are vulnerable, this is said aloud; an answer may fail."""
    checkout.give("git", "exit 0")
    binaries = checkout.folder / ".venv" / "bin"
    for tool in ("ruff", "mypy", "lint-imports", "pytest", "bandit"):
        checkout.write(binaries / tool, "exit 0")
    checkout.write(binaries / "python", f'[[ $* != *vulnerabilities* ]] || {{ echo "why"; exit {status}; }}')
    done = checkout.run(["check"])
    assert done.returncode == code, done.stderr
    last = done.stdout.splitlines()[-1 if status == 0 else -2 :]
    name = "vulnerabilities of dependencies (pip-audit)"
    assert (
        last
        == {
            0: [f"ok      {name}"],
            1: [f"FAILED  {name}", "        why"],
            75: [f"!!!!!!  {name}: NOT CHECKED", "        why"],
        }[status]
    )


def test_arguments_reach_the_program(checkout: Checkout) -> None:
    """With everything there, the command's own program runs with its arguments."""
    checkout.give("java", "exit 0")
    done = checkout.run(["lab", "--stop"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert (done.returncode, done.stdout) == (0, "python -m fabric.lab --stop\n"), done.stderr
    done = checkout.run(["bench", "failover", "--rounds", "2"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.stdout == "python -m perf.failover --rounds 2\n", done.stderr
    done = checkout.run(["simulate", "--seeds", "1..9"])
    assert done.stdout == "python -m simulation.cluster.simulate --seeds 1..9\n", done.stderr
    done = checkout.run(["soak", "--rounds", "3"], ZOOKEEPER_HOME="/opt/zookeeper")
    assert done.stdout == "python -m integration.soak.main --rounds 3\n", done.stderr


def test_what_is_compiled_is_kept(checkout: Checkout) -> None:
    """Also where the environment is against it: the tests start processes by the thousand."""
    python = checkout.folder / ".venv" / "bin" / "python"
    checkout.write(python, 'echo "${PYTHONDONTWRITEBYTECODE-kept}"')
    done = checkout.run(["simulate"], PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
