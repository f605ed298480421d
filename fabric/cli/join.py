"""`fabric join` and `fabric leave`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabric.addresses import PORTS
from fabric.cli.addressing import address_options, check_ports
from fabric.cli.context import CommandContext, command
from fabric.cli.waiting import MS_PER_S, provision_timeout_option, wait_provisioned
from fabric.errors import FabricError, RegistryDown
from fabric.home import RegistryAddress
from registry.errors import RegistryError

if TYPE_CHECKING:
    from fabric.records import ContainerRecord


@command(
    "join",
    examples=[
        "fabric join zk1:2181",
        "fabric join zk1:2181,zk2:2181,zk3:2181 east --profile fabric --wait-for-provisioning",
        "fabric join zk1:2181,zk2:2181/fabrics/shop east",
        "fabric join 10.0.0.7:2181 east --resolver manualip --manual-ip 203.0.113.9",
        "fabric join zk1:2281,zk2:2281 east --zookeeper-tls --zookeeper-ca ca.pem --zookeeper-sasl-user shop",
    ],
    shows_channel=True,
)
@click.argument("zookeeper_url")
@click.argument("name", metavar="[NAME]", default="")
@click.option("-n", "--non-managed", is_flag=True, help="Only connect it: its agent runs no profiles.")
@click.option("-f", "--force", is_flag=True, help="Take the place of a container of that name that is down.")
@click.option(
    "-p",
    "--profile",
    "profiles",
    multiple=True,
    default=["fabric"],
    show_default=True,
    help="Profile of the container; may be repeated.",
)
@click.option("-v", "--version", help="Version of the profiles; default: the fabric's default version.")
@address_options(
    resolver="the fabric's, else this host's name",
    bind_address="on all addresses; on 127.0.0.1 if ZooKeeper is reached there",
    ports="all",
)
@click.option(
    "--zookeeper-password",
    envvar="ZOOKEEPER_PASSWORD",
    metavar="PASSWORD",
    help="Password of the registry; asked for if it is not given.",
)
@click.option(
    "--wait-for-provisioning", is_flag=True, help="Wait until the container is what its profiles ask for."
)
@provision_timeout_option
def join(context: CommandContext, /, **given: Any) -> None:  # noqa: ANN401 - the options above
    """Join this host to the fabric whose registry is at ZOOKEEPER_URL.

    The host gets a root container called NAME, by default as the host. Its agent runs what its profiles ask
    for, and its child containers run on this host too. It gets the profile fabric, which brings a console,
    unless others are named.
    """
    from fabric.join import (  # noqa: PLC0415 - after the usage is known to be right
        CONNECT_TIMEOUT_S,
        JoinOptions,
        check_outside,
        host_name,
        join_fabric,
    )

    check_ports(given["min_port"], given["max_port"])
    check_outside(context.home)
    options = JoinOptions(
        name=given["name"] or host_name(),
        profiles=tuple(given["profiles"]),
        version=given["version"],
        is_managed=not given["non_managed"],
        force=given["force"],
        bind_address=given["bind_address"],
        resolver=given["resolver"],
        manual_ip=given["manual_ip"],
        port_min=PORTS[0] if given["min_port"] is None else given["min_port"],
        port_max=PORTS[1] if given["max_port"] is None else given["max_port"],
    )
    context.join(given["zookeeper_url"], given["zookeeper_password"], CONNECT_TIMEOUT_S)
    address = RegistryAddress(context.session.url, context.zookeeper_password, context.channel)
    try:
        record = join_fabric(context.home, address, context.session, options, click.echo)
    except KeyboardInterrupt:
        click.echo("\nThe host has not joined; nothing was left behind.", err=True)
        raise
    _say_joined(context, record)
    _say_key_missing(context, record)
    if given["wait_for_provisioning"]:
        wait_provisioned(
            context,
            record.id,
            given["provision_timeout"] / MS_PER_S,
            lambda: click.echo("\nThe host has joined; its container goes on provisioning.", err=True),
        )


def _say_joined(context: CommandContext, record: ContainerRecord) -> None:
    from fabric.resolvers import address_of  # noqa: PLC0415 - as in `join`

    click.echo(
        f"Container {record.id} has joined the fabric with the profiles {', '.join(record.profiles)}; "
        f"others reach it at {address_of(context.session, record.fields)}."
    )


def _say_key_missing(context: CommandContext, record: ContainerRecord) -> None:
    """The ensemble's password opens no secret: the key is another errand."""
    from fabric.crypt import KeyFile  # noqa: PLC0415 - cryptography takes long to import
    from fabric.encrypted import BRING_KEY  # noqa: PLC0415 - as in `join`
    from fabric.secret_profiles import keys_missing  # noqa: PLC0415 - likewise

    try:
        versions = {record.version, context.profiles.default_version()}
        missing = keys_missing(context.profiles, versions, KeyFile(context.home.master_key))
    except (FabricError, RegistryError) as error:
        click.echo(f"Whether this host can read the fabric's secrets is not known: {error}", err=True)
        return
    if missing:
        click.echo(
            "Profiles of the fabric hold encrypted secrets, and this host has not the master key "
            f"{', '.join(missing)}: what needs them does not run here. {BRING_KEY}",
            err=True,
        )


@command("leave", examples=["fabric leave", "fabric leave --force"])
@click.argument("name", metavar="[CONTAINER]", default="")
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Also delete its child containers; also if the registry cannot be reached.",
)
def leave(context: CommandContext, name: str, force: bool) -> None:
    """Take this host out of the fabric: its containers end, the registry forgets them, its data is cleaned.

    The stores of brokers are kept. CONTAINER is this host's root container, the only one that can be meant.
    """
    from fabric.leave import clean_host, leave_fabric, own_root  # noqa: PLC0415 - starts faster
    from fabric.lifecycle import Lifecycle  # noqa: PLC0415 - likewise

    root = own_root(context.home, name or None)
    url = context.zookeeper_url
    try:
        lifecycle = Lifecycle(context.session, context.home)
    except (RegistryError, RegistryDown):
        if not force:
            raise
        clean_host(context.home, click.echo)
        click.echo(
            f"The registry at {url} could not be reached: it still knows container {root} and its children. "
            f"Another host of the fabric removes them with: fabric container-delete --force -r {root}",
            err=True,
        )
        return
    leave_fabric(context.home, lifecycle, root, force=force, say=click.echo)
    click.echo(f"Container {root} has left the fabric; the stores in {context.home.data} are kept.")
