"""`fabric create`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from fabric.addresses import PORTS, RESOLVERS
from fabric.cli.addressing import PORT, check_ports, manual_ip_option
from fabric.cli.context import CommandContext, command
from fabric.cli.waiting import MS_PER_S, wait_provisioned
from fabric.errors import FabricError
from registry.channel import PLAIN, ChannelSettings
from registry.server import INIT_LIMIT_TICKS, SYNC_LIMIT_TICKS, TICK_TIME_MS

F = TypeVar("F", bound=Callable[..., Any])

WITHOUT_MEANING = {
    "--no-import": "The profiles that come with the package are always imported.",
    "--import-dir": "Profiles are not read from a directory; create yours with `fabric profile-create`.",
    "--non-managed": "Every container here is managed by its agent.",
    "--time": "Nothing waits for a fixed time here: use --bootstrap-timeout.",
    "--external-git-url": "Profiles are kept in the registry, not in git.",
    "--external-git-user": "Profiles are kept in the registry, not in git.",
    "--external-git-password": "Profiles are kept in the registry, not in git.",
    "--zookeeper-snap-retain-count": "ZooKeeper keeps three snapshots here.",
    "--zookeeper-purge-interval": "ZooKeeper deletes old snapshots once a day here.",
}
"""Options of the original that cannot do anything here, and why."""

_FLAGS = ("--no-import", "--non-managed")
_SHORT = {"--non-managed": "-n", "--time": "-t"}


def _refuse(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    if value:
        option = parameter.opts[-1]
        raise click.UsageError(f"The option {option} has no meaning here. {WITHOUT_MEANING[option]}")


def _refused_options(function: F) -> F:
    for option in WITHOUT_MEANING:
        names = [_SHORT[option], option] if option in _SHORT else [option]
        function = click.option(
            *names,
            is_flag=option in _FLAGS,
            hidden=True,
            expose_value=False,
            is_eager=True,
            callback=_refuse,
        )(function)
    return function


@command(
    "create",
    examples=[
        "fabric create --clean --wait-for-provisioning",
        "fabric create --new-user admin --new-user-password admin --zookeeper-server-port 2182",
        "fabric create --zookeeper-url zk1:2181,zk2:2181,zk3:2181 --zookeeper-password secret",
        "fabric create --zookeeper-url zk1:2181,zk2:2181,zk3:2181/fabrics/shop",
        "fabric create --bind-address 0.0.0.0 --zookeeper-tls",
        "fabric create --zookeeper-url zk1:2281,zk2:2281,zk3:2281 --zookeeper-tls --zookeeper-ca ca.pem",
    ],
    shows_channel=True,
)
@click.argument("containers", nargs=-1)
@click.option("--clean", is_flag=True, help="Replace a fabric that is down; stores of brokers are kept.")
@click.option("-f", "--force", is_flag=True, help="Replace a fabric that runs: stop it first.")
@click.option("--wait-for-provisioning", is_flag=True, help="Wait until the root container is provisioned.")
@click.option("--new-user", metavar="NAME", help="The first user; asked for if it is not given.")
@click.option("--new-user-password", metavar="PASSWORD", help="Its password; asked for if it is not given.")
@click.option("--new-user-role", default="_g_:admin", show_default=True, help="Its role.")
@click.option(
    "--zookeeper-password", metavar="PASSWORD", help="Password of the registry; default: the first user's."
)
@click.option("--generate-zookeeper-password", is_flag=True, help="Make up a password for the registry.")
@click.option(
    "--zookeeper-url",
    metavar="HOST:PORT,…[/PATH]",
    help="Use this ensemble, below that path, instead of a server of our own.",
)
@click.option(
    "--zookeeper-server-port",
    type=click.IntRange(1, 65535),
    help="Port of ZooKeeper; default: 2181, or the next free one.",
)
@click.option(
    "--zookeeper-ticktime",
    type=click.IntRange(50, 60_000),
    default=TICK_TIME_MS,
    show_default=True,
    help="Length of ZooKeeper's tick, ms.",
)
@click.option(
    "--zookeeper-init-limit", type=click.IntRange(1), default=INIT_LIMIT_TICKS, show_default=True, hidden=True
)
@click.option(
    "--zookeeper-sync-limit", type=click.IntRange(1), default=SYNC_LIMIT_TICKS, show_default=True, hidden=True
)
@click.option("--zookeeper-data-dir", metavar="DIR", default="", help="Default: zookeeper in the home.")
@click.option(
    "-b",
    "--bind-address",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen; 0.0.0.0: on all addresses. ADDRESS:PORT also sets the port of ZooKeeper.",
)
@click.option(
    "-r",
    "--resolver",
    type=click.Choice(RESOLVERS),
    help="Which address is told to others.",
)
@click.option(
    "-g",
    "--global-resolver",
    type=click.Choice(RESOLVERS),
    help="That of containers which join and name none; default: each its host's name.",
)
@manual_ip_option
@click.option("-p", "--profile", "profiles", multiple=True, help="Profile of root; default: fabric, mq-amq.")
@click.option("--version", default="1.0", show_default=True, help="The first version of the profiles.")
@click.option("--min-port", type=PORT, default=PORTS[0], show_default=True, help="Lowest port.")
@click.option("--max-port", type=PORT, default=PORTS[1], show_default=True, help="Highest port.")
@click.option(
    "--bootstrap-timeout",
    type=click.IntRange(1000),
    default=120_000,
    show_default=True,
    help="How long to wait for each step, ms.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@_refused_options
def create(context: CommandContext, **given: Any) -> None:  # noqa: ANN401 - the options above
    """Create a new fabric: a registry, and the root container on this host."""
    if len(given["containers"]) > 1:
        raise click.UsageError("A new fabric has one container. Further servers are added to it afterwards.")
    check_ports(given["min_port"], given["max_port"])
    from fabric.create import CreateOptions, create_fabric  # noqa: PLC0415 - after the usage is known to be right

    address, zookeeper_port = _bind_address(given["bind_address"], given["zookeeper_server_port"])
    timeout_s = given["bootstrap_timeout"] / MS_PER_S
    root = given["containers"][0] if given["containers"] else "root"
    _check_absent_first(context, given)
    user, password = _credentials(given["new_user"], given["new_user_password"])
    options = CreateOptions(
        user=user,
        password=password,
        role=given["new_user_role"],
        root=root,
        profiles=given["profiles"],
        version=given["version"],
        zookeeper_url=given["zookeeper_url"],
        channel=_channel(context, given["zookeeper_url"]),
        zookeeper_password=given["zookeeper_password"],
        generate_zookeeper_password=given["generate_zookeeper_password"],
        zookeeper_port=zookeeper_port,
        zookeeper_data_directory=given["zookeeper_data_dir"],
        tick_time_ms=given["zookeeper_ticktime"],
        init_limit=given["zookeeper_init_limit"],
        sync_limit=given["zookeeper_sync_limit"],
        bind_address=address,
        resolver=given["resolver"],
        global_resolver=given["global_resolver"],
        manual_ip=given["manual_ip"],
        port_min=given["min_port"],
        port_max=given["max_port"],
        clean=given["clean"],
        force=given["force"],
        bootstrap_timeout_s=timeout_s,
    )
    say: Callable[[str], None] = click.echo if given["verbose"] else lambda text: None
    click.echo(f"Waiting for container: {root}")
    try:
        create_fabric(context.home, options, say)
    except KeyboardInterrupt:
        _say_interrupted(context, root)
        raise
    if not given["wait_for_provisioning"]:
        click.echo("It may take a couple of seconds for the container to provision...")
        click.echo(
            "You can use the --wait-for-provisioning option, if you want this command to block "
            "until the container is provisioned."
        )
        return
    wait_provisioned(context, root, timeout_s, lambda: _say_interrupted(context, root))


def _channel(context: CommandContext, zookeeper_url: str | None) -> ChannelSettings:
    """How the registry is talked to; of a server of our own it is only said that it speaks TLS."""
    channel = context.given_channel or PLAIN
    if not zookeeper_url and channel != replace(PLAIN, tls=channel.tls):
        raise click.UsageError(
            "Files for TLS and logins by SASL are of an ensemble that exists: name it with --zookeeper-url. "
            "A server that the fabric runs itself speaks TLS with --zookeeper-tls, "
            "with certificates of the fabric's own authority."
        )
    return channel


def _bind_address(text: str, port: int | None) -> tuple[str, int | None]:
    address, colon, zookeeper_port = text.partition(":")
    if not colon or ":" in zookeeper_port:  # none, or an IPv6 address
        return text, port
    if not zookeeper_port.isdigit():
        raise click.UsageError(f"{text!r} is not an address, nor an address and a port.")
    return address, int(zookeeper_port)


def _check_absent_first(context: CommandContext, given: dict[str, Any]) -> None:
    """Refuse before asking for anything."""
    from fabric.create import check_absent  # noqa: PLC0415 - as in `create`

    check_absent(context.home, force=given["force"], clean=given["clean"])


def _credentials(user: str | None, password: str | None) -> tuple[str, str]:
    if (user is None or password is None) and not sys.stdin.isatty():
        raise FabricError(
            "A fabric needs a first user.", "Give one with --new-user NAME --new-user-password PASSWORD."
        )
    if user is None:
        user = str(click.prompt("New user name"))
    while not password:
        password = str(click.prompt(f"Password for {user}", hide_input=True))
        if password != click.prompt(f"Verify password for {user}", hide_input=True):
            click.echo("Passwords did not match. Please try again!")
            password = None
    return user, password


def _say_interrupted(context: CommandContext, root: str) -> None:
    if context.home.has_fabric():
        click.echo(
            f"\nThe fabric is created, and container {root} goes on starting by itself. "
            "Look at it with: fabric container-list",
            err=True,
        )
    else:
        click.echo("\nNothing was created.", err=True)
