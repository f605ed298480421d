"""`encrypt-message` and the `crypt-…` commands: secrets in profiles, and the keys that open them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fabric.cli.asking import ask_secret
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.errors import CryptError
from fabric.table import Table

if TYPE_CHECKING:
    from fabric.crypt import KeyFile, MasterKey, MasterKeys

ALGORITHM = "AES-256-GCM"
NO_KEY_NOTE = (
    "This host has no master key: {what} stands in the clear in the profile, for everybody who may read it. "
    "Make a key with `fabric crypt-rotate`, or bring the fabric's with `fabric crypt-import`."
)

passphrase_option = click.option(
    "--passphrase", envvar="FABRIC_PASSPHRASE", metavar="TEXT", help="The passphrase; default: asked for."
)


def key_file(context: CommandContext) -> KeyFile:
    """The file of master keys on this host."""
    from fabric.crypt import KeyFile  # noqa: PLC0415 - cryptography takes long to import

    return KeyFile(context.home.master_key)


def keys_for(context: CommandContext, what: Iterable[str]) -> MasterKeys | None:
    """The keys of this host, which the secrets called `what` are to be encrypted with.

    Returns:
        None if there are none; it is said that `what` can be read then.

    Raises:
        CryptError: they cannot be used, or the first is not the fabric's.
    """
    if not context.home.master_key.is_file():
        click.echo(NO_KEY_NOTE.format(what=", ".join(what)), err=True)
        return None
    from fabric.secret_profiles import check_key  # noqa: PLC0415 - likewise

    return check_key(context.session, key_file(context).read())


def _asked(text: str, value: str | None, *, confirm: bool = False) -> str:
    if value is not None:
        return value
    return ask_secret(text, f"{text} is missing, and there is no terminal to ask for it.", confirm=confirm)


def _key_of(context: CommandContext, passphrase: str) -> MasterKey:
    """The key that a passphrase stands for in this fabric."""
    from fabric.crypt import MasterKey  # noqa: PLC0415 - cryptography takes long to import
    from fabric.secret_profiles import salt  # noqa: PLC0415 - likewise

    return MasterKey.of_passphrase(passphrase, salt(context.session))


def _typed_key(context: CommandContext, passphrase: str | None) -> MasterKey:
    return _key_of(context, _asked("Passphrase", passphrase, confirm=True))


@command(
    "encrypt-message",
    examples=[
        "fabric encrypt-message",
        "echo -n secret | fabric encrypt-message -",
        'fabric profile-edit --pid "PID/network.password=$(fabric encrypt-message secret)" PROFILE',
    ],
)
@click.argument("message", required=False)
@click.option(
    "-a",
    "--algorithm",
    default=ALGORITHM,
    show_default=True,
    help="The cipher. The original's (PBEWithMD5AndDES and others) are weak, and are refused.",
)
@click.option(
    "-p",
    "--password",
    metavar="PASSPHRASE",
    help="Encrypt with the key that this passphrase stands for; hosts are given it with crypt-import -p.",
)
def encrypt_message(
    context: CommandContext, message: str | None, algorithm: str, password: str | None
) -> None:
    """Encrypt a MESSAGE, and print what may stand in a profile for it.

    Without a MESSAGE it is asked for; `-` reads it from the standard input. Containers decrypt it with the
    master key of their host; nobody else does.
    """
    if algorithm.upper() != ALGORITHM:
        raise CryptError(
            f"The algorithm {algorithm[:80]} is not offered.", f"Leave -a out: {ALGORITHM} is used."
        )
    text = sys.stdin.read() if message == "-" else _asked("Message", message)
    if password is not None:
        from fabric.crypt import MasterKeys  # noqa: PLC0415 - cryptography takes long to import

        keys = MasterKeys([_key_of(context, password)])
    else:
        from fabric.secret_profiles import check_key  # noqa: PLC0415 - likewise

        keys = check_key(context.session, key_file(context).read())
    click.echo(keys.encrypt(text))


@command("crypt-list", examples=["fabric crypt-list", "fabric crypt-list --output json"])
@output_option
def crypt_list(context: CommandContext, output: str) -> None:
    """List the secrets in profiles: which are encrypted, and whether this host can decrypt them.

    A property holds a secret if its name says so: password, secret, credential, private key, API key.
    """
    from fabric.secret_profiles import all_secrets  # noqa: PLC0415 - cryptography takes long to import

    rows = all_secrets(context.profiles)
    file = key_file(context)
    here = {key.id for key in file.read().all} if file.exists else set()

    def table() -> Table | str:
        made = Table("version", "profile", "pid", "property", "state")
        for row in rows:
            missing = "" if row.key in here else ", which this host has not"
            state = f"encrypted with {row.key}{missing}" if row.key else "IN THE CLEAR"
            made.add_row(row.version, row.profile, row.pid, row.name, state)
        return made if rows else "There are no secrets in the profiles."

    print_records(output, [{**row.to_json(), "decryptable": row.key in here} for row in rows], table)
    if output == "table" and any(not row.key for row in rows):
        click.echo("\nEncrypt what stands in the clear with: fabric crypt-profiles", err=True)


@command("crypt-profiles", examples=["fabric crypt-profiles", "fabric crypt-profiles --version 1.1"])
@click.option("--version", help="Of this version only.  [default: of all]")
def crypt_profiles(context: CommandContext, version: str | None) -> None:
    """Encrypt the known secrets that stand in the clear in profiles.

    What stood in the clear may have been read, and stands in the history of its profile: change it where it
    belongs, too.
    """
    from fabric.secret_profiles import check_key, encrypt_clear  # noqa: PLC0415 - see key_file

    keys = check_key(context.session, key_file(context).read())
    store = context.profiles
    versions = [store.known_version(version)] if version else store.versions()
    rows = [row for each in versions for row in encrypt_clear(store, keys, each)]
    for row in rows:
        click.echo(f"Encrypted {row.name} of {row.pid} in profile {row.profile} of version {row.version}")
    if not rows:
        click.echo("No known secret stands in the clear.")


@command("crypt-export", examples=["fabric crypt-export keys.txt"])
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@passphrase_option
def crypt_export(context: CommandContext, file: Path, passphrase: str | None) -> None:
    """Write the master keys of this host to FILE, readable with a passphrase only.

    For `crypt-import` on another host. The ensemble's password does not open it.
    """
    keys = key_file(context).read()
    wrapped = keys.wrapped(_asked("Passphrase for the file", passphrase, confirm=True))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(wrapped)
    except OSError as error:
        raise CryptError(
            f"{file} cannot be written: {error.strerror}.", "Name a file that is not there."
        ) from error
    click.echo(f"{len(keys.all)} keys are in {file}. On the other host: fabric crypt-import {file.name}")


@command(
    "crypt-import",
    examples=["fabric crypt-import keys.txt", "fabric crypt-import -p"],
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option("-p", "--password", "typed", is_flag=True, help="The key that a passphrase stands for.")
@passphrase_option
def crypt_import(context: CommandContext, file: Path | None, *, typed: bool, passphrase: str | None) -> None:
    """Take the master keys of another host from FILE, or the one that a passphrase stands for.

    Containers of this host that wait for a key use it at once; nothing is restarted.
    """
    from fabric.crypt import FILE_BYTES_MAX, MasterKeys, unwrap  # noqa: PLC0415 - see key_file
    from fabric.secret_profiles import published_key  # noqa: PLC0415 - likewise

    if typed == (file is not None):
        raise click.UsageError("Name the FILE of crypt-export, or give -p for a passphrase.")
    asked = _asked("Passphrase", passphrase)
    if file is None:
        taken = MasterKeys([_key_of(context, asked)])
    else:
        with file.open(encoding="utf-8", errors="replace") as stream:
            taken = unwrap(stream.read(FILE_BYTES_MAX), asked)
    own = key_file(context)
    keys = (own.read_or_none() or MasterKeys([])).with_others(taken.all)
    published = published_key(context.session)
    first = next((key for key in keys.all if key.id == published), None)
    own.write(keys.with_first(first) if first else keys)
    click.echo(f"The master keys of this host are: {', '.join(key.id for key in keys.all)}")


@command(
    "crypt-rotate",
    examples=["fabric crypt-rotate --prepare", "fabric crypt-rotate", "fabric crypt-rotate --forget"],
)
@click.option("--prepare", is_flag=True, help="Only make the new key, to bring it to the other hosts first.")
@click.option("--forget", is_flag=True, help="Forget the keys that nothing is encrypted with any more.")
@click.option("-p", "--password", "typed", is_flag=True, help="The new key is what a passphrase stands for.")
@passphrase_option
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def crypt_rotate(
    context: CommandContext, *, prepare: bool, forget: bool, typed: bool, passphrase: str | None, force: bool
) -> None:
    """Encrypt all secrets in profiles with a new master key.

    With several hosts: --prepare, bring the key to each with crypt-export and crypt-import, then without an
    option, and at the end --forget on each. Without a key on this host, the first one is made. Services are
    not restarted, as what they are given is the same.
    """
    if prepare and forget:
        raise click.UsageError("--prepare and --forget exclude each other.")
    if forget:
        _forget(context)
        return
    from fabric.crypt import MasterKeys  # noqa: PLC0415 - see key_file
    from fabric.secret_profiles import (  # noqa: PLC0415 - likewise
        encrypt_anew,
        next_key,
        prepare_key,
        publish_key,
        published_key,
    )

    file, published = key_file(context), published_key(context.session)
    # Without the fabric's key nothing could be encrypted anew: reading says where to get it.
    now = file.read() if published or file.exists else MasterKeys([])
    new = _typed_key(context, passphrase) if typed else next_key(context.session, now)
    if prepare:
        file.write(now.with_others([new]))
        prepare_key(context.session, new.id)
        click.echo(f"The master key {new.id} waits. Bring it to the other hosts: fabric crypt-export FILE")
        return
    if published and not force and sys.stdin.isatty():
        click.confirm(f"Encrypt all secrets with the key {new.id}? Hosts need it from then on.", abort=True)
    keys = now.with_first(new)
    file.write(keys)
    publish_key(context.session, new)
    changed = encrypt_anew(context.profiles, keys)
    prepare_key(context.session, "")
    click.echo(f"The master key is {new.id}; secrets in {changed} profiles were encrypted anew.")


def _forget(context: CommandContext) -> None:
    from fabric.crypt import MasterKeys  # noqa: PLC0415 - see key_file
    from fabric.secret_profiles import all_secrets, check_key, prepared_key  # noqa: PLC0415 - likewise

    file = key_file(context)
    keys = check_key(context.session, file.read())
    used = {row.key for row in all_secrets(context.profiles)}
    used |= {keys.first.id, prepared_key(context.session)}
    kept = MasterKeys([key for key in keys.all if key.id in used])
    file.write(kept)
    click.echo(f"{len(keys.all) - len(kept.all)} keys are forgotten, {len(kept.all)} kept.")
