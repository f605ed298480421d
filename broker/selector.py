"""Message selectors: the conditional expressions of SQL-92 as JMS defines them, compiled once per consumer.

::

    selector    or
    or          and { OR and }
    and         not { AND not }
    not         NOT not | comparison
    comparison  sum [ ( = | <> | < | <= | > | >= ) sum | IS [NOT] NULL | [NOT] test ]
    test        BETWEEN sum AND sum | IN '(' string { , string } ')' | LIKE string [ESCAPE string]
    sum         term { ( + | - ) term }
    term        sign { ( * | / ) sign }
    sign        [ + | - ] primary
    primary     string | number | TRUE | FALSE | identifier | '(' or ')'

What a message lacks is unknown (NULL), and so is whatever depends on it: `NOT (a = 1)` selects no message
without `a`. Values of different kinds are never equal, less or greater, and not unequal either.
Integers are exact, 64 bits wide, and divide without a remainder, as Java's do.

A selector that begins with `convert_string_expressions:` takes a message's texts as numbers and truth values
where it compares or calculates with these: clients of other protocols have headers of text alone.

Source: JMS 1.1 and 2.0, §3.8.1; ActiveMQ's `SelectorParser`, for the prefix.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from broker.errors import InvalidSelector

SELECTOR_CHARACTERS_MAX: Final = 32_768
"""Longer ones are refused: each message is held against it."""
CONVERTING: Final = "convert_string_expressions:"
"""Begins selectors that take texts as what they are compared with."""
DEPTH_MAX: Final = 64
"""Nested parentheses and operators without end would overflow the stack."""

Values = Callable[[str], object]
"""Gives a message's header or property by its name, None if there is none."""
Evaluate = Callable[[Values], object]
Compare = Callable[[Any, Any], object]

