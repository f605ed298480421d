"""The `profile-…` commands that list, show, create, copy and delete."""

from dataclasses import replace

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.names import validate_profile_name
from fabric.profiles import AGENT_PID, Profile, unique
from fabric.table import Table

version_option = click.option("--version", help="Version of the profile.  [default: the default version]")


@command("profile-list", examples=["fabric profile-list", "fabric profile-list --hidden --output json"])
@version_option
@click.option("--hidden", is_flag=True, help="List hidden profiles too.")
@output_option
def profile_list(context: CommandContext, version: str | None, hidden: bool, output: str) -> None:
    """List the profiles of a version."""
    chosen = context.version_or_default(version)
    counts: dict[str, int] = {}
    for container in context.containers.names():
        for profile_id in context.containers.profiles(container, chosen):
            counts[profile_id] = counts.get(profile_id, 0) + 1
    profiles = [one for one in context.profiles.all(chosen).values() if hidden or not one.hidden]
    records = [
        {"id": one.id, "containers": counts.get(one.id, 0), "parents": list(one.parents)} for one in profiles
    ]

    def table() -> Table:
        made = Table("id", "# containers", "parents")
        for one in profiles:
            made.add_row(one.id, str(counts.get(one.id, "")), " ".join(one.parents))
        return made

    print_records(output, records, table)


@command(
    "profile-display",
    examples=["fabric profile-display mq-amq", "fabric profile-display --overlay mq-amq"],
)
@click.argument("profile")
@version_option
@click.option("-o", "--overlay", is_flag=True, help="With what it inherits from its parents.")
@click.option("-r", "--display-resources", is_flag=True, help="With the content of its resources.")
def profile_display(
    context: CommandContext, profile: str, version: str | None, overlay: bool, display_resources: bool
) -> None:
    """Show a profile."""
    chosen = context.version_or_default(version)
    shown = context.profiles.get(profile, chosen)
    containers = " ".join(context.containers.with_profile(profile, chosen))
    lines = [f"Profile id: {shown.id}", f"Version   : {chosen}", "Attributes: "]
    attributes = {**shown.attributes, **({"parents": " ".join(shown.parents)} if shown.parents else {})}
    lines += [f"\t{name}: {value}" for name, value in attributes.items()]
    lines.append(f"Containers: {containers}")
    if overlay:
        effective = context.profiles.overlay([profile], chosen)
        shown = replace(shown, configuration=effective.configuration, resources=effective.resources)
    click.echo("\n".join(lines + _configuration_lines(shown) + _resource_lines(shown, display_resources)))


def _configuration_lines(profile: Profile) -> list[str]:
    lines = []
    agent = profile.configuration.get(AGENT_PID)
    if agent:
        system = {k.removeprefix("system."): v for k, v in agent.items() if k.startswith("system.")}
        others = {k: v for k, v in agent.items() if not k.startswith("system.")}
        lines += ["", "Container settings", "----------------------------"]
        for header, shown in (("Agent Properties : ", others), ("System Properties : ", system)):
            if shown:
                lines += [header, *(f"\t  {key} = {value}" for key, value in shown.items()), ""]
    lines += ["", "Configuration details", "----------------------------"]
    for pid, values in profile.configuration.items():
        if pid != AGENT_PID:
            lines += [f"PID: {pid}", *(f"  {key} {value}" for key, value in values.items()), "", ""]
    return lines


def _resource_lines(profile: Profile, with_content: bool) -> list[str]:
    lines = ["", "Other resources", "----------------------------"]
    for name, text in profile.resources.items():
        lines.append(f"Resource: {name}")
        if with_content:
            lines += [text, "", ""]
    return lines


@command(
    "profile-create",
    examples=["fabric profile-create shop", "fabric profile-create --parent mq-base shop-broker"],
)
@click.argument("profile")
@click.option("--parent", "--parents", "parents", multiple=True, help="Profile to inherit from; repeatable.")
@version_option
def profile_create(
    context: CommandContext, profile: str, parents: tuple[str, ...], version: str | None
) -> None:
    """Create a profile."""
    validate_profile_name(profile)
    chosen = context.version_or_default(version)
    context.profiles.create(Profile(profile, parents=_parents(parents)), chosen)


@command("profile-change-parents", examples=["fabric profile-change-parents shop default mq-client-default"])
@click.argument("profile")
@click.argument("parents", nargs=-1, required=True)
@version_option
def profile_change_parents(
    context: CommandContext, profile: str, parents: tuple[str, ...], version: str | None
) -> None:
    """Replace the parents of a profile; a later one is laid over an earlier one."""
    chosen = context.version_or_default(version)
    context.profiles.update(profile, chosen, lambda now: replace(now, parents=_parents(parents)))


def _parents(texts: tuple[str, ...]) -> tuple[str, ...]:
    names = [name for text in texts for name in text.replace(",", " ").split()]
    return unique(validate_profile_name(name) for name in names)


@command("profile-copy", examples=["fabric profile-copy mq-amq my-broker"])
@click.argument("source")
@click.argument("target")
@version_option
@click.option("-f", "--force", is_flag=True, help="Replace the target if it exists.")
def profile_copy(context: CommandContext, source: str, target: str, version: str | None, force: bool) -> None:
    """Copy a profile."""
    validate_profile_name(target)
    chosen = context.version_or_default(version)
    copy = replace(context.profiles.get(source, chosen), id=target)
    if force:
        context.profiles.put(copy, chosen)
    else:
        context.profiles.create(copy, chosen)


@command("profile-delete", examples=["fabric profile-delete shop", "fabric profile-delete --force shop"])
@click.argument("profile")
@version_option
@click.option("--force", is_flag=True, help="Take it from the containers that have it first.")
def profile_delete(context: CommandContext, profile: str, version: str | None, force: bool) -> None:
    """Delete a profile."""
    chosen = context.version_or_default(version)
    if not context.profiles.exists(validate_profile_name(profile), chosen):
        raise click.ClickException(
            f"Profile {profile} not found.\n`fabric profile-list --hidden` shows those there are."
        )
    context.profiles.delete(profile, chosen, unassign=force)
