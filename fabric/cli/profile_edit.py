"""`profile-edit`: change values by option, or the whole document in an editor."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import click

from fabric.cli.context import CommandContext, command
from fabric.encrypted import stands_in_clear
from fabric.errors import ProfileError, ProfileInvalid
from fabric.overlay import overlay
from fabric.profile_edit import Edit, EditMode, parse_pid_edit, parse_system_edit
from fabric.profiles import Profile, import_pid, parse_typed_profile

F = TypeVar("F", bound=Callable[..., Any])

_KARAF_OPTIONS = (
    ("-r", "--repository", "--repositories"),
    ("-f", "--feature", "--features"),
    ("-l", "--lib", "--libs"),
    ("-n", "--endorsed"),
    ("-x", "--extension"),
    ("-b", "--bundle", "--bundles"),
    ("--fabs",),
    ("-o", "--overrides"),
    ("-c", "--config"),
)
"""What Karaf containers could be given; ours run services, which are configured by PID."""


def karaf_options(function: F) -> F:
    """Add the options that only Karaf had, hidden: they are refused with what to do instead."""
    for names in _KARAF_OPTIONS:
        function = click.option(
            *names, expose_value=False, hidden=True, multiple=True, callback=_refuse_karaf_option
        )(function)
    return function


def _refuse_karaf_option(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        raise click.UsageError(
            f"{'/'.join(param.opts)} was for Karaf containers. Services are configured by PID: "
            "--pid <PID>/<Property>=<Value>.",
            ctx,
        )


@command(
    "profile-edit",
    examples=[
        "fabric profile-edit shop",
        "fabric profile-edit --pid io.fabric8.mq.fabric.server-broker/openwire-port=61620 shop",
        "fabric profile-edit --delete --pid io.fabric8.mq.fabric.server-broker/openwire-port shop",
        "fabric profile-edit --append --pid shop.web/groups=east shop",
        "fabric profile-edit --resource notes.txt shop",
    ],
)
@click.argument("profile")
@click.argument("version", required=False)
@click.option("-p", "--pid", "pids", multiple=True, metavar="PID/KEY=VALUE", help="Change a key of a PID.")
@click.option("-s", "--system", "systems", multiple=True, metavar="KEY=VALUE", help="Change what ${KEY} is.")
@click.option("-i", "--import-pid", is_flag=True, help="Copy the inherited values of the PIDs first.")
@click.option("--resource", metavar="NAME", help="Edit this resource, in the editor or from stdin.")
@click.option("--set", "mode", flag_value="set", default="set", help="Set the values (this is the default).")
@click.option("--delete", "mode", flag_value="delete", help="Delete keys, or with --pid PID the whole PID.")
@click.option("--append", "mode", flag_value="append", help="Add the values to lists of values.")
@click.option("--remove", "mode", flag_value="remove", help="Take the values out of lists of values.")
@click.option("--delimiter", default=",", show_default=True, help="What separates the values of a list.")
@karaf_options
def profile_edit(
    context: CommandContext,
    *,
    profile: str,
    version: str | None,
    pids: tuple[str, ...],
    systems: tuple[str, ...],
    import_pid: bool,
    resource: str | None,
    mode: str,
    delimiter: str,
) -> None:
    """Change the configuration in a profile.

    Without options the profile opens in the editor ($EDITOR).
    """
    if not delimiter:
        raise click.UsageError("--delimiter is empty.")
    edit_mode = EditMode(mode)
    imported = [pid.partition("/")[0] for pid in pids] if import_pid else []
    edits = [parse_pid_edit(pid, edit_mode, delimiter) for pid in pids if "/" in pid or not import_pid]
    edits += [parse_system_edit(system, edit_mode, delimiter) for system in systems]
    chosen = context.version_or_default(version)
    if resource is not None:
        if edits or imported:
            raise click.UsageError("--resource is used alone.")
        _edit_resource(context, profile, chosen, resource)
    elif edits or imported:
        _apply(context, profile, chosen, _with_secrets_encrypted(context, edits), imported)
    else:
        _edit_document(context, profile, chosen)


def _with_secrets_encrypted(context: CommandContext, edits: Sequence[Edit]) -> list[Edit]:
    """Encrypt values of properties whose names say that they are secret, if this host has the key."""
    clear = [
        edit
        for edit in edits
        if edit.mode is EditMode.SET and stands_in_clear(edit.key or "", edit.value or "")
    ]
    if not clear:
        return list(edits)
    from fabric.cli.crypt import keys_for  # noqa: PLC0415 - only if it is needed

    keys = keys_for(context, [str(edit.key) for edit in clear])
    if keys is None:
        return list(edits)
    return [replace(edit, value=keys.encrypt(edit.value or "")) if edit in clear else edit for edit in edits]


def _apply(
    context: CommandContext, profile: str, version: str, edits: Sequence[Edit], imported: Sequence[str]
) -> None:
    known = context.profiles.lineage([profile], version)

    def change(now: Profile) -> Profile:
        inherited = overlay(now.parents, known).configuration if imported else {}
        for pid in imported:
            now = import_pid(now, pid, inherited.get(pid, {}))
        for edit in edits:
            now = edit.apply(now)
        return now

    context.profiles.update(profile, version, change)
    for pid in imported:
        click.echo(f"Importing pid:{pid} to profile:{profile} version:{version}")
    for edit in edits:
        click.echo(edit.describe(profile, version))


def _edit_document(context: CommandContext, profile: str, version: str) -> None:
    """Open the document in the editor until it can be used or the user gives up."""
    document, revision = context.profiles.document(profile, version)
    text = original = document.decode(errors="replace")
    while True:
        edited = _in_editor(text, ".yaml")
        if edited is None or edited == original:
            click.echo("Nothing was changed.")
            return
        text = edited
        try:
            parsed = parse_typed_profile(profile, text.encode())
            context.profiles.check_parents(parsed, version)
        except ProfileError as error:
            click.echo(error.what, err=True)
            click.confirm("Edit it again?", default=True, abort=True, err=True)
            continue
        context.profiles.save_document(parsed, text.encode(), version, revision)
        return


def _edit_resource(context: CommandContext, profile: str, version: str, name: str) -> None:
    if not name or not name.isprintable() or "/" in name:
        raise ProfileInvalid(f"{name!r} cannot name a resource.", "It is a file name, such as notes.txt.")
    now, revision = context.profiles.get_with_revision(profile, version)
    text = _in_editor(now.resources.get(name, ""), "") if sys.stdin.isatty() else sys.stdin.read()
    if text is None or text == now.resources.get(name):
        click.echo("Nothing was changed.")
        return
    context.profiles.save(replace(now, resources={**now.resources, name: text}), version, revision)


def _in_editor(text: str, extension: str) -> str | None:
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal for the editor: say what to change with --pid.")
    edited = click.edit(text, extension=extension)
    return None if edited is None else str(edited)
