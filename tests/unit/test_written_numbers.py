"""Numbers as files write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.written_numbers import marks_in, written_plainly


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("27", "27"),
        ("27.5", "27.5"),
        ("27,5", "27.5"),
        ("-27,5", "-27.5"),
        ("0,275", "0.275"),
        ("13,270.50", "13270.50"),
        ("13.270,50", "13270.50"),
        ("1,234,567", "1234567"),
        ("1.234.567", "1234567"),
        ("$13,270.50", "13270.50"),
        ("US$ 13,270.50", "13270.50"),
        ("USD 13270", "13270"),
        ("13270 usd", "13270"),
        ("13 270,50", "13270.50"),
        ("13\u00a0270", "13270"),
        ("13'270.50", "13270.50"),
        ("16884.924", "16884.924"),
        ("1.234", "1.234"),
        ("1e3", "1e3"),
        ("€ 100", "€ 100"),
        ("12 34", "12 34"),
        ("1,23,456", "1,23,456"),
        ("perhaps", "perhaps"),
        ("", ""),
    ],
)
def test_a_number_with_one_meaning_is_read_whatever_the_file_does(text: str, number: str) -> None:
    assert written_plainly(text, decimal_comma=False, decimal_point=False) == number
    if text != "1.234":
        assert written_plainly(text, decimal_comma=True, decimal_point=False) == number
        assert written_plainly(text, decimal_comma=False, decimal_point=True) == number


@pytest.mark.parametrize(
    ("text", "comma", "point", "number"),
    [
        ("13,270", True, False, "13.270"),
        ("13,270", False, True, "13270"),
        ("13.270", True, False, "13270"),
        ("13.270", False, True, "13.270"),
        ("$13,270", False, True, "13270"),
    ],
)
def test_three_digits_behind_a_mark_are_read_as_the_file_writes_numbers(
    text: str, comma: bool, point: bool, number: str
) -> None:
    assert written_plainly(text, decimal_comma=comma, decimal_point=point) == number


def test_a_number_with_two_meanings_is_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"'13,270' may mean 13270 or 13\.270"):
        written_plainly("13,270", decimal_comma=False, decimal_point=False)


@given(st.integers(0, 10**9), st.integers(0, 99), st.booleans())
def test_what_is_written_with_either_mark_is_read_as_the_same_number(
    whole: int, cents: int, comma: bool
) -> None:
    written = f"{whole:,}.{cents:02d}"
    if comma:
        written = written.translate(str.maketrans(",.", ".,"))
    assert marks_in([written]) == (comma, not comma)
    read = written_plainly(written, decimal_comma=comma, decimal_point=not comma)
    assert float(read) == pytest.approx(whole + cents / 100)


@given(st.text(max_size=20), st.booleans(), st.booleans())
def test_any_text_is_read_or_refused(text: str, comma: bool, point: bool) -> None:
    marks_in([text])
    try:
        written_plainly(text, decimal_comma=comma, decimal_point=point)
    except ValueError as error:
        assert "may mean" in str(error)