_LONG_MAX: Final = 2**63 - 1
_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
    |(?P<float>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?|\d+[eE][+-]?\d+[fFdD]?)
    |(?P<integer>0[xX][0-9a-fA-F]+|\d+)[lL]?
    |(?P<name>[^\W\d][\w$]*|\$[\w$]*)
    |(?P<string>'(?:[^']|'')*')
    |(?P<operator><>|<=|>=|[=<>+\-*/(),])
    """,
    re.VERBOSE,
)
_KEYWORDS: Final = frozenset(
    ("AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "ESCAPE", "IS", "NULL", "TRUE", "FALSE")
)
_COMPARISONS: Final[dict[str, Compare]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDER: Final = frozenset(("<", "<=", ">", ">="))

_NUMBER_TEXT: Final = re.compile(
    r"[+-]?(\d{1,19}|\d{1,300}\.\d{0,300}|\.\d{1,300})([eE][+-]?\d{1,3})?", re.ASCII
)
_FLOAT_SIGNS: Final = re.compile("[.eE]")

_STRING, _BOOLEAN, _NUMBER, _ANY = "a text", "a condition", "a number", "a value"
_KINDS: Final[dict[type, str]] = {str: _STRING, bool: _BOOLEAN, int: _NUMBER, float: _NUMBER}


class Selector:
    """A compiled selector.

    Attributes:
        text: as it was given.
        names: the headers and properties it looks at.

    Raises:
        InvalidSelector: it is none; says where.
    """

    __slots__ = ("_evaluate", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parser = _Parser(text)
        self._evaluate = parser.parse()
        self.names = frozenset(parser.names)

    def matches(self, values: Values) -> bool:
        """Whether a message is selected."""
        try:
            return self._evaluate(values) is True
        except ZeroDivisionError:
            return False

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Part(NamedTuple):
    """A part of an expression.

    Attributes:
        kind: of its value, `_ANY` if only the message says it.
        evaluate: gives its value.
        position: where it begins.
        constant: its value, if it is a literal.
        name: if it is an identifier alone.
    """

    kind: str
    evaluate: Evaluate
    position: int
    constant: object = None
    name: str = ""


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            problem = "a text that does not end" if text[position] == "'" else f"{text[position]!r}"
            raise InvalidSelector(_complaint(text, position, f"{problem} is not understood"))
        kind = found.lastgroup or ""
        word = found.group(kind)
        if kind == "name" and word.upper() in _KEYWORDS:
            yield _Token("keyword", word.upper(), position)
        elif kind != "space":
            yield _Token(kind, word, position)
        position = found.end()
    yield _Token("end", "", len(text))


def _complaint(text: str, position: int, problem: str) -> str:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return f"The selector is invalid at position {position + 1}: {problem}. It is: {shown}"


class _Parser:
    """Recursive descent; each method reads one rule of the grammar and gives its closure."""

    def __init__(self, text: str) -> None:
        if len(text) > SELECTOR_CHARACTERS_MAX:
            raise InvalidSelector(
                f"The selector has {len(text)} characters; at most {SELECTOR_CHARACTERS_MAX} are allowed."
            )
        self._converts = text.startswith(CONVERTING)
        self._text = text = text.removeprefix(CONVERTING)
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0
        self.names: set[str] = set()

    def parse(self) -> Evaluate:
        """The whole selector."""
        whole = self._or()
        token = self._token
        if token.kind != "end":
            raise self._wrong(token.position, f"{token.text!r} is not expected here")
        self._want(whole, _BOOLEAN)
        return whole.evaluate

    # ---- tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _accept(self, *texts: str) -> _Token | None:
        """The next token, if it is one of these keywords or operators."""
        token = self._token
        if token.kind in ("keyword", "operator") and token.text in texts:
            self._at += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._wrong(self._token.position, f"{text} is expected")

    def _string(self) -> str:
        token = self._token
        if token.kind != "string":
            raise self._wrong(token.position, "a text in quotes is expected")
        self._at += 1
        return _unquoted(token.text)

    def _wrong(self, position: int, problem: str) -> InvalidSelector:
        return InvalidSelector(_complaint(self._text, position, problem))

    def _want(self, part: _Part, kind: str) -> None:
        if part.kind not in (kind, _ANY):
            raise self._wrong(part.position, f"{kind} is expected, not {part.kind}")

    def _deeper(self, position: int) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong(position, f"it is nested more than {DEPTH_MAX} deep")

    # ---- conditions

    def _or(self) -> _Part:
        parts = [self._and()]
        while self._accept("OR"):
            parts.append(self._and())
        return self._joined(parts, _or)

    def _and(self) -> _Part:
        parts = [self._not()]
        while self._accept("AND"):
            parts.append(self._not())
        return self._joined(parts, _and)

    def _joined(self, parts: list[_Part], join: Callable[[list[Evaluate]], Evaluate]) -> _Part:
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            self._want(part, _BOOLEAN)
        return _Part(_BOOLEAN, join([part.evaluate for part in parts]), parts[0].position)

    def _not(self) -> _Part:
        token = self._accept("NOT")
        if token is None:
            return self._comparison()
        self._deeper(token.position)
        part = self._not()
        self._depth -= 1
        self._want(part, _BOOLEAN)
        return _Part(_BOOLEAN, _not(part.evaluate), token.position)

    def _comparison(self) -> _Part:
        left = self._sum()
        compared = self._accept(*_COMPARISONS)
        if compared is not None:
            return self._compared(left, compared, self._sum())
        if self._accept("IS"):
            negated = self._accept("NOT") is not None
            self._expect("NULL")
            if not left.name:
                raise self._wrong(left.position, "only a header or property can be NULL")
            return _Part(_BOOLEAN, _is_null(left.name, negated), left.position)
        negated = self._accept("NOT") is not None
        if self._accept("BETWEEN"):
            evaluate = self._between(left)
        elif self._accept("IN"):
            evaluate = self._in(left)
        elif self._accept("LIKE"):
            evaluate = self._like(left)
        elif negated:
            raise self._wrong(self._token.position, "BETWEEN, IN or LIKE is expected behind NOT")
        else:
            return left
        return _Part(_BOOLEAN, _not(evaluate) if negated else evaluate, left.position)

    def _compared(self, left: _Part, token: _Token, right: _Part) -> _Part:
        if _ANY not in (left.kind, right.kind) and left.kind != right.kind:
            raise self._wrong(token.position, f"{left.kind} is compared with {right.kind}")
        if token.text in _ORDER:
            for part in (left, right):
                if part.kind in (_STRING, _BOOLEAN):
                    raise self._wrong(part.position, f"{part.kind} is neither less nor greater")
        compare = _compare_ordered if token.text in _ORDER else _compare_equal
        left, right = (
            self._converted(each, _NUMBER if token.text in _ORDER else other.kind)
            for each, other in ((left, right), (right, left))
        )
        return _Part(
            _BOOLEAN, compare(_COMPARISONS[token.text], left.evaluate, right.evaluate), left.position
        )

    def _converted(self, part: _Part, kind: str) -> _Part:
        """A part whose value, if it is text, is taken as what it is compared with."""
        convert = _CONVERSIONS.get(kind) if self._converts and part.kind is _ANY else None
        return part if convert is None else part._replace(evaluate=convert(part.evaluate))

    def _between(self, value: _Part) -> Evaluate:
        low = self._sum()
        self._expect("AND")
        high = self._sum()
        for part in (value, low, high):
            self._want(part, _NUMBER)
        value, low, high = (self._converted(part, _NUMBER) for part in (value, low, high))
        return _and(
            [
                _compare_ordered(operator.ge, value.evaluate, low.evaluate),
                _compare_ordered(operator.le, value.evaluate, high.evaluate),
            ]
        )

    def _in(self, value: _Part) -> Evaluate:
        if not value.name:
            raise self._wrong(value.position, "a header or property is expected before IN")
        self._expect("(")
        texts = {self._string()}
        while self._accept(","):
            texts.add(self._string())
        self._expect(")")
        return _one_of(value.name, frozenset(texts))

    def _like(self, value: _Part) -> Evaluate:
        if not value.name:
            raise self._wrong(value.position, "a header or property is expected before LIKE")
        position = self._token.position
        pattern = self._string()
        escape = ""
        if self._accept("ESCAPE"):
            at = self._token.position
            escape = self._string()
            if len(escape) != 1:
                raise self._wrong(at, "one character is expected behind ESCAPE")
        expression = _pattern(pattern, escape)
        if expression is None:
            raise self._wrong(position, "the pattern ends with its escape character")
        return _like(value.name, expression)

    # ---- values

    def _sum(self) -> _Part:
        left = self._term()
        while token := self._accept("+", "-"):
            left = self._calculated(left, token, self._term())
        return left

    def _term(self) -> _Part:
        left = self._sign()
        while token := self._accept("*", "/"):
            left = self._calculated(left, token, self._sign())
        return left

    def _calculated(self, left: _Part, token: _Token, right: _Part) -> _Part:
        self._want(left, _NUMBER)
        self._want(right, _NUMBER)
        left, right = self._converted(left, _NUMBER), self._converted(right, _NUMBER)
        return _Part(
            _NUMBER, _calculate(_ARITHMETIC[token.text], left.evaluate, right.evaluate), left.position
        )

    def _sign(self) -> _Part:
        token = self._accept("+", "-")
        if token is None:
            return self._primary()
        number = self._token
        if token.text == "-" and number.kind == "integer":
            self._at += 1
            return self._literal(_NUMBER, self._integer(number, -1), token.position)
        self._deeper(token.position)
        part = self._sign()
        self._depth -= 1
        self._want(part, _NUMBER)
        part = self._converted(part, _NUMBER)
        evaluate = _calculate(operator.mul, part.evaluate, lambda _: -1)
        return part if token.text == "+" else _Part(_NUMBER, evaluate, token.position)

    def _primary(self) -> _Part:
        token = self._token
        self._at += 1
        match token.kind, token.text:
            case "string", text:
                return self._literal(_STRING, _unquoted(text), token.position)
            case "integer", _:
                return self._literal(_NUMBER, self._integer(token), token.position)
            case "float", text:
                return self._literal(_NUMBER, float(text.rstrip("fFdD")), token.position)
            case "keyword", ("TRUE" | "FALSE") as text:
                return self._literal(_BOOLEAN, text == "TRUE", token.position)
            case "name", name:
                self.names.add(name)
                return _Part(_ANY, lambda values: values(name), token.position, name=name)
            case "operator", "(":
                self._deeper(token.position)
                part = self._or()
                self._expect(")")
                self._depth -= 1
                return part._replace(name="")
        self._at -= 1
        what = "the end" if token.kind == "end" else repr(token.text)
        raise self._wrong(token.position, f"a value is expected, not {what}")

    @staticmethod
    def _literal(kind: str, value: object, position: int) -> _Part:
        return _Part(kind, lambda _: value, position, value)

    def _integer(self, token: _Token, sign: int = 1) -> int:
        text = token.text
        try:
            if text[:2] in ("0x", "0X"):
                value = sign * int(text, 16)
            elif len(text) > 1 and text[0] == "0":
                value = sign * int(text, 8)
            else:
                value = sign * int(text)
        except ValueError:
            raise self._wrong(token.position, f"{text} is no octal number") from None
        if not -_LONG_MAX - 1 <= value <= _LONG_MAX:
            raise self._wrong(token.position, f"{text} does not fit 64 bits")
        return value


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")


def _pattern(pattern: str, escape: str) -> re.Pattern[str] | None:
    """The regular expression of a LIKE pattern; None if nothing follows its last escape character.

    What stands between two `%` is taken where it comes first, and no other place is ever tried (an atomic
    group): with plain `.*` a pattern of a client could keep the broker busy for years.
    """
    segments = [""]
    characters = iter(pattern)
    for character in characters:
        if escape and character == escape:
            literal = next(characters, None)
            if literal is None:
                return None
            segments[-1] += re.escape(literal)
        elif character == "%":
            segments.append("")
        else:
            segments[-1] += "." if character == "_" else re.escape(character)
    first, *between = segments
    last = f".*{between.pop()}" if between else ""
    middle = "".join(f"(?>.*?{segment})" for segment in between if segment)
    return re.compile(first + middle + last, re.DOTALL)


# ---- what is compiled: closures over the values of one message; None is unknown


def _joined(parts: list[Evaluate], decisive: bool) -> Evaluate:
    """OR (`decisive` is True) and AND (False): one decisive part decides; else all have to be known."""
    otherwise = not decisive

    def evaluate(values: Values) -> object:
        result: object = otherwise
        for part in parts:
            value = part(values)
            if value is decisive:
                return decisive
            if value is not otherwise:
                result = None
        return result

    return evaluate


def _or(parts: list[Evaluate]) -> Evaluate:
    return _joined(parts, True)


def _and(parts: list[Evaluate]) -> Evaluate:
    return _joined(parts, False)


def _not(part: Evaluate) -> Evaluate:
    def evaluate(values: Values) -> object:
        value = part(values)
        return None if value.__class__ is not bool else not value

    return evaluate


def _kind(value: object) -> str:
    """What kind a message's value is of; numbers of any width are of one kind."""
    kind = _KINDS.get(value.__class__)
    if kind is None:
        kind = next((each for base, each in _KINDS.items() if isinstance(value, base)), _ANY)
    return kind


