"""The `container-…` commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fabric.cli.addressing import address_options
from fabric.cli.context import CommandContext, command
from fabric.cli.creation import profile_options, say_created
from fabric.cli.output import output_option, render, show_registry, watch_option
from fabric.cli.ssh import GivenLogin, delete_by_ssh, login_options, start_by_ssh
from fabric.cli.waiting import waiting
from fabric.names import expand, numbered_names
from fabric.records import CONTAINER_TYPE, ERROR, ContainerRecord, as_tree
from fabric.table import Table, fact
from registry import paths

if TYPE_CHECKING:
    from fabric.lifecycle import Lifecycle

F = TypeVar("F", bound=Callable[..., Any])

STATUS_LENGTH_MAX = 100
INDENT = "  "


def _credential_options(*names: str) -> Callable[[F], F]:
    """Accept the original's credentials for a container's management port, which there is none of here."""

    def decorate(function: F) -> F:
        for name in names:
            function = click.option(name, hidden=True, expose_value=False)(function)
        return function

    return decorate


def _lifecycle(context: CommandContext) -> Lifecycle:
    from fabric.lifecycle import Lifecycle  # noqa: PLC0415 - other commands start faster without it

    return Lifecycle(context.session, context.home)


# container-list


@command("container-list", examples=["fabric container-list", "fabric container-list broker --output json"])
@click.argument("filter_text", metavar="[FILTER]", default="")
@click.option("--version", help="Only the containers of this version.")
@click.option("-v", "--verbose", is_flag=True, help="Also the host, the process id and the desired state.")
@output_option
@watch_option
def container_list(
    context: CommandContext, *, filter_text: str, version: str | None, verbose: bool, output: str, watch: bool
) -> None:
    """List the containers.

    FILTER is a part of a container's name or of one of its profiles.
    """

    def draw() -> str:
        records = [
            record
            for record in context.containers.all()
            if (filter_text in record.id or any(filter_text in profile for profile in record.profiles))
            and version in (None, record.version)
        ]
        return render(
            output,
            [record.to_json() for record in records],
            lambda: containers_table(records, context.current_container, verbose=verbose),
        )

    show_registry(context, paths.containers_config(), draw, watch=watch)


def containers_table(records: Sequence[ContainerRecord], current: str | None, *, verbose: bool) -> Table:
    """Return the table: children under their parents, a profile per line, a star at the current container.

    The host is shown where there are several, or everything is.
    """
    headers = ["id", "version", "type", "connected", "profiles"]
    hosts = verbose or len({record.host for record in records}) > 1
    more = [*(["host"] if hosts else []), *(["process id", "desired"] if verbose else [])]
    table = Table(*headers, *more, "provision status")
    for record, level in as_tree(records):
        name = INDENT * level + record.id + ("*" if record.id == current else "")
        status = record.status[:STATUS_LENGTH_MAX]
        profiles = record.profiles or ("",)
        pid = str(record.alive.pid) if record.alive else ""
        host = [record.host or ""] if hosts else []
        details = [*host, *([pid, record.desired.value] if verbose else [])]
        connected = "yes" if record.connected else "no"
        table.add_row(name, record.version, CONTAINER_TYPE, connected, profiles[0], *details, status)
        for profile in profiles[1:]:
            table.add_row("", "", "", "", profile)
    return table


# container-info


@command("container-info", examples=["fabric container-info", "fabric container-info brokercontainer"])
@click.argument("name", metavar="[CONTAINER]", default="")
@click.option("-v", "--verbose", is_flag=True, help="Also profiles, parent, children and services.")
@output_option
def container_info(context: CommandContext, name: str, verbose: bool, output: str) -> None:
    """Show the details of a container; without a name, of this host's root container."""
    name = name or context.current_container or "root"
    record = context.containers.get(name)
    lifecycle = _lifecycle(context)
    facts = _facts(context, record, ensemble=lifecycle.is_ensemble_member(name))
    if verbose:
        facts |= {
            "Profiles": ", ".join(record.profiles),
            "Parent": record.parent or "",
            "Children": ", ".join(context.containers.children(name)),
            "Services": ", ".join(record.provision.services),
        }
    facts["Provision Status"] = record.status
    if record.provision.exception:
        kind = "Error" if record.provision.result == ERROR else "Note"
        facts[f"Provision {kind}"] = record.provision.exception
    click.echo(
        render(output, facts, lambda: "\n".join(fact(f"{key}:", value) for key, value in facts.items()))
    )


