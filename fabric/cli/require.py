"""`require-profile-set`, `-list` and `-delete`: how many containers a profile needs."""

from dataclasses import replace

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records
from fabric.cli.profile import version_option
from fabric.requirements import ProfileRequirements, Requirements
from fabric.table import Table


@command(
    "require-profile-set",
    examples=[
        "fabric require-profile-set mq-broker-default.tolerantbroker --minimum 2",
        "fabric require-profile-set shop --minimum 1 --maximum 4 --dependsOn mq-client-default",
    ],
)
@click.argument("profile")
@click.option("--minimum", type=int, help="Containers there should be at least.")
@click.option("--maximum", type=int, help="Containers there should be at most.")
@click.option(
    "--dependsOn", "depends_on", multiple=True, metavar="PROFILE", help="A profile it needs; may be repeated."
)
@version_option
def require_profile_set(
    context: CommandContext,
    *,
    profile: str,
    minimum: int | None,
    maximum: int | None,
    depends_on: tuple[str, ...],
    version: str | None,
) -> None:
    """Say how many containers a profile needs, and on which profiles it depends.

    What is left out stays as it is.
    """
    if minimum is None and maximum is None and not depends_on:
        raise click.UsageError("Give --minimum, --maximum or --dependsOn.")
    chosen = context.version_or_default(version)
    for known in (profile, *depends_on):
        context.profiles.get(known, chosen)

    def change(now: Requirements) -> Requirements:
        one = now.of(profile)
        return now.with_profile(
            replace(
                one,
                minimum_instances=one.minimum_instances if minimum is None else minimum,
                maximum_instances=one.maximum_instances if maximum is None else maximum,
                dependent_profiles=depends_on or one.dependent_profiles,
            )
        )

    context.profiles.update_requirements(change)


@command("require-profile-list", examples=["fabric require-profile-list"])
@output_option
def require_profile_list(context: CommandContext, output: str) -> None:
    """List how many containers the profiles need."""
    profiles = context.profiles.requirements().profiles
    print_records(output, [_record(one) for one in profiles], lambda: _table(profiles))


@command(
    "require-profile-delete",
    examples=["fabric require-profile-delete mq-broker-default.tolerantbroker"],
)
@click.argument("profile")
def require_profile_delete(context: CommandContext, profile: str) -> None:
    """Delete the requirements of a profile."""
    if profile not in [one.profile for one in context.profiles.requirements().profiles]:
        raise click.ClickException(
            f"There are no requirements for profile {profile}.\n"
            "`fabric require-profile-list` shows those there are."
        )
    context.profiles.update_requirements(lambda now: now.without_profile(profile))


def _record(one: ProfileRequirements) -> dict[str, object]:
    return {
        "profile": one.profile,
        "minimum": one.minimum_instances,
        "maximum": one.maximum_instances,
        "dependsOn": list(one.dependent_profiles),
    }


def _table(profiles: tuple[ProfileRequirements, ...]) -> Table:
    table = Table("profile", "# minimum", "# maximum", "depends on")
    for one in profiles:
        table.add_row(
            one.profile,
            _number(one.minimum_instances),
            _number(one.maximum_instances),
            ", ".join(one.dependent_profiles),
        )
    return table


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
