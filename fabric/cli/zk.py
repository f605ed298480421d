"""`zk-get`, `zk-list`, `zk-set`, `zk-create` and `zk-delete`: the registry as it is.

Everything below /fabric can be read and written with the ensemble's password only; new znodes too.
"""

import sys
import threading
from pathlib import Path

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from registry.errors import NodeExists, VersionConflict

FABRIC_ACL = "auth::acdrw"
"""The only access list there is: all rights to whoever knows the ensemble's password."""

_import_option = click.option(
    "-i", "--import", "import_file", is_flag=True, help="DATA names a file with the data; - is stdin."
)


def _znode_path(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return an absolute path; a leading slash may be left out, a trailing one is dropped."""
    path = "/" + value.strip("/")
    names = path[1:].split("/") if path != "/" else []
    if any(not name or name in (".", "..") or not name.isprintable() for name in names):
        raise click.BadParameter(
            f"{value!r} is not the path of a znode, such as /fabric/configs.", ctx, param
        )
    return path


@command("zk-get", examples=["fabric zk-get /fabric/configs/default-version"])
@click.argument("path", callback=_znode_path)
def zk_get(context: CommandContext, path: str) -> None:
    """Show the data of a znode."""
    click.echo(context.session.get(path).data)


@command(
    "zk-list",
    examples=["fabric zk-list /fabric/registry/clusters", "fabric zk-list -r -d /fabric/configs"],
)
@click.argument("path", callback=_znode_path, default="/")
@click.option("-r", "--recursive", is_flag=True, help="List everything below it, with full paths.")
@click.option("-d", "--display", is_flag=True, help="Show the data of each znode too.")
@output_option
def zk_list(context: CommandContext, path: str, recursive: bool, display: bool, output: str) -> None:
    """List the children of a znode."""
    below = _descend(context, path) if recursive else context.session.children(path)
    records = []
    for name in sorted(below):
        record = {"path": name}
        node = context.session.get_or_none(name if recursive else f"{path.rstrip('/')}/{name}")
        if display and node is not None:
            record["data"] = node.data.decode(errors="replace")
        records.append(record)
    print_records(output, records, lambda: "\n".join(" = ".join(record.values()) for record in records))


def _descend(context: CommandContext, path: str) -> list[str]:
    found = []
    for name in context.session.children(path):
        child = f"{path.rstrip('/')}/{name}"
        found += [child, *_descend(context, child)]
    return found


@command(
    "zk-set",
    examples=[
        "fabric zk-set /fabric/configs/default-version 1.0",
        "fabric zk-set --import /fabric/configs/io.fabric8.requirements.json requirements.json",
    ],
)
@click.argument("path", callback=_znode_path)
@click.argument("data")
@_import_option
def zk_set(context: CommandContext, path: str, data: str, import_file: bool) -> None:
    """Write the data of a znode that exists."""
    context.session.set(path, _content(data, import_file))


@command(
    "zk-create",
    examples=[
        "fabric zk-create /fabric/notes",
        "fabric zk-create -r -o /fabric/notes/today 'moved the brokers'",
        "fabric zk-create -e -s /fabric/notes/n",
    ],
)
@click.argument("path", callback=_znode_path)
@click.argument("data", default="")
@click.option(
    "-e", "--ephemeral", is_flag=True, help="Let it last only until this command is ended with Ctrl-C."
)
@click.option("-s", "--sequential", is_flag=True, help="Append a unique number of ten digits to its name.")
@click.option("-r", "--recursive", is_flag=True, help="Create missing parents.")
@_import_option
@click.option("-o", "--overwrite", is_flag=True, help="Write the data of one that exists.")
@click.option("-a", "--acl", metavar="ACL", help=f"Accepted for compatibility; always {FABRIC_ACL}.")
def zk_create(
    context: CommandContext,
    *,
    path: str,
    data: str,
    ephemeral: bool,
    sequential: bool,
    recursive: bool,
    import_file: bool,
    overwrite: bool,
    acl: str | None,
) -> None:
    """Create a znode with DATA, or an empty one, and print its path."""
    if acl is not None and not _is_fabric_acl(acl):
        raise click.BadParameter(f"The only one there is is {FABRIC_ACL}.", param_hint="--acl")
    content = _content(data, import_file)
    try:
        created = context.session.create(
            path, content, ephemeral=ephemeral, sequential=sequential, make_parents=recursive
        )
    except NodeExists:
        if not overwrite:
            raise
        context.session.set(path, content)
        created = path
    click.echo(created)
    if ephemeral:
        click.echo("It lasts until you press Ctrl-C.", err=True)
        threading.Event().wait()


def _is_fabric_acl(acl: str) -> bool:
    scheme, _, rights = acl.rpartition(":")
    return scheme == "auth:" and set(rights) == set("acdrw")


@command(
    "zk-delete",
    examples=["fabric zk-delete /fabric/notes/today", "fabric zk-delete -r /fabric/notes"],
)
@click.argument("path", callback=_znode_path)
@click.option("-v", "--version", type=int, default=-1, help="Delete it only if its data has this version.")
@click.option("-r", "--recursive", is_flag=True, help="Delete everything below it too.")
def zk_delete(context: CommandContext, path: str, version: int, recursive: bool) -> None:
    """Delete a znode."""
    if path in ("/", "/zookeeper") or path.startswith("/zookeeper/"):
        raise click.BadParameter(f"{path} belongs to ZooKeeper.", param_hint="PATH")
    if version >= 0:
        if recursive:
            raise click.UsageError("--version and --recursive exclude each other.")
        found = context.session.get(path).version
        if found != version:
            raise VersionConflict(f"The znode {path} has version {found}, not {version}.")
    context.session.delete(path, recursive=recursive)


def _content(data: str, import_file: bool) -> bytes:
    if not import_file:
        return data.encode()
    if data == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(data.removeprefix("file:")).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{data} cannot be read: {error.strerror}.", param_hint="DATA") from error