def _facts(context: CommandContext, record: ContainerRecord, *, ensemble: bool) -> dict[str, str]:
    from fabric.resolvers import address_of  # noqa: PLC0415 - only here

    fields = record.fields
    pid = str(record.alive.pid) if record.alive else ""
    return {
        "Name": record.id,
        "Version": record.version,
        "Connected": "yes" if record.connected else "no",
        "Desired State": record.desired.value,
        "Type": CONTAINER_TYPE,
        "Root": "no" if record.parent else "yes",
        "Ensemble Server": "yes" if ensemble else "no",
        "Managed": "yes" if record.is_managed else "no",
        "Process ID": pid,
        "Software Version": record.alive.software if record.alive else "",
        "Host": record.host or "",
        "Resolver": fields.get("resolver", ""),
        "Network Address": address_of(context.session, fields),
        "Local Network Address": fields.get("localip", ""),
        "Public Network Address": fields.get("publicip", ""),
        "Local Hostname": fields.get("localhostname", ""),
        "Public Hostname": fields.get("publichostname", ""),
        "Manual Address": fields.get("manualip", ""),
        "Bind Address": fields.get("bindaddress", ""),
        "Log File": str(context.home.container(record.id).log),
    }


# container-create-child


@command(
    "container-create-child",
    examples=[
        "fabric container-create-child root brokercontainer 2 --profile mq-broker-default.tolerantbroker",
        "fabric container-create-child root worker",
    ],
)
@click.argument("parent")
@click.argument("name")
@click.argument("number", type=int, default=1)
@profile_options
@address_options(resolver="the parent's", bind_address="as the parent", ports="as the parent")
@_credential_options("--jmx-user", "--jmx-password")
def container_create_child(
    context: CommandContext,
    parent: str,
    name: str,
    number: int,
    **given: Any,  # noqa: ANN401 - the options above
) -> None:
    """Create child containers, which run on the host of their parent.

    Several are called NAME, NAME2, NAME3 and so on.
    """
    from fabric.addresses import inherited_fields  # noqa: PLC0415 - only here

    names = numbered_names(name, number, context.containers.names())
    version = context.version_or_default(given.pop("version"))
    profiles = given.pop("profiles") or ("default",)
    context.containers.check_parent(parent)
    fields = inherited_fields(context.containers.fields(parent), **given)
    create_children(context, parent, names, profiles=profiles, version=version, fields=fields)


