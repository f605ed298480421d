"""`/api/v1/commands`: the command line from outside.

Commands run in processes of their own, with this fabric's rights: `fabric.web.remote_commands` says who may
run which.
"""

from __future__ import annotations

import logging
from typing import Annotated, Final

import msgspec

from fabric.web.audit import source_of
from fabric.web.errors import NotAllowed, Refused
from fabric.web.remote_commands import (
    ARGUMENT_CHARACTERS_MAX,
    ARGUMENTS_MAX,
    command_of,
    for_log,
    role_for,
)
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Flow, Request, Route
from fabric.web.running import RunningCommand
from fabric.web.secret_znodes import without_secrets

audit = logging.getLogger("fabric.audit")

NDJSON: Final = "application/x-ndjson"
RUNNING_MAX: Final = 8
"""Commands at a time: each is a process of some 50 MiB."""
RUNNING_OF_USER_MAX: Final = 4
COLUMNS: Final = 100


class CommandBody(Request):
    """A command to run.

    Attributes:
        argv: the command line without `fabric`.
        columns: how wide the terminal is.
    """

    argv: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=ARGUMENT_CHARACTERS_MAX)]],
        msgspec.Meta(min_length=1, max_length=ARGUMENTS_MAX),
    ]
    columns: Annotated[int, msgspec.Meta(ge=20, le=1_000)] = COLUMNS


async def run_command(call: Call) -> Flow:
    """Run a command; its output follows as it comes."""
    argv = call.body.argv
    name = command_of(argv)
    role = role_for(name)
    if call.user.role < role:
        raise NotAllowed(call.user.user, role.label)
    console, user = call.console, call.user.user
    running = console.running_commands
    if len(running) >= RUNNING_MAX or running.count(user) >= RUNNING_OF_USER_MAX:
        raise Refused(429, "Too many commands are running.", "Wait until one has ended.")
    login = await console.blocking(console.links.login)
    environment = {
        "FABRIC_HOME": str(console.home.path),
        "FABRIC_USER": login.user,
        "FABRIC_PASSWORD": login.password,
        "COLUMNS": str(call.body.columns),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }
    audit.info("%s from %s runs: fabric %s", user, call.remote, for_log(argv))
    clean = None if call.user.role >= Role.ADMIN else without_secrets
    return Flow(
        NDJSON,
        lambda sink: _run(call, RunningCommand(console.reactor, sink, clean), argv, environment),
    )


async def _run(call: Call, command: RunningCommand, argv: list[str], environment: dict[str, str]) -> None:
    console, user = call.console, call.user.user
    asker = {"user": user, "role": call.user.role.label, "source": source_of(call.user, call.remote)}
    console.running_commands.append(user)
    command.gone.addCallback(lambda _: console.running_commands.remove(user))
    try:
        command.start(argv, environment, str(console.home.path), asker)
        await command.ended
    finally:
        command.leave()


ROUTES: Final = (
    Route(
        "POST",
        f"{API}/commands",
        run_command,
        "Run a command of the command line; each command has its own role. Answers a line of JSON for each "
        "piece of output, and at the end the exit code.",
        Role.VIEWER,
        body=CommandBody,
    ),
)
