"""`python -m fabric.cli.served`: one command that a console runs for somebody elsewhere.

The command line comes as JSON on stdin, so that no password in it is seen in the list of processes. Refused
is what would reach into this host beyond the fabric, or would ask somebody at a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

import click
from click.core import ParameterSource

from fabric.cli import interrupt
from fabric.cli.audited import ASKER, Asker
from fabric.cli.channel import channel_options
from fabric.cli.main import COMMANDS, fabric
from fabric.web.secret_znodes import is_secret

CONNECTION: Final = (
    "home",
    "zookeeper_url",
    "zookeeper_password",
    *(str(one.name) for one in channel_options()),
)
"""Options that would lead to another fabric."""
BROKER_LOGIN: Final = frozenset({"user", "password", "timeout"})
"""A command that has all of them logs in to a broker, which the console does for who asks."""
FILES: Final = ("import_file", "resource")
"""Options, beside those of the type of a path, that read files or the terminal."""


class NotFromAfar(click.UsageError):
    """The command can be run, but not so from afar."""


def check(name: str, context: click.Context) -> None:
    """Refuse what must not be asked for from afar.

    Args:
        name: of the command.
        context: of it, with what was given.

    Raises:
        NotFromAfar: it is.
    """
    command = context.command
    given = {
        str(param.name): param
        for param in command.params
        if context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    }
    login = {str(param.name) for param in command.params} >= BROKER_LOGIN
    for key, param in given.items():
        option = max(param.opts, key=len)
        if key in CONNECTION:
            raise NotFromAfar(f"{option} cannot be given from afar: the console has its own fabric.")
        if login and key in ("user", "password"):
            raise NotFromAfar(f"{option} cannot be given from afar: the console logs in to the broker.")
        if key.startswith("ssh_"):
            raise NotFromAfar(f"{option} cannot be given from afar: the console has its own keys for hosts.")
        if key in FILES or isinstance(param.type, click.Path | click.File):
            raise NotFromAfar(f"{option} cannot be given from afar: it names a file of the console's host.")
    if name == "profile-edit" and not (context.params["pids"] or context.params["systems"]):
        raise NotFromAfar("From afar a profile is edited with --pid and --system.")
    if name == "container-restart" and (context.params["rolling"] or context.params["all_containers"]):
        raise NotFromAfar("Several containers are restarted from their hosts: the console is one of them.")
    if name.startswith("zk-"):
        _check_znodes(context.params)


def _check_znodes(params: dict[str, Any]) -> None:
    if params.get("display"):
        raise NotFromAfar("--display cannot be given from afar: some of the data may be secret.")
    if is_secret(params["path"]):
        raise NotFromAfar(f"{params['path']} is secret, and is not for commands from afar.")


def main() -> None:
    """Read the command line and run it."""
    asked = json.loads(sys.stdin.buffer.readline())
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    interrupt.install()
    arguments = [str(argument) for argument in asked["argv"]]
    said = asked.get("asker")
    if said is not None:
        ASKER.set(Asker(str(said["user"]), str(said["role"]), str(said["source"])))
    name = arguments[0].removeprefix("fabric:").replace(":", "-")
    if name in COMMANDS:
        command = fabric.get_command(click.Context(fabric), name)
        assert command is not None
        run = command.callback
        assert run is not None

        def checked(**given: Any) -> Any:  # noqa: ANN401 - click hands over what it parsed
            check(name, click.get_current_context())
            return run(**given)

        command.callback = checked
    fabric.main(arguments, prog_name="fabric")


if __name__ == "__main__":
    main()
