"""Hypothesis strategies for OpenWire structures, made from the table of types."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from broker.openwire import commands, schema
from broker.openwire.throwable import StackTraceElement, Throwable

TEXT = st.text(max_size=20) | st.sampled_from(["", "\0", "é", "€", "😀", "a\0😀\ud83d", "x" * 300])
OPTIONAL_TEXT = st.none() | TEXT
BYTES = st.none() | st.binary(max_size=40)
LONG = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF, 2**32, -1])
STACK = st.lists(
    st.builds(StackTraceElement, OPTIONAL_TEXT, OPTIONAL_TEXT, OPTIONAL_TEXT, st.integers(-2, 10_000)),
    max_size=2,
).map(tuple)


def throwables(*, stack_trace: bool, causes: int = 1) -> st.SearchStrategy[Throwable]:
    """Exceptions, with stack and causes only if those are carried."""
    if not stack_trace:
        return st.builds(Throwable, OPTIONAL_TEXT, OPTIONAL_TEXT)
    cause = throwables(stack_trace=True, causes=causes - 1) if causes else st.nothing()
    return st.builds(Throwable, OPTIONAL_TEXT, OPTIONAL_TEXT, STACK, st.none() | cause)


def structures(
    each: schema.Type, version: int, *, stack_trace: bool = False, depth: int = 2
) -> st.SearchStrategy[Any]:
    """Structures of one type, with values only in the fields that this version carries."""
    fields = {
        field.name: _values(field, version, stack_trace=stack_trace, depth=depth)
        for field in schema.wire_fields(each, version)
    }
    return st.builds(getattr(commands, each.name), **fields)


def any_of(holds: str, version: int, *, stack_trace: bool, depth: int) -> st.SearchStrategy[Any]:
    """Structures that may stand where a type is declared; below some depth only those that end there."""
    choices = schema.concrete(holds, version)
    if depth <= 0:
        choices = tuple(each for each in choices if each.is_value)
    if not choices:
        return st.none()
    return st.sampled_from(choices).flatmap(
        lambda each: structures(each, version, stack_trace=stack_trace, depth=depth - 1)
    )


def _values(field: schema.Field, version: int, *, stack_trace: bool, depth: int) -> st.SearchStrategy[Any]:
    plain = {
        schema.Kind.BOOL: st.booleans(),
        schema.Kind.BYTE: st.integers(-128, 127),
        schema.Kind.INT: st.integers(-(2**31), 2**31 - 1),
        schema.Kind.LONG: LONG,
        schema.Kind.STRING: OPTIONAL_TEXT,
        schema.Kind.BYTES: BYTES,
        schema.Kind.MAGIC: st.binary(min_size=8, max_size=8),
        schema.Kind.THROWABLE: st.none() | throwables(stack_trace=stack_trace),
    }
    if field.kind in plain:
        return plain[field.kind]
    assert field.holds is not None
    nested = any_of(field.holds, version, stack_trace=stack_trace, depth=depth)
    if field.kind is schema.Kind.ARRAY:
        return st.none() | st.lists(st.none() | nested, max_size=3).map(tuple)
    return st.none() | nested
