"""How the text in a cell of a file is read as a feature or as a cost."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from app.services.patient_entry import FIELD_LABELS, parse_cost
from app.services.written_numbers import written_plainly
from fl.features import TARGET_NAME, Feature, FeatureValue, parse_value

Value = TypeVar("Value")

# How files say that a cost is not known.
UNKNOWN = frozenset({"", "-", "–", "?", "na", "n/a", "#n/a", "nan", "null", "none", "unknown", "not known"})
_WHOLE = re.compile(r"(\d+)[.,]0+")
_JOINTS = re.compile(r"[\s_.\-–]+")


def feature_reader(
    feature: Feature, *, decimal_comma: bool, decimal_point: bool
) -> Callable[[str], FeatureValue]:
    """Return a function from a cell's text to a valid value; it raises `ValueError` with a sentence.

    Parameters
    ----------
    decimal_comma, decimal_point
        How the file writes numbers, as in `Table`.
    """

    def read_category(text: str) -> FeatureValue:
        try:
            return parse_value(feature, text)
        except ValueError:
            # "North-East", "non smoker", and 1.0 from a column that a program took for numbers.
            plain = _JOINTS.sub("", _WHOLE.sub(r"\1", text))
            if plain == text:
                raise
        try:
            return parse_value(feature, plain)
        except ValueError:
            return parse_value(feature, text)

    def read_number(text: str) -> FeatureValue:
        try:
            number = written_plainly(text, decimal_comma=decimal_comma, decimal_point=decimal_point)
        except ValueError as error:
            raise ValueError(f"{feature.label}: {error}") from None
        return parse_value(feature, number)

    return _remembering(read_category if feature.kind == "category" else read_number)


def cost_reader(*, decimal_comma: bool, decimal_point: bool) -> Callable[[str], Decimal | None]:
    """Return a function from a cell's text to USD a year, None if not known; it raises `ValueError` with a sentence."""

    def read(text: str) -> Decimal | None:
        if text.lower() in UNKNOWN:
            return None
        try:
            number = written_plainly(text, decimal_comma=decimal_comma, decimal_point=decimal_point)
        except ValueError as error:
            raise ValueError(f"{FIELD_LABELS[TARGET_NAME]}: {error}") from None
        return parse_cost(number)

    return read


def _remembering(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """Read every text once: a column of 100,000 rows has few different ones."""
    known: dict[str, Value] = {}

    def remembered(text: str) -> Value:
        value = known.get(text)
        if value is None:
            value = known[text] = read(text)
        return value

    return remembered
