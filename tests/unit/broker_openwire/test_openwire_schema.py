"""The table of types and the file made from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from broker.openwire import commands, generate, schema


def test_commands_file_is_what_the_table_makes() -> None:
    """The checked-in commands.py is exactly the generator's output."""
    assert Path(commands.__file__).read_text(encoding="utf-8") == generate.commands_source()


def test_every_coded_type_has_its_class() -> None:
    """Every type byte of the table leads to the class of that name, and back."""
    assert {code: each.__name__ for code, each in commands.BY_TYPE_CODE.items()} == {
        code: each.name for code, each in schema.BY_CODE.items()
    }
    assert all(code == each.TYPE_CODE for code, each in commands.BY_TYPE_CODE.items())


def test_nested_fields_name_known_types() -> None:
    """A field that holds a structure names a type of the table, and no other field names one."""
    nested = (schema.Kind.NESTED, schema.Kind.CACHED, schema.Kind.ARRAY)
    for each in schema.TYPES:
        for field in each.fields:
            assert (field.holds in schema.BY_NAME) if field.kind in nested else field.holds is None


def test_values_are_equal_by_content_and_class() -> None:
    """Two ids are equal if class and content are, so they serve as keys."""
    assert {commands.ActiveMQQueue("a"), commands.ActiveMQQueue("a"), commands.ActiveMQTopic("a")} == {
        commands.ActiveMQTopic("a"),
        commands.ActiveMQQueue("a"),
    }


def test_classes_have_no_dict() -> None:
    """Structures are slotted: a misspelt attribute is an error, and memory is small."""
    with pytest.raises(AttributeError):
        commands.ConnectionInfo().user = "misspelt"


@pytest.mark.parametrize(
    ("name", "version", "present", "absent"),
    [
        ("Message", 1, "received_by_df_bridge", "droppable"),
        ("Message", 3, "broker_out_time", "jmsx_group_first_for_consumer"),
        ("Message", 12, "jmsx_group_first_for_consumer", "-"),
        ("NetworkBridgeFilter", 9, "network_ttl", "message_ttl"),
        ("NetworkBridgeFilter", 10, "consumer_ttl", "network_ttl"),
        ("MessageId", 9, "producer_id", "text_view"),
        ("ConsumerInfo", 12, "client_id", "-"),
    ],
)
def test_versions_choose_fields(name: str, version: int, present: str, absent: str) -> None:
    """A version writes the fields it knows and no other."""
    names = [field.name for field in schema.wire_fields(schema.BY_NAME[name], version)]
    assert present in names
    assert absent not in names


def test_commands_is_plain_data() -> None:
    """The generated file defines classes and one table, and runs nothing else."""
    tree = ast.parse(Path(commands.__file__).read_text(encoding="utf-8"))
    allowed = (ast.ClassDef, ast.ImportFrom, ast.AnnAssign, ast.Expr)
    assert all(isinstance(node, allowed) for node in tree.body)


def test_the_generator_writes_one_file(tmp_path: Path) -> None:
    """What ``python -m broker.openwire.generate`` writes is the checked-in text."""
    generate.main(tmp_path / "commands.py")
    assert (tmp_path / "commands.py").read_text(encoding="utf-8") == generate.commands_source()
