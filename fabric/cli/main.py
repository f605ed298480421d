"""The `fabric` command: finds the subcommand, turns errors into messages and exit codes.

Exit codes: 0 done, 1 it could not be done, 2 wrong usage, 130 stopped with Ctrl-C.
"""

import difflib
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from fabric.cli import interrupt
from fabric.cli.channel import channel_options
from fabric.cli.context import connection_options, console_options
from fabric.errors import FabricError
from fabric.log_lines import utc_text

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells count."""


class CommandEntry(NamedTuple):
    """Where a command lives; its module is imported when it is used."""

    module: str
    short_help: str


COMMANDS: dict[str, CommandEntry] = {
    "audit-list": CommandEntry("audit", "List who did what in the fabric."),
    "backup": CommandEntry("backup", "Write the fabric's configuration into a file."),
    "broker-list": CommandEntry("broker", "List the brokers and how much there is in each."),
    "certificate-create": CommandEntry("certificate", "Make certificates for containers and users."),
    "certificate-renew": CommandEntry("rollover", "Make certificates anew, for the same names."),
    "certificate-rollover": CommandEntry("rollover", "Replace the fabric's certificate authority in steps."),
    "cluster-list": CommandEntry("cluster", "List the clusters, their masters, slaves and services."),
    "connection-close": CommandEntry("connection", "Close a client's connection to a broker."),
    "connection-list": CommandEntry("connection", "List the clients connected to a broker."),
    "container-add-profile": CommandEntry("container", "Add profiles to a container."),
    "container-change-profile": CommandEntry("container", "Replace the profiles of a container."),
    "container-create-child": CommandEntry("container", "Create child containers."),
    "container-connect": CommandEntry("ssh", "Open a shell on the host of a container."),
    "container-create-ssh": CommandEntry("ssh", "Make containers on another host by ssh."),
    "container-delete": CommandEntry("container", "Stop and delete containers."),
    "container-info": CommandEntry("container", "Show the details of a container."),
    "container-list": CommandEntry("container", "List the containers."),
    "container-logs": CommandEntry("logs", "Show the log of a container."),
    "container-move": CommandEntry("move", "Move a container to another host."),
    "container-remove-profile": CommandEntry("container", "Remove profiles from a container."),
    "container-resolver-list": CommandEntry("resolver", "List which address containers tell to others."),
    "container-resolver-set": CommandEntry("resolver", "Say which address containers tell to others."),
    "container-restart": CommandEntry("rolling", "Begin the processes of containers anew."),
    "container-rollback": CommandEntry("version", "Move containers back to an older version."),
    "container-start": CommandEntry("container", "Start containers."),
    "container-stop": CommandEntry("container", "Shut down containers."),
    "container-update-ssh-credentials": CommandEntry(
        "ssh", "Say how the hosts of containers are logged in to."
    ),
    "container-upgrade": CommandEntry("version", "Move containers to a newer version."),
    "create": CommandEntry("create", "Create a new fabric."),
    "doctor": CommandEntry("doctor", "Look for what is wrong, and say what to do about it."),
    "ensemble-add": CommandEntry("ensemble", "Have containers run servers of the ensemble."),
    "ensemble-create": CommandEntry("ensemble", "Say which containers run the ensemble."),
    "ensemble-list": CommandEntry("ensemble", "List the containers that run the ensemble."),
    "ensemble-password": CommandEntry("ensemble_access", "Show or change the password of the registry."),
    "ensemble-remove": CommandEntry("ensemble", "Have containers run no server of the ensemble."),
    "ensemble-security": CommandEntry("ensemble_access", "Show whether the ensemble's servers use SASL."),
    "ensemble-summary": CommandEntry("ensemble", "Show where the ensemble is, and how its servers are."),
    "gateway-list": CommandEntry("gateway", "List the gateways, and the masters they lead to."),
    "host-stop": CommandEntry("host", "End all container processes of this host."),
    "crypt-export": CommandEntry("crypt", "Write the master keys to a file, for another host."),
    "crypt-import": CommandEntry("crypt", "Take the master keys of another host."),
    "crypt-list": CommandEntry("crypt", "List the secrets in profiles, and whether they are encrypted."),
    "crypt-profiles": CommandEntry("crypt", "Encrypt the secrets that stand in the clear in profiles."),
    "crypt-rotate": CommandEntry("crypt", "Encrypt all secrets in profiles with a new master key."),
    "encrypt-message": CommandEntry("crypt", "Encrypt a value for a profile."),
    "info": CommandEntry("status", "Show where the parts of the fabric are."),
    "join": CommandEntry("join", "Join this host to an existing fabric."),
    "leave": CommandEntry("join", "Take this host out of the fabric."),
    "log-get": CommandEntry("logs", "Show what containers log."),
    "log-set": CommandEntry("logs", "Say what containers log."),
    "mq-create": CommandEntry("mq", "Create the profile of a message broker."),
    "profile-change-parents": CommandEntry("profile", "Replace the parents of a profile."),
    "profile-copy": CommandEntry("profile", "Copy a profile."),
    "profile-create": CommandEntry("profile", "Create a profile."),
    "profile-delete": CommandEntry("profile", "Delete a profile."),
    "profile-display": CommandEntry("profile", "Show a profile."),
    "profile-edit": CommandEntry("profile_edit", "Change the configuration in a profile."),
    "profile-list": CommandEntry("profile", "List the profiles of a version."),
    "queue-browse": CommandEntry("queue", "Show the messages of a queue."),
    "queue-copy": CommandEntry("queue", "Send copies of a queue's messages elsewhere."),
    "queue-delete": CommandEntry("queue", "Delete a queue with its messages."),
    "queue-list": CommandEntry("queue", "List the queues of a broker."),
    "queue-move": CommandEntry("queue", "Move messages of a queue elsewhere."),
    "queue-pause": CommandEntry("queue", "Dispatch no more messages of a queue."),
    "queue-purge": CommandEntry("queue", "Remove messages of a queue."),
    "queue-resume": CommandEntry("queue", "Dispatch messages of a queue again."),
    "queue-retry": CommandEntry("queue", "Give dead letters back to where they were."),
    "require-profile-delete": CommandEntry("require", "Delete the requirements of a profile."),
    "require-profile-list": CommandEntry("require", "List the requirements."),
    "require-profile-set": CommandEntry("require", "Say how many containers a profile needs."),
    "restore": CommandEntry("backup", "Put a backup into a fabric."),
    "role-add": CommandEntry("access", "Give a user more roles."),
    "role-remove": CommandEntry("access", "Take roles from a user."),
    "schedule-list": CommandEntry("schedule", "List the messages that are to be delivered later."),
    "schedule-remove": CommandEntry("schedule", "Cancel a message that is to be delivered later."),
    "status": CommandEntry("status", "Compare what is required with what runs."),
    "subscription-list": CommandEntry("topic", "List the durable subscriptions of a broker."),
    "subscription-remove": CommandEntry("topic", "End a durable subscription."),
    "systemd-install": CommandEntry("host", "Write systemd units for this host."),
    "takeover-list": CommandEntry("takeover", "List the takeovers of the brokers, and how they went."),
    "token-create": CommandEntry("access", "Make an API token for a user."),
    "token-list": CommandEntry("access", "List the API tokens."),
    "token-revoke": CommandEntry("access", "End an API token."),
    "topic-list": CommandEntry("topic", "List the topics of a broker."),
    "transaction-commit": CommandEntry("transaction", "Commit a prepared branch for its manager."),
    "transaction-forget": CommandEntry("transaction", "Forget a branch that was ended for its manager."),
    "transaction-list": CommandEntry("transaction", "List the prepared branches of a broker."),
    "transaction-rollback": CommandEntry("transaction", "Roll a prepared branch back for its manager."),
    "version-create": CommandEntry("version", "Create a version as a copy of another one."),
    "version-delete": CommandEntry("version", "Delete a version that nobody uses."),
    "version-list": CommandEntry("version", "List the versions."),
    "version-set-default": CommandEntry("version", "Say which version new containers get."),
    "user-add": CommandEntry("access", "Make a user."),
    "user-list": CommandEntry("access", "List the users and their roles."),
    "user-password": CommandEntry("access", "Give a user another password."),
    "user-remove": CommandEntry("access", "Delete a user."),
    "wait-for-provisioning": CommandEntry("status", "Wait until the containers are provisioned."),
    "zk-create": CommandEntry("zk", "Create a znode."),
    "zk-delete": CommandEntry("zk", "Delete a znode."),
    "zk-get": CommandEntry("zk", "Show the data of a znode."),
    "zk-list": CommandEntry("zk", "List the children of a znode."),
    "zk-set": CommandEntry("zk", "Write the data of a znode."),
}
"""Every command: `a-b` is the function `a_b` in the module `fabric.cli.<module>`."""


class CommandFailed(click.ClickException):
    """What a command could not do, and what to do about it."""

    def __init__(self, what: str, do_next: str) -> None:
        super().__init__("\n".join(line for line in (what, do_next) if line))


class CommandGroup(click.Group):
    """The commands of `COMMANDS`, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. `fabric:cluster-list` and `zk:get` of the original are understood too."""
        name = cmd_name.removeprefix("fabric:").replace(":", "-")
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        module = importlib.import_module(f"fabric.cli.{entry.module}")
        found = getattr(module, name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; for a misspelt one, say which is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as the base class
        """Run the command, here or with `--url` elsewhere; errors become messages."""
        try:
            return self._invoke_outside(ctx) if ctx.params.get("url") else super().invoke(ctx)
        except FabricError as error:
            raise CommandFailed(error.what, error.do_next) from error
        except Exception as error:
            failure = _registry_failure(error)
            if failure is None:
                raise
            raise failure from error

    def _invoke_outside(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as the base class
        """Let a console run the command; only help is shown from here."""
        argv = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        if any(argument in ctx.help_option_names for argument in argv):
            return super().invoke(ctx)
        from fabric.cli.remote import Outside, run_outside  # noqa: PLC0415 - most commands run here

        params = ctx.params
        authority = Path(params["ca"]) if params["ca"] else None
        outside = Outside(params["url"], params["token"], params["user"], params["password"], authority)
        return run_outside(outside, argv)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:  # noqa: ANN401 - as the base
        """Run and leave with the exit codes this module's docstring promises."""
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        try:
            code = run(*args, standalone_mode=False, **extra)
        except click.Abort:
            click.echo("Stopped.", err=True)
            sys.exit(INTERRUPTED)
        except click.ClickException as error:
            _show(error)
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def _show(error: click.ClickException) -> None:
    """Say what went wrong: to people, or as a line of JSON to a log that is to be of JSON."""
    if os.environ.get("FABRIC_LOG_FORMAT") != "json":
        error.show()
        return
    head = {"time": utc_text(time.time()), "level": "error", "logger": "fabric.cli"}
    click.echo(json.dumps({**head, "message": error.format_message()}, ensure_ascii=False), err=True)


