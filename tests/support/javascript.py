"""Other people's clients in JavaScript: the programs in `tests/interop/js`."""

import subprocess
from pathlib import Path

from support.apache import RunningProgram

PROGRAMS = Path(__file__).parents[1] / "interop" / "js"

AMQP_BASICS = [
    "product: Fabric",
    'body: "text" kind {"n":1,"t":"x"} 5',
    'body: {"type":"Buffer","data":[98,121,116,101,115]} kind {"n":1,"t":"x"} 5',
    'body: {"a":1} kind {"n":1,"t":"x"} 5',
    'body: [1,"two"] kind {"n":1,"t":"x"} 5',
    'body: 7 kind {"n":1,"t":"x"} 5',
    "data: section",
    "delivered before: 1",
    "dead: again",
    "selected: s2 s3",
    "drained: 0",
    "dynamic: temp-queue://ID",
    "answer: answer",
    "refused: amqp:invalid-field",
    "closed: in good order",
]
"""What `basics` of `amqp.js` sees."""

MQTT_BASICS = [
    *(f"message: js/4/{qos} grüße {qos} {qos} false" for qos in range(3)),
    "kept: 0,255 true",
    *(f"message: js/5/{qos} grüße {qos} {qos} false" for qos in range(3)),
    "kept: 0,255 true",
    "properties: re/ply 1 1,2 7",
    "refused: 134",
]
"""The same of `mqtt.js`."""

STOMP_BASICS = [
    "version: 1.2",
    'text: grüße "a:b\\\\d\\ne\\r" undefined',
    "bytes: 0,255,10 3",
    "dead: /queue/interop.js",
    "committed: commit",
    "left: in good order",
]
"""The same of `stomp.js`."""


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
