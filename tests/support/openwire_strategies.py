"""OpenWire structures made from the table of types: by Hypothesis, and by plain chance."""

from __future__ import annotations

from random import Random
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


_TEXTS = (None, "", "a", "\0", "é€", "😀", "x" * 300)
_LONGS = (0, 1, -1, 0xFFFF, 0x10000, 0xFFFFFFFF, 2**32, 2**63 - 1, -(2**63))


def sample(each: schema.Type, version: int, random: Random, *, stack_trace: bool, depth: int = 2) -> Any:
    """A structure of one type by chance; quicker than Hypothesis where every type shall be met."""
    values = {
        field.name: _sample_value(field, version, random, stack_trace=stack_trace, depth=depth)
        for field in schema.wire_fields(each, version)
    }
    return getattr(commands, each.name)(**values)


def _sample_value(field: schema.Field, version: int, random: Random, *, stack_trace: bool, depth: int) -> Any:
    if field.holds is not None:
        choices = schema.concrete(field.holds, version)
        if depth <= 0:
            choices = tuple(each for each in choices if each.is_value)

        def nested() -> Any:
            if not choices or random.random() < 0.25:
                return None
            chosen = random.choice(choices)
            return sample(chosen, version, random, stack_trace=stack_trace, depth=depth - 1)

        if field.kind is schema.Kind.ARRAY:
            return random.choice([None, tuple(nested() for _ in range(random.randrange(3)))])
        return nested()
    match field.kind:
        case schema.Kind.BOOL:
            return random.random() < 0.5
        case schema.Kind.BYTE:
            return random.choice([0, 1, 127, -128])
        case schema.Kind.INT:
            return random.choice([0, 1, -1, 2**31 - 1, -(2**31)])
        case schema.Kind.LONG:
            return random.choice(_LONGS)
        case schema.Kind.STRING:
            return random.choice(_TEXTS)
        case schema.Kind.BYTES:
            return random.choice([None, b"", b"\0\xff"])
        case schema.Kind.MAGIC:
            return b"ActiveMQ"
        case schema.Kind.THROWABLE:
            return _sample_throwable(random, stack_trace=stack_trace)
    raise AssertionError(field.kind)


def _sample_throwable(random: Random, *, stack_trace: bool) -> Throwable | None:
    if random.random() < 0.2:
        return None
    if not stack_trace:
        return Throwable(random.choice(_TEXTS), random.choice(_TEXTS))
    line = StackTraceElement(random.choice(_TEXTS), random.choice(_TEXTS), random.choice(_TEXTS), -2)
    cause = _sample_throwable(random, stack_trace=True)
    return Throwable(random.choice(_TEXTS), random.choice(_TEXTS), (line,) * random.randrange(3), cause)
