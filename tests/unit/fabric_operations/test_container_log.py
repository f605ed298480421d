"""What a container logs, in text and in JSON, and from which level on."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fabric.cli.main import fabric
from fabric.log_lines import readable, readable_text, utc_text
from fabric.logs import (
    JSON,
    TEXT,
    ContainerLog,
    LevelInvalid,
    check_level,
    json_formatter,
    parse_levels,
    profile_levels,
)


@pytest.fixture
def own_log(tmp_path: Path) -> Iterator[ContainerLog]:
    """A container's log; the levels of all loggers are as before at the end."""
    root, child = logging.getLogger(), logging.getLogger("tests.broker")
    before = root.level, child.level
    own = ContainerLog(tmp_path / "container.log", "orders")
    yield own
    own.close()
    root.setLevel(before[0])
    child.setLevel(before[1])


def formatted(record: logging.LogRecord) -> dict[str, object]:
    """The line of a record."""
    line = json_formatter({"container": "orders"}).format(record)
    assert "\n" not in line
    fields = json.loads(line)
    assert isinstance(fields, dict)
    return fields


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    """Something that is logged."""
    made = logging.LogRecord("broker.mqtt", logging.WARNING, __file__, 1, message, arguments, None)
    made.created = 1_700_000_000.25
    made.__dict__.update(extra)
    return made


def test_a_line_of_json() -> None:
    """Time in UTC with milliseconds, level, container, logger, message, and what the code added."""
    found = formatted(record("%s: gone", "tcp://h:1", connection="tcp://h:1", destination="a/b"))
    assert found == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "container": "orders",
        "logger": "broker.mqtt",
        "message": "tcp://h:1: gone",
        "connection": "tcp://h:1",
        "destination": "a/b",
    }
    assert list(found)[:4] == ["time", "level", "container", "logger"]


def test_an_exception_is_in_the_line() -> None:
    """A traceback does not break the line."""
    made = record("failed")
    try:
        raise ValueError("ünsound")
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    found = formatted(made)
    assert "ValueError: ünsound" in str(found["exception"])
    assert found["message"] == "failed"


def test_what_json_cannot_say_is_said_as_text() -> None:
    """A line is lost for nothing that the code adds."""
    assert formatted(record("x", place=Path("/a")))["place"] == "/a"


@given(st.text())
def test_every_message_survives(text: str) -> None:
    """Whatever is logged, the line is whole, and reads as text again."""
    line = json_formatter({}).format(record("%s", text))
    assert "\n" not in line
    fields = json.loads(line)
    assert fields["message"] == text
    assert readable(line).endswith(f"WARNING [broker.mqtt] {text}")


def test_the_format_changes_while_it_runs(tmp_path: Path, own_log: ContainerLog) -> None:
    """The file goes on, and what is no format is refused."""
    own_log.write(record("one"))
    assert own_log.use_format(JSON)
    own_log.write(record("two"))
    assert not own_log.use_format("xml")
    assert own_log.use_format(TEXT)
    own_log.write(record("three"))
    first, second, third = (tmp_path / "container.log").read_text().splitlines()
    assert first.endswith("WARNING [broker.mqtt] one")
    assert json.loads(second)["message"] == "two"
    assert third.endswith("three")


def test_levels_of_profiles_and_those_set_over_them(own_log: ContainerLog) -> None:
    """What was set goes before what the profiles say, and is taken back."""
    root, child = logging.getLogger(), logging.getLogger("tests.broker")
    own_log.use_profile({"log4j.rootLogger": "WARN, out", "log4j.logger.tests.broker": "DEBUG"})
    assert (root.level, child.level) == (logging.WARNING, logging.DEBUG)
    own_log.use_levels({"tests.broker": "ERROR"})
    assert child.level == logging.ERROR
    own_log.use_levels({})
    assert child.level == logging.DEBUG
    own_log.use_profile({})
    assert (root.level, child.level) == (logging.INFO, logging.NOTSET)


def test_keys_of_profiles_that_mean_nothing_here() -> None:
    """Appenders of the original, and levels that there are not."""
    given = {
        "log4j.appender.out": "X",
        "log4j.logger.a": "LOUD",
        "log4j.logger.b": " error ",
        "fabric.x": "INFO",
    }
    assert profile_levels(given) == {"b": "ERROR"}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": "LOUD"}'])
def test_levels_that_cannot_be_understood(text: str) -> None:
    """They count as none: a container must not fail over its log."""
    assert parse_levels(text) == {}


def test_levels_as_they_are_typed() -> None:
    """In any case; a name that no logger can have is refused."""
    assert check_level("debug", "broker.mqtt") == ("DEBUG", "broker.mqtt")
    assert check_level("Default", "root") == ("DEFAULT", "ROOT")
    with pytest.raises(LevelInvalid):
        check_level("INFO", "a b")
    with pytest.raises(LevelInvalid, match="LOUD"):
        check_level("LOUD", "ROOT")


@pytest.mark.parametrize("line", ["", "plain", "{", '{"time": 3}', '{"time": "x", "level": 1}', "{}", "[1]"])
def test_a_line_that_is_none_of_ours_stays(line: str) -> None:
    """What somebody printed is shown as it is."""
    assert readable(line) == line


def test_lines_of_both_kinds() -> None:
    """A log whose format was changed reads as one."""
    line = json.dumps(
        {
            "time": utc_text(0),
            "level": "error",
            "container": "c",
            "logger": "l",
            "message": "m",
            "broker": "b",
            "exception": "Traceback",
        }
    )
    shown = io.StringIO(readable_text(f"text\n{line}\nhalf")).read().splitlines()
    assert shown[0] == "text"
    assert shown[1].endswith("ERROR   [l] m (broker=b)")
    assert shown[2:] == ["Traceback", "half"]


def test_a_commands_error_as_a_line_of_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where logs are to be JSON, so is what a command complains of."""
    monkeypatch.setenv("FABRIC_LOG_FORMAT", "json")
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path))
    result = CliRunner().invoke(fabric, ["doctor", "--only", "teeth"])
    assert result.exit_code == 1
    fields = json.loads(result.stderr)
    assert fields["level"] == "error"
    assert fields["message"].startswith("There is no check teeth.")
