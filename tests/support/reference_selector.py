"""A second evaluator of selectors, over trees that tests make: as slow and as plain as the specification.

It shares nothing with the broker's. A tree is a tuple of its kind and its parts; `text_of` writes it as a
selector, `value_of` says what it is worth for a message: True, False, None for unknown, a number or a text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Tree = tuple[Any, ...]
Value = bool | int | float | str | None

LONG = 2**63


def text_of(tree: Tree) -> str:
    """The selector of a tree, every part in parentheses."""
    kind, *parts = tree
    if kind == "name":
        return str(parts[0])
    if kind == "literal":
        return _literal(parts[0])
    if kind in ("or", "and"):
        return "(" + f" {kind.upper()} ".join(map(text_of, parts)) + ")"
    if kind == "not":
        return f"(NOT {text_of(parts[0])})"
    if kind in ("compare", "calculate"):
        sign, left, right = parts
        return f"({text_of(left)} {sign} {text_of(right)})"
    if kind == "minus":
        return f"(- {text_of(parts[0])})"
    negation = "NOT " if parts[-1] else ""
    if kind == "null":
        return f"({parts[0]} IS {negation}NULL)"
    if kind == "between":
        value, low, high, _ = parts
        return f"({text_of(value)} {negation}BETWEEN {text_of(low)} AND {text_of(high)})"
    if kind == "in":
        name, texts, _ = parts
        return f"({name} {negation}IN ({', '.join(map(_literal, texts))}))"
    assert kind == "like"
    name, pattern, escape, _ = parts
    return f"({name} {negation}LIKE {_literal(pattern)}" + (f" ESCAPE {_literal(escape)})" if escape else ")")


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def value_of(tree: Tree, message: Mapping[str, Value]) -> Value:
    """What a tree is worth for a message's properties."""
    kind, *parts = tree
    if kind == "name":
        return message.get(parts[0])
    if kind == "literal":
        literal: Value = parts[0]
        return literal
    if kind in ("or", "and"):
        return _joined(kind == "or", [_condition(value_of(each, message)) for each in parts])
    if kind == "not":
        return _negated(_condition(value_of(parts[0], message)), True)
    if kind == "compare":
        sign, left, right = parts
        return _compared(sign, value_of(left, message), value_of(right, message))
    if kind == "calculate":
        sign, left, right = parts
        return _calculated(sign, value_of(left, message), value_of(right, message))
    if kind == "minus":
        return _calculated("*", value_of(parts[0], message), -1)
    if kind == "null":
        return (message.get(parts[0]) is None) is not parts[1]
    if kind == "between":
        value, low, high = (value_of(each, message) for each in parts[:3])
        return _negated(_joined(False, [_compared(">=", value, low), _compared("<=", value, high)]), parts[3])
    found = message.get(parts[0])
    if found is None:
        return None
    if kind == "in":
        return _negated(isinstance(found, str) and found in parts[1], parts[2])
    assert kind == "like"
    return _negated(isinstance(found, str) and like(found, parts[1], parts[2]), parts[3])


def _condition(value: Value) -> bool | None:
    return value if isinstance(value, bool) else None


def _joined(is_or: bool, values: list[bool | None]) -> bool | None:
    if is_or in values:
        return is_or
    return None if None in values else not is_or


def _negated(value: bool | None, negate: bool) -> bool | None:
    return value if value is None or not negate else not value


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compared(sign: str, left: Value, right: Value) -> bool | None:
    if left is None or right is None:
        return None
    numbers = _is_number(left) and _is_number(right)
    if sign in ("=", "<>"):
        if not numbers and type(left) is not type(right):
            return False
        return (left == right) is (sign == "=")
    if not numbers:
        return False
    assert isinstance(left, int | float)
    assert isinstance(right, int | float)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


class Undefined(Exception):
    """An integer is divided by zero: the message is not selected."""


def _calculated(sign: str, left: Value, right: Value) -> int | float | None:
    if not (_is_number(left) and _is_number(right)):
        return None
    assert isinstance(left, int | float)
    assert isinstance(right, int | float)
    exact = isinstance(left, int) and isinstance(right, int)
    if sign == "/":
        if exact and right == 0:
            raise Undefined
        if exact:
            return _wrapped(_exact_quotient(int(left), int(right)))
        if right == 0:
            if left == 0 or math.isnan(left):
                return math.nan
            return math.inf * math.copysign(1, left) * math.copysign(1, right)
        return float(left) / float(right)
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return _wrapped(result) if isinstance(result, int) else result


def _exact_quotient(left: int, right: int) -> int:
    quotient, rest = divmod(left, right)
    return quotient + 1 if rest and quotient < 0 else quotient


def _wrapped(value: int) -> int:
    return (value + LONG) % (2 * LONG) - LONG


def like(text: str, pattern: str, escape: str) -> bool:
    """Whether a text is like a pattern; by trying every way."""
    if not pattern:
        return not text
    first, rest = pattern[0], pattern[1:]
    if escape and first == escape:
        return text[:1] == rest[:1] and like(text[1:], rest[1:], escape)
    if first == "%":
        return any(like(text[at:], rest, escape) for at in range(len(text) + 1))
    return bool(text) and first in ("_", text[0]) and like(text[1:], rest, escape)