_DO_NEXT = (
    (
        "LoginFailed",
        "Give them with --zookeeper-sasl-user and --zookeeper-sasl-password; "
        "in fabric.json of the fabric's hosts they stand in zookeeper_channel.",
    ),
    (
        "ChannelNotSecured",
        "What a connection with ZooKeeper needs is said with --zookeeper-tls, --zookeeper-ca, "
        "--zookeeper-certificate and --zookeeper-key.",
    ),
    (
        "AuthenticationFailed",
        "Give the password of the ensemble with --zookeeper-password. If it was changed while this host was "
        "away, `fabric ensemble-password --note` writes down the new one here.",
    ),
    (
        "RegistryUnavailable",
        "Is the container that runs ZooKeeper up? On its host `fabric container-start root` starts it; "
        "a fabric elsewhere is named with --zookeeper-url.",
    ),
    ("NoSuchNode", "`fabric zk-list -r` shows those there are."),
    ("NodeExists", "Write its data with `fabric zk-set`, or choose another name."),
    ("NodeNotEmpty", "Delete what is below it too with --recursive."),
    ("VersionConflict", "Look at it and try again."),
)
"""What to do about an error of the registry, by its class."""


def _registry_failure(error: Exception) -> CommandFailed | None:
    """Return the message for an error of the registry, None for any other.

    The registry is only looked at if the command has imported it: importing it takes long.
    """
    module = sys.modules.get("registry.errors")
    if module is None or not isinstance(error, module.RegistryError):
        return None
    advice = [text for name, text in _DO_NEXT if isinstance(error, getattr(module, name))]
    return CommandFailed(str(error), advice[0] if advice else "")


@click.group(
    cls=CommandGroup,
    name="fabric",
    epilog=(
        "`fabric COMMAND --help` shows the options of a command and examples.\n\n\b\n"
        "From another host, through the console:\n"
        "  fabric --url https://host:8181 --ca ca.pem --user admin container-list\n"
        "  fabric --url https://host:8181 --token fabric_… queue-list --watch"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    params=[*connection_options(), *channel_options(), *console_options()],
)
@click.version_option(package_name="fabric-mq", prog_name="fabric")
@click.pass_context
def fabric(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401 - the connection options
    """Run and look after a fabric of containers and message brokers."""
    common = {str(option.name) for option in (*connection_options(), *channel_options())}
    context.obj = {name: value for name, value in given.items() if value is not None and name in common}


def main() -> None:
    """Entry point of the console script."""
    interrupt.install()
    logging.getLogger().addHandler(logging.NullHandler())  # what matters to the user is raised, not logged
    fabric.main(prog_name="fabric")


if __name__ == "__main__":
    main()
