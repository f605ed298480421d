"""`mq-create`: describe a message broker, and if asked create containers that run it."""

from typing import Any

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.profile import version_option
from fabric.encrypted import stands_in_clear
from fabric.errors import BrokerOptionsInvalid, ContainerExists, FabricError
from fabric.mq import (
    AVAILABLE_KINDS,
    DEFAULT_CLIENT_PARENT,
    BrokerKind,
    BrokerOptions,
    create_broker,
    validate,
)
from fabric.names import numbered_names

NETWORKS_NOTE = (
    "Note: brokers of this version do not connect to networks of brokers; the profile keeps the setting."
)

CERTIFICATES_NOTE = (
    "Note: connectors with TLS need certificates: `fabric certificate-create` makes them, "
    "or name your own in the properties ssl.keyStore and ssl.keyStoreKey."
)

_KINDS = [kind.value for kind in BrokerKind]


@command(
    "mq-create",
    examples=[
        "fabric mq-create --group default --kind MasterSlave tolerantbroker",
        "fabric mq-create --port openwire=61620 --create-container node tolerantbroker",
        "fabric mq-create --connectors 'openwire stomp' --port stomp=61613 --create-container node orders",
        "fabric mq-create --data /mnt/shared/orders --assign-container node1,node2 orders",
    ],
)
@click.argument("name")
@click.option("--parent-profile", help="Profile to inherit from.  [default: mq-base]")
@click.option("--profile", help="Profile to create or change.  [default: mq-broker-GROUP.NAME]")
@click.option("--client-profile", help="Profile for its clients.  [default: mq-client-GROUP]")
@click.option(
    "--client-parent-profile", help=f"Profile it inherits from.  [default: {DEFAULT_CLIENT_PARENT}]"
)
@click.option("--property", "-D", "properties", multiple=True, metavar="KEY=VALUE", help="Further property.")
@click.option(
    "--config", metavar="FILE", help="Accepted for compatibility; only broker.xml or ssl-broker.xml."
)
@click.option("--data", metavar="DIR", help="Where its messages are kept.  [default: ${fabric.data}/NAME]")
@click.option(
    "--connectors",
    multiple=True,
    metavar="'NAME …'",
    help="What it listens with, 'openwire stomp+ssl'.  [default: as in mq-base]",
)
@click.option(
    "--port",
    "--ports",
    "ports",
    multiple=True,
    metavar="CONNECTOR=PORT",
    help="Fixed port of a connector, openwire=61620.",
)
@click.option("--group", help="Group it joins.  [default: default]")
@click.option(
    "--network", "--networks", "networks", multiple=True, metavar="GROUP", help="Group to connect to."
)
@click.option("--networks-username", help="User for those groups.")
@click.option("--networks-password", help="Password for those groups.")
@version_option
@click.option("--create-container", metavar="NAME,…", help="Create child containers that run it.")
@click.option("--assign-container", metavar="NAME,…", help="Let these containers run it.")
@click.option("--jmx-user", help="Accepted for compatibility; not needed.")
@click.option("--jmx-password", help="Accepted for compatibility; not needed.")
@click.option("--jvm-opts", help="Accepted for compatibility; there is no JVM.")
@click.option("--minimumInstances", "minimum_instances", type=int, help="Containers that should run it.")
@click.option("--replicas", type=int, help="As --minimumInstances, for replicated brokers.")
@click.option(
    "--kind",
    type=click.Choice(_KINDS, case_sensitive=False),
    metavar="|".join(_KINDS),
    default=BrokerKind.MASTER_SLAVE.value,
    show_default=True,
    help=f"How its brokers work together; now {' or '.join(kind.value for kind in AVAILABLE_KINDS)}.",
)
@click.option(
    "--ssl/--no-ssl",
    "ssl",
    default=None,
    help="Give each connector a second one with TLS, openwire+ssl.  [default: --no-ssl]",
)
def mq_create(context: CommandContext, name: str, **given: Any) -> None:  # noqa: ANN401 - the options above
    """Create the profile of a message broker NAME, or change it.

    Containers run the broker as soon as they have the profile: give it to them with --assign-container,
    create them with --create-container, or later with container-create-child or container-add-profile.
    """
    _refuse_unavailable(given["config"])
    options = validate(_options(name, given))
    version = context.version_or_default(given["version"])
    assigned = _names(given["assign_container"])
    for container in assigned:
        context.containers.check_exists(container)
    created = _free_names(context, _names(given["create_container"]), options.required_instances)
    profile = create_broker(context.profiles, _with_secrets_encrypted(context, options), version)
    click.echo(f"MQ profile {profile} ready")
    if options.networks:
        click.echo(NETWORKS_NOTE, err=True)
    is_tls = options.ssl or any(name.endswith(("ssl", "wss")) for name in options.connectors)
    if is_tls and "ssl.keyStore" not in options.properties:
        _note_certificates(context)
    for container in assigned:
        context.containers.add_profiles(container, [profile])
    if created:
        from fabric.cli.container import create_children  # noqa: PLC0415 - only if it is asked for

        create_children(context, _parent(context), created, profiles=[profile], version=version)


