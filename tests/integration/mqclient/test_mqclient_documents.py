"""The client's documents say what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from support.model_broker_server import ModelBroker

from mqclient import arguments, options
from mqclient.options import ClientOptions, FailoverOptions, WireOptions, external_name

DOCUMENTS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCUMENTS / "reference" / "mq-client.md").read_text("utf-8")


def rows() -> dict[str, str]:
    """The option tables of the reference: name to default."""
    return dict(re.findall(r"(?m)^\| `([\w.]+)` \| (\S+) \|", REFERENCE))


@pytest.mark.parametrize(
    ("record", "prefix"), [(FailoverOptions(), ""), (WireOptions(), "wireFormat."), (ClientOptions(), "jms.")]
)
def test_every_option_of_a_url_is_documented_with_its_default(record: object, prefix: str) -> None:
    """The tables are complete and right."""
    documented = rows()
    socket = {"connectionTimeout", "tcpNoDelay", "keepAlive", "socketBufferSize", "socket.verifyHostName"}
    for field in fields(record):
        name = external_name(field.name)
        full = name if name in socket else prefix + name
        assert documented[full] == (str(field.default).lower() or "none"), full


def test_every_option_of_the_command_is_documented() -> None:
    """The table of the command's options is complete, and so is the list of what is refused."""
    for option in arguments.OPTIONS:
        assert f"`{option.name}`" in REFERENCE
    for name in (*options.UNSUPPORTED, *options.WITHOUT_MEANING, options.ALL_PREFETCHES):
        assert f"`{name}`" in REFERENCE or name == "maxReconnects"


def test_the_howto_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The program of "Write a client" does what its text says."""
    text = (DOCUMENTS / "howto" / "write-a-client.md").read_text("utf-8")
    program = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    with ModelBroker() as broker:
        exec(program.replace("tcp://localhost:61616", broker.url), {})
    said = capsys.readouterr().out
    assert "received ten apples {'fruit': 'apple', 'count': 10}" in said
    assert "working on a job" in said
    assert "done so far: 100" in said