def create_children(
    context: CommandContext,
    parent: str,
    names: Sequence[str],
    *,
    profiles: Sequence[str],
    version: str,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Create child containers, wait until they are connected, and print which are; ends with 1 if one is not.

    Args:
        context: Of the command.
        parent: Their parent, a root container.
        names: What they are called.
        profiles: What they are given.
        version: Of the profiles.
        fields: Of their records; default: as their parent's.

    Raises:
        ParentDown, ContainerError, ProfileError: nothing was created, or not all of them.
    """
    lifecycle = _lifecycle(context)
    lifecycle.register_children(parent, names, profiles=profiles, version=version, fields=fields)
    failed: dict[str, str] = {}
    created: list[str] = []
    with waiting(
        f"Waiting for containers: {', '.join(names)}", "The containers are created and go on starting."
    ):
        _wait_created(lifecycle, names, created, failed)
    say_created(created, failed)


def _wait_created(
    lifecycle: Lifecycle, names: Sequence[str], created: list[str], failed: dict[str, str]
) -> None:
    from fabric.lifecycle import NotStarted  # noqa: PLC0415 - only here

    for child in names:
        try:
            lifecycle.wait_started(child)
            created.append(child)
            _say_error(lifecycle, child)
        except NotStarted as error:
            failed[child] = str(error)


def _say_error(lifecycle: Lifecycle, name: str) -> None:
    """A container that runs but cannot be what it should be is not a failure of the command, but news."""
    provision = lifecycle.containers.provision(name)
    if provision.result == ERROR:
        click.echo(f"Container {name} is up, its provision status is: {provision.status}", err=True)


# container-start, -stop, -delete


@command(
    "container-start", examples=["fabric container-start brokercontainer", "fabric container-start 'broker*'"]
)
@click.argument("names", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Ask for it even if the container seems to run.")
@login_options()
def container_start(context: CommandContext, names: tuple[str, ...], force: bool, login: GivenLogin) -> None:
    """Start containers. NAMES may be globs such as 'broker*'.

    The options about ssh count for root containers that were made by ssh.
    """
    names = _with_root_started(context, names)
    if not names:
        return
    lifecycle = _lifecycle(context)
    for name in _expanded(context, names):
        with waiting(f"Waiting for container: {name}", f"Container {name} goes on starting."):
            if start_by_ssh(context.containers.get(name), login):
                lifecycle.wait_started(name)
            elif not lifecycle.start(name, force=force):
                click.echo(f"Container {name} is already started", err=True)
            _say_error(lifecycle, name)


def _with_root_started(context: CommandContext, names: tuple[str, ...]) -> tuple[str, ...]:
    """Start this host's root container first, if it is named: it may bring the registry with it."""
    root = context.current_container
    if root is None or root not in names:
        return names
    from fabric.lifecycle import start_local_root  # noqa: PLC0415 - only here
    from registry.session import Session  # noqa: PLC0415 - only here

    def connect(timeout_s: float) -> Session:
        session = Session(context.zookeeper_url, context.zookeeper_password, channel=context.channel)
        session.start(timeout_s)
        return session

    with waiting(f"Waiting for container: {root}", f"Container {root} goes on starting."):
        if not start_local_root(context.home, root, connect):
            click.echo(f"Container {root} is already started", err=True)
    return tuple(name for name in names if name != root)


@command(
    "container-stop",
    examples=["fabric container-stop brokercontainer", "fabric container-stop --force 'broker*' root"],
)
@click.argument("names", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Also a container that runs ZooKeeper.")
@_credential_options("--user", "--password")
def container_stop(context: CommandContext, names: tuple[str, ...], force: bool) -> None:
    """Shut down containers. NAMES may be globs such as 'broker*'.

    A container stays stopped until it is started again. Children of a stopped container go on.
    """
    lifecycle = _lifecycle(context)
    found = _expanded(context, names)
    for name in sorted(
        found, key=lambda name: context.containers.field(name, "parent") is None
    ):  # roots last
        with waiting(f"Waiting for container {name} to stop.", f"Container {name} goes on stopping."):
            if lifecycle.stop(name, force=force):
                click.echo(f"Container '{name}' stopped successfully.")
            else:
                click.echo(f"Container '{name}' already stopped.", err=True)


@command(
    "container-delete",
    examples=["fabric container-delete brokercontainer2", "fabric container-delete -r 'broker*'"],
)
@click.argument("names", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Also the current container, and what cannot be stopped.")
@click.option("-r", "--recursive", is_flag=True, help="Also its child containers.")
@login_options()
def container_delete(
    context: CommandContext, names: tuple[str, ...], force: bool, recursive: bool, login: GivenLogin
) -> None:
    """Stop and delete containers. Stores of brokers are kept.

    The options about ssh count for root containers that were made by ssh: their hosts leave the fabric.
    """
    deleted: set[str] = set()
    for name in _expanded(context, names):
        if name not in deleted:
            with waiting(f"Waiting for container {name} to stop.", f"Container {name} is not deleted."):
                deleted.update(_deleted(context, name, login, force=force, recursive=recursive))


def _deleted(
    context: CommandContext, name: str, login: GivenLogin, *, force: bool, recursive: bool
) -> list[str]:
    """Delete a container, on its host too if that was made by ssh; return what was deleted."""
    from fabric.errors import ContainerHasChildren  # noqa: PLC0415 - only here
    from fabric.ssh import SshError  # noqa: PLC0415 - likewise

    record = context.containers.get(name)
    children = context.containers.children(name)
    if record.is_by_ssh:
        if children and not recursive:
            raise ContainerHasChildren(name, children)
        try:
            delete_by_ssh(record, login)
        except SshError as error:
            if not force:
                raise
            click.echo(f"{error}\nThe host is left as it is; only the registry forgets it.", err=True)
        else:
            return [*children, name]
    return _lifecycle(context).delete(name, force=force, recursive=recursive)


def _expanded(context: CommandContext, names: Sequence[str]) -> list[str]:
    return expand(names, context.containers.names())


# container-…-profile


@command("container-add-profile", examples=["fabric container-add-profile root mq-amq"])
@click.argument("name", metavar="CONTAINER")
@click.argument("profiles", nargs=-1, required=True)
def container_add_profile(context: CommandContext, name: str, profiles: tuple[str, ...]) -> None:
    """Add profiles to a container."""
    context.containers.add_profiles(name, profiles)
    _say_when(context, name)


@command("container-remove-profile", examples=["fabric container-remove-profile root mq-amq"])
@click.argument("name", metavar="CONTAINER")
@click.argument("profiles", nargs=-1, required=True)
def container_remove_profile(context: CommandContext, name: str, profiles: tuple[str, ...]) -> None:
    """Remove profiles from a container."""
    context.containers.remove_profiles(name, profiles)
    _say_when(context, name)


@command("container-change-profile", examples=["fabric container-change-profile worker default mq-client"])
@click.argument("name", metavar="CONTAINER")
@click.argument("profiles", nargs=-1, required=True)
def container_change_profile(context: CommandContext, name: str, profiles: tuple[str, ...]) -> None:
    """Replace the profiles of a container."""
    context.containers.change_profiles(name, profiles)
    _say_when(context, name)


def _say_when(context: CommandContext, name: str) -> None:
    if context.containers.alive(name) is None:
        click.echo(f"Container {name} is down; it takes effect when it starts.", err=True)
