"""The changes `profile-edit` makes."""

import pytest

from fabric.errors import ProfileInvalid
from fabric.profile_edit import Edit, EditMode, parse_pid_edit, parse_system_edit
from fabric.profiles import AGENT_PID, Profile

SET, DELETE, APPEND, REMOVE = EditMode.SET, EditMode.DELETE, EditMode.APPEND, EditMode.REMOVE


@pytest.mark.parametrize(
    ("text", "mode", "edit"),
    [
        ("a.b/key=value", SET, Edit("a.b", "key", "value", SET)),
        ("a.b/key=", SET, Edit("a.b", "key", "", SET)),
        ("a.b/key=x=y/z", SET, Edit("a.b", "key", "x=y/z", SET)),
        ("a.b/key=v", APPEND, Edit("a.b", "key", "v", APPEND)),
        ("a.b/key", DELETE, Edit("a.b", "key", None, DELETE)),
        ("a.b/key=v", DELETE, Edit("a.b", "key", "v", DELETE)),
        ("a.b", DELETE, Edit("a.b", None, None, DELETE)),
    ],
)
def test_what_is_typed_is_understood(text: str, mode: EditMode, edit: Edit) -> None:
    """`PID/key=value`; to delete, the value and the key may be left out."""
    assert parse_pid_edit(text, mode, ",") == edit


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", SET),
        ("a.b", SET),
        ("a.b/", SET),
        ("a.b/key", SET),
        ("a.b/=v", SET),
        ("/key=v", SET),
        ("a b/key=v", SET),
        ("a\n/key=v", SET),
        ("x" * 201 + "/k=v", SET),
        ("a.b/key", APPEND),
        ("a.b/", DELETE),
        ("a.b", REMOVE),
    ],
)
def test_anything_else_is_refused_with_the_format(text: str, mode: EditMode) -> None:
    """The text is the original's."""
    with pytest.raises(ProfileInvalid, match="Enter pid value in proper format like --pid"):
        parse_pid_edit(text, mode, ",")


def test_each_mode_does_its_change() -> None:
    """Set, append, remove, delete a key, delete the PID."""
    profile = Profile("p")
    for text, mode, configuration in (
        ("pid/k=a", SET, {"pid": {"k": "a"}}),
        ("pid/k=b", APPEND, {"pid": {"k": "a,b"}}),
        ("pid/k=a", REMOVE, {"pid": {"k": "b"}}),
        ("pid/k", DELETE, {"pid": {}}),
        ("pid", DELETE, {}),
    ):
        profile = parse_pid_edit(text, mode, ",").apply(profile)
        assert profile.configuration == configuration


def test_another_delimiter() -> None:
    """Lists may be separated by what their reader expects."""
    profile = Profile("p", configuration={"pid": {"k": "a b"}})
    changed = parse_pid_edit("pid/k=c", APPEND, " ").apply(profile)
    assert changed.configuration["pid"]["k"] == "a b c"


def test_system_properties_lie_in_the_agents_pid() -> None:
    """`--system` is short for `--pid io.fabric8.agent/system.…`."""
    assert parse_system_edit("x=1", SET, ",").apply(Profile("p")).configuration == {
        AGENT_PID: {"system.x": "1"}
    }
    with pytest.raises(ProfileInvalid):
        parse_system_edit("x", SET, ",")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("a/k=v", SET, "Setting value:v key:k on pid:a and profile:p version:1.0"),
        ("a/k=v", APPEND, "Appending value:v key:k to pid:a and profile:p version:1.0"),
        ("a/k=v", REMOVE, "Removing value:v key:k from pid:a and profile:p version:1.0"),
        ("a/k", DELETE, "Deleting key:k from pid:a and profile:p version:1.0"),
        ("a", DELETE, "Deleting pid:a from profile:p version:1.0"),
    ],
)
def test_it_says_what_it_did(text: str, mode: EditMode, said: str) -> None:
    """In the original's words."""
    assert parse_pid_edit(text, mode, ",").describe("p", "1.0") == said
