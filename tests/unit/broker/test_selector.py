"""Selectors: what they select, what they refuse and where."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference_selector import Tree, Undefined, Value, text_of, value_of

from broker.errors import InvalidSelector
from broker.selector import CONVERTING, DEPTH_MAX, SELECTOR_CHARACTERS_MAX, Selector

MESSAGE: dict[str, object] = {
    "colour": "red",
    "size": 5,
    "weight": 2.5,
    "fresh": True,
    "name": "a_b%c'd",
    "big": 2**63 - 1,
    "empty": "",
    "lines": "one\ntwo",
    "$odd_Name1": 1,
    "größe": 7,
}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("colour = 'red'", True),
        ("colour <> 'red'", False),
        ("colour <> 'blue'", True),
        ("colour = 'RED'", False),
        ("size = 5 AND weight < 3", True),
        ("size > 5 OR weight >= 2.5", True),
        ("NOT size > 5", True),
        ("size BETWEEN 1 AND 5", True),
        ("size NOT BETWEEN 1 AND 5", False),
        ("colour IN ('blue', 'red')", True),
        ("colour NOT IN ('blue', 'red')", False),
        ("colour LIKE 'r%'", True),
        ("colour LIKE '_ed'", True),
        ("colour NOT LIKE 'r%'", False),
        ("name LIKE 'a\\_b\\%c%' ESCAPE '\\'", True),
        ("name = 'a_b%c''d'", True),
        ("colour LIKE 'r'", False),
        ("lines LIKE 'one%two'", True),
        ("colour LIKE '.ed'", False),
        ("empty = ''", True),
        ("empty LIKE '%'", True),
        ("missing IS NULL", True),
        ("missing IS NOT NULL", False),
        ("colour IS NOT NULL", True),
        ("fresh", True),
        ("fresh = TRUE", True),
        ("fresh <> false", True),
        ("NOT fresh", False),
        ("size + 2 * 3 = 11", True),
        ("(size + 2) * 3 = 21", True),
        ("size - 1 - 1 = 3", True),
        ("size / 2 = 2", True),
        ("size / 2.0 = 2.5", True),
        ("-size = -5", True),
        ("+size = 5", True),
        ("- 7 / 2 = -3", True),
        ("size = 5.0", True),
        ("size = 5L", True),
        ("size = 0x5", True),
        ("size = 05", True),
        ("weight = 25e-1", True),
        ("weight = .25e1", True),
        ("weight = 2.5f", True),
        ("big = 9223372036854775807", True),
        ("big + 1 = -9223372036854775808", True),
        ("$odd_Name1 = 1", True),
        ("größe = 7", True),
        ("TRUE", True),
        ("false", False),
        ("1 = 1", True),
        ("colour='red'and size=5", True),
    ],
)
def test_what_a_selector_selects(selector: str, selected: bool) -> None:
    """Each construct of the language, on a message for which the answer is plain."""
    assert Selector(selector).matches(MESSAGE.get) is selected


@pytest.mark.parametrize(
    "selector",
    [
        "missing = 1",
        "NOT missing = 1",
        "missing <> 1",
        "missing > 1 AND size = 5",
        "NOT (missing > 1 OR size = 6)",
        "missing LIKE 'a'",
        "missing NOT LIKE 'a'",
        "missing IN ('a')",
        "missing NOT IN ('a')",
        "missing BETWEEN 1 AND 2",
        "missing NOT BETWEEN 1 AND 2",
        "missing + 1 = 1",
        "missing",
    ],
)
def test_what_depends_on_something_missing_is_unknown(selector: str) -> None:
    """Neither it nor its opposite selects a message."""
    assert not Selector(selector).matches(MESSAGE.get)


@pytest.mark.parametrize(
    "selector", ["colour = 5", "colour <> 5", "size = 'red'", "size > weight OR colour > 1", "fresh = 1"]
)
def test_values_of_different_kinds_select_nothing(selector: str) -> None:
    """They are neither equal nor unequal, less or greater."""
    assert not Selector(selector).matches(MESSAGE.get) or "weight" in selector


def test_an_integer_divided_by_zero_selects_nothing() -> None:
    """It is no error of the consumer's, and the message is left to others."""
    assert not Selector("size / 0 = 1 OR colour = 'blue'").matches(MESSAGE.get)
    assert Selector("size / 0.0 > 1").matches(MESSAGE.get)


@pytest.mark.parametrize(
    ("selector", "position"),
    [
        ("", 1),
        ("colour =", 9),
        ("colour = 'red", 10),
        ("colour == 'red'", 9),
        ("(size = 5", 10),
        ("size = 5)", 9),
        ("size = 5 size", 10),
        ("colour LIKE 5", 13),
        ("colour LIKE 'a' ESCAPE 'ab'", 24),
        ("colour LIKE 'a!' ESCAPE '!'", 13),
        ("colour IN ()", 12),
        ("colour IN (5)", 12),
        ("5 IN ('a')", 1),
        ("5 IS NULL", 1),
        ("colour IS 5", 11),
        ("colour NOT 'red'", 12),
        ("'red' > 'blue'", 1),
        ("1 = 'a'", 3),
        ("1 + 'a' = 2", 5),
        ("5", 1),
        ("'red'", 1),
        ("size AND 5", 10),
        ("NOT 5", 5),
        ("size = 09", 8),
        ("size = 9223372036854775808", 8),
        ("size BETWEEN 'a' AND 5", 14),
        ("size # 5", 6),
        ("NOT", 4),
        ("AND", 1),
    ],
)
def test_what_is_no_selector_is_refused_with_its_position(selector: str, position: int) -> None:
    """The consumer's author is told where to look, counted from 1."""
    with pytest.raises(InvalidSelector, match=f"at position {position}:"):
        Selector(selector)


