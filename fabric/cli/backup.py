"""`backup` and `restore`."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fabric.cli.context import CommandContext, command

if TYPE_CHECKING:
    from fabric.backup import Backup, StoreMember
    from fabric.restoration import Plan
    from journal.progress import Progress

SHOWN_MAX = 40
"""Paths that `--dry-run` names of each kind."""


@command("backup", examples=["fabric backup fabric.tar", "fabric backup --with-stores /backup/fabric.tar"])
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--with-stores", is_flag=True, help="Also the messages of the brokers that this host runs.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the file.")
def backup(context: CommandContext, file: Path, with_stores: bool, force: bool) -> None:
    """Write the fabric's configuration into one file: versions, profiles, users, requirements, containers.

    Brokers go on meanwhile. The file holds password hashes: only you can read it, and nobody else should.
    """
    from fabric.backup import BackupWriter, read_tree  # noqa: PLC0415 - only here
    from fabric.store_copies import copied_stores  # noqa: PLC0415 - only here
    from fabric.stores import broker_stores  # noqa: PLC0415 - only here

    file = file.absolute()
    notes: list[str] = []
    with BackupWriter(file, overwrite=force) as writer:
        tree = read_tree(context.session)
        writer.add_registry(tree)
        stores: list[StoreMember] = []
        if with_stores:
            here = [context.containers.get(name) for name in _own(context)]
            found = broker_stores(context.session, context.home, here)
            stores, notes = copied_stores(writer, found, _progress())
        writer.finish(context.session.url, tree, stores)
    click.echo(f"Wrote {len(tree.znodes)} znodes to {file}")
    for store in stores:
        click.echo(f"  with {store.messages} messages of broker {store.broker}, {store.directory}")
    if tree.changed:
        notes.append(f"{len(tree.changed)} znodes changed all the time, such as {tree.changed[0]}.")
    for note in notes:
        click.echo(note, err=True)


def _own(context: CommandContext) -> list[str]:
    known = set(context.containers.names())
    return [name for name in context.home.container_names() if name in known]


def _progress() -> Progress:
    from journal.progress import Progress  # noqa: PLC0415 - only here

    return Progress(sys.stderr if sys.stderr.isatty() else None)


@command(
    "restore",
    examples=[
        "fabric restore --dry-run fabric.tar",
        "fabric restore fabric.tar",
        "fabric restore --with-stores --store default/orders=/shared/orders fabric.tar",
    ],
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("-f", "--force", is_flag=True, help="Also into a fabric, or a store, that is not empty.")
@click.option("--with-stores", is_flag=True, help="Also the messages that the backup holds.")
@click.option(
    "--store",
    "places",
    multiple=True,
    metavar="GROUP/BROKER=DIRECTORY",
    help="Where the store of a broker goes; default: where it was.",
)
def restore(
    context: CommandContext,
    *,
    file: Path,
    dry_run: bool,
    force: bool,
    with_stores: bool,
    places: tuple[str, ...],
) -> None:
    """Put a backup into a fabric that was just created, or with --force into any.

    Every part of the file is checked before anything is written. Stores come first, containers last: those
    that the backup has start as soon as they are there.
    """
    from fabric.backup import read_backup  # noqa: PLC0415 - only here
    from fabric.restoration import NotEmpty, Restoration  # noqa: PLC0415 - only here
    from fabric.store_copies import check_stores, directories, put_back  # noqa: PLC0415 - only here

    found = read_backup(file)
    restoration = Restoration(context.session, found)
    plan = restoration.plan()
    stores = directories(found, places) if with_stores else {}
    check_stores(found, stores, force=force)
    _say_what(found, with_stores=with_stores)
    if restoration.holds_encrypted:
        click.echo(
            "Some of its profiles hold encrypted values, which need the master key of the fabric it is from: "
            "see `fabric crypt-import`.",
            err=True,
        )
    if dry_run:
        _say_plan(plan)
        return
    if plan.occupied and not force:
        raise NotEmpty(plan.occupied)
    for store, directory in stores.items():
        count = put_back(context.session, found, store, directory, _progress())
        click.echo(f"Stored {count} messages of broker {store.broker} in {directory}")
    total = len(plan.created) + len(plan.changed)
    with _progress().doing("restoring the registry", total) as advance:
        restoration.run(plan, force=force, say=lambda done, total: advance(1))
    click.echo(f"Restored {total} znodes; {plan.same} were there already, {len(plan.kept)} are left alone.")
    click.echo("Users have the passwords of the backup now.")


def _say_what(found: Backup, *, with_stores: bool) -> None:
    from fabric.software import SOFTWARE  # noqa: PLC0415 - only here

    when = datetime.fromtimestamp(found.created_s).astimezone().isoformat(" ", "seconds")
    click.echo(f"{found.path} was written on {when} by Fabric {found.software}.")
    if found.software != SOFTWARE:
        click.echo(f"This is Fabric {SOFTWARE}; profiles it does not know stay as they are.", err=True)
    if found.stores and not with_stores:
        click.echo("It holds messages, too: --with-stores restores them.", err=True)


def _say_plan(plan: Plan) -> None:
    for title, names in (("create", sorted(plan.created)), ("change", sorted(plan.changed))):
        click.echo(f"Would {title} {len(names)} znodes.")
        for path in names[:SHOWN_MAX]:
            click.echo(f"  {path}")
        if len(names) > SHOWN_MAX:
            click.echo(f"  and {len(names) - SHOWN_MAX} more")
    click.echo(f"{plan.same} are there already.")
    for reason, count in Counter(plan.kept.values()).items():
        click.echo(f"{count} are left alone: {reason}.")
    for reason in plan.occupied:
        click.echo(f"Needs --force: {reason}.")