def _with_secrets_encrypted(context: CommandContext, options: BrokerOptions) -> BrokerOptions:
    """Encrypt passwords if this host has the fabric's key; else say that they can be read."""
    given = {"network.password": options.networks_password or "", **options.properties}
    clear = [name for name, value in given.items() if stands_in_clear(name, value)]
    if not clear:
        return options
    from fabric.cli.crypt import keys_for  # noqa: PLC0415 - only if it is needed

    keys = keys_for(context, clear)
    if keys is None:
        return options
    from fabric.secret_profiles import with_encrypted  # noqa: PLC0415 - cryptography takes long to import

    return with_encrypted(options, keys)


def _note_certificates(context: CommandContext) -> None:
    """Tell who has none that connectors with TLS need certificates."""
    if not context.home.authority_certificate.exists():
        click.echo(CERTIFICATES_NOTE, err=True)


def _refuse_unavailable(config: str | None) -> None:
    if config not in (None, "broker.xml", "ssl-broker.xml"):
        raise BrokerOptionsInvalid(
            f"The broker does not read {config}: it has no XML configuration.",
            "Leave --config out, and say what differs from the defaults with --property.",
        )


def _options(name: str, given: dict[str, Any]) -> BrokerOptions:
    return BrokerOptions(
        name=name,
        group=given["group"],
        kind=BrokerKind(given["kind"]),
        profile=given["profile"],
        parent_profile=given["parent_profile"],
        client_profile=given["client_profile"],
        client_parent_profile=given["client_parent_profile"],
        data=given["data"],
        connectors=tuple(name for names in given["connectors"] for name in names.replace(",", " ").split()),
        ssl=given["ssl"],
        ports=_pairs("--port", given["ports"]),
        properties=_pairs("--property", given["properties"]),
        networks=tuple(group for groups in given["networks"] for group in _names(groups)),
        networks_username=given["networks_username"],
        networks_password=given["networks_password"],
        minimum_instances=given["minimum_instances"],
        replicas=given["replicas"],
    )


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE.", param_hint=option)
        pairs[key] = value
    return pairs


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _free_names(context: CommandContext, names: list[str], number: int) -> list[str]:
    """Return `number` names for each name; refuse wrong and taken ones before anything is written."""
    if not names:
        return []
    context.containers.check_parent(_parent(context))
    taken = set(context.containers.names())
    free: list[str] = []
    for name in names:
        if name in taken:
            raise ContainerExists(name)
        free += numbered_names(name, number, taken)
        taken.update(free)
    return free


def _parent(context: CommandContext) -> str:
    if context.current_container is None:
        raise FabricError(
            f"There is no root container in {context.home_path} whose children they could be.",
            "Name the parent yourself: `fabric container-create-child --profile PROFILE PARENT NAME`.",
        )
    return context.current_container
