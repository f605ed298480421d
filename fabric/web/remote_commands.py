"""Which commands may be run from afar, and by whom. What stands nowhere here is for administrators.

A command runs on the console's host with the rights of the fabric there: this table is what limits it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fabric.web.errors import Refused
from fabric.web.roles import Role

VIEWERS: Final = frozenset(
    {
        "broker-list", "cluster-list", "connection-list", "container-info", "container-list",
        "container-resolver-list", "gateway-list", "info", "log-get", "profile-display", "profile-list",
        "queue-list",
        "require-profile-list", "schedule-list", "status", "subscription-list", "takeover-list", "topic-list",
        "transaction-list", "version-list", "wait-for-provisioning", "zk-list",
    }
)  # fmt: skip
"""What only looks. Secret values in the output are masked for all but administrators."""
OPERATORS: Final = frozenset(
    {
        "connection-close", "container-logs", "container-restart", "container-start", "container-stop",
        "queue-browse", "queue-copy", "queue-delete", "queue-move", "queue-pause", "queue-purge",
        "queue-resume", "queue-retry", "schedule-remove", "subscription-remove", "transaction-commit",
        "transaction-forget", "transaction-rollback",
    }
)  # fmt: skip
"""What works with containers, and with messages: these are the business of operators, also to read."""
NOT_FROM_AFAR: Final = {
    "backup": "It writes a file with password hashes on the host where it is typed.",
    "create": "It makes a fabric on the host where it is typed.",
    "crypt-export": "The master keys stay on their hosts.",
    "crypt-import": "The master keys stay on their hosts.",
    "crypt-rotate": "The master keys stay on their hosts.",
    "join": "It makes a host join a fabric, the one where it is typed.",
    "leave": "It takes a host out of its fabric, the one where it is typed.",
    "container-connect": "It opens a shell with the keys of the one who types it.",
    "container-create-ssh": "It logs in to a host with the keys of the one who types it.",
    "container-update-ssh-credentials": "It logs in to a host with the keys of the one who types it.",
    "certificate-create": "It writes files, and its keys stay on their host.",
    "certificate-renew": "It writes files, and its keys stay on their host.",
    "certificate-rollover": "It writes files, and its keys stay on their host.",
    "doctor": "It looks at the host where it is typed.",
    "ensemble-password": "The ensemble's password stays on the hosts of the fabric.",
    "host-stop": "It ends the console that would run it.",
    "restore": "It reads a file of the host where it is typed.",
    "systemd-install": "It writes files of the host where it is typed.",
}
"""Commands that are typed on a host of the fabric, each with the reason."""
ARGUMENTS_MAX: Final = 200
ARGUMENT_CHARACTERS_MAX: Final = 100_000

_SECRET_OPTION: Final = re.compile(r"--?[\w-]*(?:password|pass-phrase|secret|token)[\w-]*", re.IGNORECASE)


def command_of(argv: Sequence[str]) -> str:
    """The name of the command in a command line without `fabric`.

    Raises:
        Refused: there is none, or none that may be run from afar.
    """
    name = argv[0].removeprefix("fabric:").replace(":", "-") if argv else ""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise Refused(400, "The command line does not begin with a command.", "Options stand behind it.")
    if name in NOT_FROM_AFAR:
        raise Refused(400, f"{name} cannot be run from afar. {NOT_FROM_AFAR[name]}", "Type it there.")
    if any("\0" in argument for argument in argv):
        raise Refused(400, "An argument of a command has no NUL characters.")
    return name


def role_for(name: str) -> Role:
    """The least role that may run a command."""
    if name in VIEWERS:
        return Role.VIEWER
    return Role.OPERATOR if name in OPERATORS else Role.ADMIN


def for_log(argv: Sequence[str]) -> str:
    """A command line without its passwords, on one line."""
    shown: list[str] = []
    hide = False
    for argument in argv:
        option, equals, _ = argument.partition("=")
        if hide:
            shown.append("…")
        elif equals and _SECRET_OPTION.fullmatch(option):
            shown.append(f"{option}=…")
        else:
            shown.append(argument)
        hide = not equals and _SECRET_OPTION.fullmatch(argument) is not None
    return ascii(" ".join(shown)[:300])