def _compare_equal(compare: Compare, left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(values: Values) -> object:
        first, second = left(values), right(values)
        if first is None or second is None:
            return None
        if first.__class__ is not second.__class__ and _kind(first) is not _kind(second):
            return False
        return compare(first, second)

    return evaluate


def _compare_ordered(compare: Compare, left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(values: Values) -> object:
        first, second = left(values), right(values)
        if first is None or second is None:
            return None
        if _kind(first) is not _NUMBER or _kind(second) is not _NUMBER:
            return False
        return compare(first, second)

    return evaluate


def _is_null(name: str, negated: bool) -> Evaluate:
    if negated:
        return lambda values: values(name) is not None
    return lambda values: values(name) is None


def _one_of(name: str, texts: frozenset[str]) -> Evaluate:
    def evaluate(values: Values) -> object:
        value = values(name)
        return None if value is None else value in texts if isinstance(value, str) else False

    return evaluate


def _like(name: str, pattern: re.Pattern[str]) -> Evaluate:
    def evaluate(values: Values) -> object:
        value = values(name)
        if value is None:
            return None
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    return evaluate


def _as_number(evaluate: Evaluate) -> Evaluate:
    def number(values: Values) -> object:
        value = evaluate(values)
        if isinstance(value, str) and _NUMBER_TEXT.fullmatch(value):
            return float(value) if _FLOAT_SIGNS.search(value) else int(value)
        return value

    return number


def _as_condition(evaluate: Evaluate) -> Evaluate:
    def condition(values: Values) -> object:
        value = evaluate(values)
        return value.lower() == "true" if isinstance(value, str) else value

    return condition


_CONVERSIONS: Final = {_NUMBER: _as_number, _BOOLEAN: _as_condition}


Calculate = Callable[[int | float, int | float], int | float]


def _divide(first: int | float, second: int | float) -> int | float:
    """As Java does: integers lose the rest; a float by zero is infinite, or no number."""
    if isinstance(first, int) and isinstance(second, int):
        quotient = abs(first) // abs(second)
        return quotient if (first < 0) == (second < 0) else -quotient
    if second == 0:
        if first == 0 or math.isnan(first):
            return math.nan
        return math.copysign(math.inf, first) * math.copysign(1, second)
    return first / second


_ARITHMETIC: Final[dict[str, Calculate]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
}


def _calculate(calculate: Calculate, left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(values: Values) -> object:
        first, second = left(values), right(values)
        if _kind(first) is not _NUMBER or _kind(second) is not _NUMBER:
            return None
        assert isinstance(first, int | float)
        assert isinstance(second, int | float)
        result = calculate(first, second)
        if isinstance(result, int) and not -_LONG_MAX - 1 <= result <= _LONG_MAX:
            result = (result + _LONG_MAX + 1) % 2**64 - _LONG_MAX - 1
        return result

    return evaluate
