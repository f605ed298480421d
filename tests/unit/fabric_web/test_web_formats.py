"""How pages write numbers, sizes, times and bodies."""

import pytest

from fabric.web import formats
from fabric.web.charts import HEIGHT, WIDTH, chart


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (200 * 1024, "200 KiB"), (1 << 50, "1,024 TiB")],
)
def test_sizes(value: int, text: str) -> None:
    """Two or three digits say enough."""
    assert formats.size_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_000, "1 d 1 h")],
)
def test_spans(seconds: float, text: str) -> None:
    """The two largest units."""
    assert formats.span(seconds) == text


def test_rates_and_moments() -> None:
    """What is not known is a dash; a time that no calendar has is told as it is."""
    rates = [formats.rate(value) for value in (None, 0.0, 0.25, 12_345.6)]
    assert rates == ["\N{EN DASH}", "0", "0.2", "12,346"]
    assert formats.moment(0) == "\N{EN DASH}"
    assert formats.moment(1_700_000_000_000) == "2023-11-14 22:13:20 UTC"
    assert formats.moment(1e30).endswith(" ms")


def test_bodies() -> None:
    """JSON is indented, what only looks like it stays, however deep it is; bytes are dumped."""
    assert formats.pretty('{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'
    assert formats.pretty("{no") == "{no"
    assert formats.pretty("[" * 100_000) == "[" * 100_000
    assert formats.pretty("17") == "17"
    assert formats.hex_dump("00ff3c41") == f"00000000  {'00 ff 3c 41':<47}  ..<A"
    assert [formats.is_hexadecimal(text) for text in ("00ff", "", "0", "xy")] == [True, False, False, False]


def test_a_chart_stays_in_its_frame() -> None:
    """The first point at the left, the last at the right, the highest at the top; one point is no line."""
    drawn = chart([0.0, 50.0, 100.0], [0.0, 10.0, 5.0])
    assert drawn.line == f"M0.0 {HEIGHT - 1:.1f}L150.0 1.0L{WIDTH:.1f} {(HEIGHT / 2):.1f}"
    assert (drawn.maximum, drawn.seconds, drawn.last) == (10.0, 100.0, 5.0)
    assert chart([1.0], [2.0]).line == ""
    assert "nan" not in chart([0.0, 1.0], [0.0, 0.0]).line
