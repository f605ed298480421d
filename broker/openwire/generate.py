"""Makes commands.py from the table in schema.py: ``python -m broker.openwire.generate``.

A test holds the checked-in file to the output of :func:`commands_source`.
"""

from __future__ import annotations

from pathlib import Path

from broker.openwire.schema import TYPES, Field, Kind, Type

TARGET = Path(__file__).with_name("commands.py")

_HEADER = '''"""OpenWire's structures, made by ``python -m broker.openwire.generate`` from schema.py.

Value types (ids and destinations) are hashable and must not be changed after they were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from broker.openwire.throwable import Throwable
'''

_PLAIN = {
    Kind.BOOL: ("bool", "False"),
    Kind.BYTE: ("int", "0"),
    Kind.INT: ("int", "0"),
    Kind.LONG: ("int", "0"),
    Kind.STRING: ("str | None", "None"),
    Kind.BYTES: ("bytes | None", "None"),
    Kind.MAGIC: ("bytes", 'b"ActiveMQ"'),
    Kind.THROWABLE: ("Throwable | None", "None"),
}


def _annotation(field: Field) -> str:
    if field.kind in (Kind.NESTED, Kind.CACHED):
        return f"{field.holds} | None"
    if field.kind is Kind.ARRAY:
        return f"tuple[{field.holds}, ...] | None"
    return _PLAIN[field.kind][0]


def _default(field: Field) -> str:
    return _PLAIN[field.kind][1] if field.kind in _PLAIN else "None"


def _class_source(each: Type) -> str:
    decorator = "@dataclass(slots=True, unsafe_hash=True)" if each.is_value else "@dataclass(slots=True)"
    base = f"({each.base})" if each.base else ""
    lines = [decorator, f"class {each.name}{base}:", f'    """{each.doc}"""']
    members = []
    if each.base is None:
        members.append("    TYPE_CODE: ClassVar[int] = 0")
    if each.code is not None:
        members.append(f"    TYPE_CODE: ClassVar[int] = {each.code}")
    members += [f"    {field.name}: {_annotation(field)} = {_default(field)}" for field in each.fields]
    if members:
        lines += ["", *members]
    return "\n".join(lines) + "\n"


def commands_source() -> str:
    """The text of commands.py, formatted as ``ruff format`` leaves it."""
    names = [each.name for each in TYPES]
    assert all(names.index(each.base) < names.index(each.name) for each in TYPES if each.base)
    parts = [_HEADER] + [_class_source(each) for each in TYPES]
    parts.append(
        "BY_TYPE_CODE: dict[int, type[DataStructure]] = {\n"
        + "".join(f"    {each.code}: {each.name},\n" for each in TYPES if each.code is not None)
        + "}\n"
    )
    return "\n\n".join(parts)


def main(target: Path = TARGET) -> None:
    """Writes the file."""
    target.write_text(commands_source(), encoding="utf-8")


if __name__ == "__main__":
    main()
