"""Apache's Java client and broker, from the distribution's packages, for tests and benchmarks."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import wait_until

LIBRARIES = Path("/usr/share/java")

#: Apache's client, broker and store with what they load; slf4j-nop keeps the programs' output clean.
JARS = (
    "activemq-client",
    "activemq-broker",
    "activemq-kahadb-store",
    "activemq-openwire-legacy",
    "activemq-jaas",
    "activemq-mqtt",
    "activemq-protobuf",
    "activemq-stomp",
    "hawtbuf",
    "geronimo-jms_1.1_spec",
    "geronimo-j2ee-management-1.1-spec",
    "slf4j-api",
    "slf4j-nop",
)

#: What the connector of a protocol needs besides; it is Debian's, but no part of `libactivemq-java`.
CONNECTOR_JARS = {"stomp": (), "mqtt": ("mqtt-client", "hawtdispatch", "hawtdispatch-transport")}

#: For programs that run for seconds, without the compiler that has no time to pay off. Not for benchmarks.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

INTEROP_SOURCES = Path(__file__).parents[1] / "interop" / "java"


class JavaMissingError(Exception):
    """Apache's client cannot be run here; the text says what to install."""


def class_path() -> list[Path]:
    """Where Apache's classes are.

    Raises:
        JavaMissingError: a library is not installed.
    """
    jars = [LIBRARIES / f"{name}.jar" for name in JARS]
    missing = [jar.name for jar in jars if not jar.exists()]
    if missing:
        raise JavaMissingError(
            f"not installed: {', '.join(missing)}; install the packages libactivemq-java and libslf4j-java"
        )
    others = [name for names in CONNECTOR_JARS.values() for name in names if has_jar(name)]
    return [*jars, *(LIBRARIES / f"{name}.jar" for name in others)]


def has_jar(name: str) -> bool:
    """Whether a library is installed."""
    return (LIBRARIES / f"{name}.jar").exists()


class JavaPrograms:
    """Small Java programs, compiled once into a folder and run from there, with options of the machine."""

    def __init__(
        self, classes: Path, *source_folders: Path, only: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        self._options = options
        self._class_path = os.pathsep.join(map(str, [*class_path(), classes]))
        found = (source for folder in source_folders for source in sorted(folder.glob("*.java")))
        sources = [str(source) for source in found if not only or source.stem in only]
        needed = ["-sourcepath", os.pathsep.join(map(str, source_folders)), "-implicit:class"]
        command = ["javac", "-Xlint:all", "-Werror", "-cp", self._class_path, *needed, "-d", str(classes)]
        subprocess.run([*command, *sources], check=True)

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line that runs a program."""
        return ["java", *self._options, "-cp", self._class_path, name, *arguments]

    def facts(self, name: str, *arguments: str, timeout_s: float = 100.0) -> list[str]:
        """Run a program to its end and return the facts that it printed, one a line."""
        try:
            done = subprocess.run(
                self.command(name, *arguments), capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as slow:
            raise AssertionError(
                f"{name} did not end; it printed:\n{slow.stdout!r}\n{slow.stderr!r}"
            ) from slow
        assert done.returncode == 0, f"{name} failed:\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    def start(self, output: Path, name: str, *arguments: str) -> "RunningProgram":
        """Start a program whose facts go to a file while it runs."""
        return RunningProgram(self.command(name, *arguments), output)


class RunningProgram:
    """A program that runs until it is told to stop; ended by its own process id in every case."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        self._output = output
        with output.open("wb") as facts:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=facts, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def facts(self) -> list[str]:
        """What it has printed so far, whole lines only."""
        text = self._output.read_text("utf-8")
        return text[: text.rfind("\n") + 1].splitlines()

    def values(self, fact: str) -> list[str]:
        """The values of all facts of one name, in their order."""
        prefix = f"{fact}: "
        return [line.removeprefix(prefix) for line in self.facts() if line.startswith(prefix)]

    def wait_for(self, fact: str, count: int = 1, timeout_s: float = 60.0) -> list[str]:
        """Wait until a fact was printed so many times, and return its values."""

        def enough() -> list[str] | None:
            assert self._process.poll() is None, f"it ended: {self.facts()[-5:]}"
            values = self.values(fact)
            return values if len(values) >= count else None

        return (
            wait_until(enough, timeout_s, lambda: f"{count} x {fact}; it printed {self.facts()[-5:]}") or []
        )

    def go_on(self) -> None:
        """Write a line to its standard input, for which it waits."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go on\n")
        self._process.stdin.flush()

    def wait_ended(self, timeout_s: float = 60.0) -> None:
        """Wait until it ends by itself, as it should."""
        self._process.wait(timeout_s)
        assert self._process.returncode == 0, self.facts()[-5:]

    def tell_to_stop(self, timeout_s: float = 30.0) -> None:
        """Write a line to its standard input, close that, and wait for its end."""
        self._process.communicate(b"stop\n", timeout=timeout_s)
        assert self._process.returncode == 0, self.facts()[-5:]


def start_apache_broker(
    programs: JavaPrograms, data: Path, port: int = 0, *arguments: str, name: str = "ApacheBroker"
) -> tuple[RunningProgram, str]:
    """Start Apache's broker; returns it and its URL once it serves.

    Args:
        programs: among which its main class is.
        data: folder for its store and its output.
        port: where it listens; 0: anywhere.
        arguments: more for the main class: for `ApacheBroker` the URLs of further connectors, such as
            `stomp://127.0.0.1:0`; its port is the value of the fact that is named as its scheme.
        name: of the main class; each says which policies its broker has.
    """
    data.mkdir(parents=True, exist_ok=True)
    broker = programs.start(data / "output", name, str(data), str(port), *arguments)
    try:
        return broker, broker.wait_for("ready")[0]
    except BaseException:
        broker.end()
        raise