@pytest.mark.parametrize(
    "selector",
    [
        "(" * (DEPTH_MAX + 1) + "TRUE" + ")" * (DEPTH_MAX + 1),
        "NOT " * 10_000 + "TRUE",
        "- " * 10_000 + "1 = 1",
        "a = 1 OR " * (SELECTOR_CHARACTERS_MAX // 9) + "a = 1 OR a = 1",
    ],
)
def test_an_oversized_selector_is_refused(selector: str) -> None:
    """Depth and length have limits, so that nobody's selector stops the broker."""
    with pytest.raises(InvalidSelector):
        Selector(selector)


def test_a_long_flat_selector_is_taken() -> None:
    """Many alternatives are no depth."""
    alternatives = " OR ".join(f"size = {number}" for number in range(1, 1000))
    assert Selector(alternatives).matches(MESSAGE.get)


def test_a_pattern_cannot_take_for_ever() -> None:
    """Many wildcards against a long text that does not match are decided at once."""
    selector = Selector("text LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b'")
    assert not selector.matches({"text": "a" * 2_000}.get)


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("()'=<>+-*/ aANDORNT1.%_,xX", max_size=60))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    """Whatever a client sends there is no other error."""
    with contextlib.suppress(InvalidSelector):
        Selector(text).matches(MESSAGE.get)


# ---- the same as a plain evaluator

NAMES = ("a", "b", "c", "d")
WORDS = st.text("ab_%'", max_size=4)
WHOLE = st.integers(0, 6) | st.integers(0, 2**63 - 1)
DECIMAL = st.floats(0, 1e6, allow_nan=False).map(lambda number: round(number, 3)) | st.just(0.5)
NAME = st.sampled_from(NAMES).map(lambda name: ("name", name))
NUMBERS: st.SearchStrategy[Tree] = st.recursive(
    NAME | (WHOLE | DECIMAL).map(lambda number: ("literal", number)),
    lambda inner: (
        st.tuples(st.just("calculate"), st.sampled_from("+-*/"), inner, inner)
        | st.tuples(st.just("minus"), inner)
    ),
    max_leaves=4,
)
TEXTS = NAME | WORDS.map(lambda word: ("literal", word))
FLAGS = st.booleans()
TESTS: st.SearchStrategy[Tree] = (
    st.tuples(st.just("compare"), st.sampled_from(("=", "<>", "<", "<=", ">", ">=")), NUMBERS, NUMBERS)
    | st.tuples(st.just("compare"), st.sampled_from(("=", "<>")), TEXTS, TEXTS)
    | st.tuples(st.just("null"), st.sampled_from(NAMES), FLAGS)
    | st.tuples(st.just("between"), NUMBERS, NUMBERS, NUMBERS, FLAGS)
    | st.tuples(st.just("in"), st.sampled_from(NAMES), st.lists(WORDS, min_size=1, max_size=3), FLAGS)
    | st.tuples(st.just("like"), st.sampled_from(NAMES), WORDS, st.just(""), FLAGS)
    | st.tuples(
        st.just("like"),
        st.sampled_from(NAMES),
        WORDS.map(lambda word: word.replace("!", "")),
        st.just("!"),
        FLAGS,
    )
    | NAME
    | FLAGS.map(lambda value: ("literal", value))
)
CONDITIONS: st.SearchStrategy[Tree] = st.recursive(
    TESTS,
    lambda inner: (
        st.tuples(st.just("or"), inner, inner)
        | st.tuples(st.just("and"), inner, inner, inner)
        | st.tuples(st.just("not"), inner)
    ),
    max_leaves=6,
)
MESSAGES = st.dictionaries(
    st.sampled_from(NAMES),
    WORDS | st.integers(-6, 6) | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e6, 1e6) | st.booleans(),
)


@settings(deadline=None, max_examples=500)
@given(CONDITIONS, MESSAGES)
def test_a_selector_selects_what_a_plain_evaluator_selects(tree: Tree, message: dict[str, Value]) -> None:
    """Compiled selectors agree with an evaluator that shares nothing with them."""
    selector = Selector(text_of(tree))
    try:
        expected = value_of(tree, message) is True
    except (Undefined, OverflowError):
        return  # which side of an OR is looked at first is nobody's promise
    assert selector.matches(message.get) is expected


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("price > 10", True),
        ("price = 12", True),
        ("12 = price", True),
        ("price <> 12", False),
        ("price BETWEEN 11 AND 13", True),
        ("price * 2 = 24", True),
        ("-price < 0", True),
        ("half = 0.5", True),
        ("half > price", False),
        ("yes = TRUE", True),
        ("no = TRUE", False),
        ("price = '12'", True),
        ("word > 10", False),
        ("word = 10", False),
        ("missing > 10", False),
    ],
)
def test_texts_are_taken_as_numbers(selector: str, selected: bool) -> None:
    """Where the selector begins so, what a text is compared with says what it is; elsewhere it stays text."""
    message = {"price": "12", "half": ".5", "yes": "True", "no": "no", "word": "ten"}
    assert Selector(f"{CONVERTING}{selector}").matches(message.get) is selected
    if "'" not in selector:
        assert not Selector(selector).matches(message.get) or selector == "price <> 12"
