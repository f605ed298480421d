"""The changes `profile-edit` makes, parsed from its options and applied to a profile."""

from dataclasses import dataclass
from enum import Enum

from fabric.errors import ProfileInvalid
from fabric.profiles import (
    AGENT_PID,
    Profile,
    append_value,
    delete_key,
    delete_pid,
    remove_value,
    set_value,
)

PID_FORMAT = "Enter pid value in proper format like --pid <PID>/<Property>=<Value>"

PID_LENGTH_MAX = 200
"""Characters of a PID: it names a folder or a file in more than one place."""


class EditMode(Enum):
    """What is done with a value."""

    SET = "set"
    DELETE = "delete"
    APPEND = "append"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: of a key of a PID, or of a whole PID (no key; only deleted)."""

    pid: str
    key: str | None
    value: str | None
    mode: EditMode
    delimiter: str = ","

    def apply(self, profile: Profile) -> Profile:
        """Return the changed profile."""
        if self.key is None:
            return delete_pid(profile, self.pid)
        if self.mode is EditMode.DELETE:
            return delete_key(profile, self.pid, self.key)
        assert self.value is not None
        if self.mode is EditMode.APPEND:
            return append_value(profile, self.pid, self.key, self.value, self.delimiter)
        if self.mode is EditMode.REMOVE:
            return remove_value(profile, self.pid, self.key, self.value, self.delimiter)
        return set_value(profile, self.pid, self.key, self.value)

    def describe(self, profile_id: str, version: str) -> str:
        """Say what is done, as the original does."""
        where = f"profile:{profile_id} version:{version}"
        if self.key is None:
            return f"Deleting pid:{self.pid} from {where}"
        if self.mode is EditMode.DELETE:
            return f"Deleting key:{self.key} from pid:{self.pid} and {where}"
        verb, preposition = {
            EditMode.SET: ("Setting", "on"),
            EditMode.APPEND: ("Appending", "to"),
            EditMode.REMOVE: ("Removing", "from"),
        }[self.mode]
        return f"{verb} value:{self.value} key:{self.key} {preposition} pid:{self.pid} and {where}"


def parse_pid_edit(text: str, mode: EditMode, delimiter: str) -> Edit:
    """Parse the value of `--pid`: `PID/key=value`, to delete also `PID/key` or `PID`.

    Raises:
        ProfileInvalid: it is none of them.
    """
    pid, slash, pair = text.partition("/")
    if not pid or len(pid) > PID_LENGTH_MAX or not pid.isprintable() or " " in pid:
        raise ProfileInvalid(PID_FORMAT)
    if mode is EditMode.DELETE and not slash:
        return Edit(pid, None, None, mode)
    return _pair_edit(pid, pair, mode, delimiter)


def parse_system_edit(text: str, mode: EditMode, delimiter: str) -> Edit:
    """Parse the value of `--system`: `key=value`, to delete also `key`."""
    edit = _pair_edit(AGENT_PID, text, mode, delimiter)
    return Edit(AGENT_PID, f"system.{edit.key}", edit.value, mode, delimiter)


def _pair_edit(pid: str, pair: str, mode: EditMode, delimiter: str) -> Edit:
    key, equals, value = pair.partition("=")
    if not key or (not equals and mode is not EditMode.DELETE):
        raise ProfileInvalid(PID_FORMAT)
    return Edit(pid, key, value if equals else None, mode, delimiter)
