"""A patient's record as typed: every field checked, and turned into what the table holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from app.errors import InvalidInput
from fl.features import FEATURES, TARGET_NAME, FieldProblem, validate

LONGEST_NAME = 255
LARGEST_COST = Decimal("9999999999.99")  # USD, what the column holds

# Every field of the record that people fill in, with its label.
FIELD_LABELS: dict[str, str] = {
    "first_name": "First name",
    "last_name": "Last name",
    **{feature.name: feature.label for feature in FEATURES},
    TARGET_NAME: "Insurance cost",
}


@dataclass(frozen=True)
class CheckedEntry:
    """What was typed: the columns that are in order, and a problem for each field that is not."""

    columns: dict[str, Any]
    problems: list[FieldProblem]


def check_entry(
    first_name: str, last_name: str, inputs: Mapping[str, object], insurance_cost: object
) -> list[FieldProblem]:
    """Return every problem of a record as typed, none if it can be kept.

    Parameters
    ----------
    inputs
        The features by name, as typed.
    insurance_cost
        USD a year, or None or an empty text if it is not known.
    """
    return read_entry(first_name, last_name, inputs, insurance_cost).problems


def accepted_columns(
    first_name: str, last_name: str, inputs: Mapping[str, object], insurance_cost: object
) -> dict[str, Any]:
    """Return a record as typed by column; raises `InvalidInput` naming every field that is wrong."""
    entry = read_entry(first_name, last_name, inputs, insurance_cost)
    if entry.problems:
        raise InvalidInput(entry.problems)
    return entry.columns


def read_entry(
    first_name: str, last_name: str, inputs: Mapping[str, object], insurance_cost: object
) -> CheckedEntry:
    """Check a record as typed, all fields at once."""
    values, problems = validate(inputs)
    columns: dict[str, Any] = {}
    for field, raw in (("first_name", first_name), ("last_name", last_name)):
        try:
            columns[field] = parse_name(FIELD_LABELS[field], raw)
        except ValueError as error:
            problems.append(FieldProblem(field, str(error)))
    try:
        columns[TARGET_NAME] = parse_cost(insurance_cost)
    except ValueError as error:
        problems.append(FieldProblem(TARGET_NAME, str(error)))
    return CheckedEntry(columns if problems else {**columns, **column_values(values)}, problems)


def parse_name(label: str, raw: str) -> str:
    """Return a person's name without surrounding spaces; raises `ValueError` with a sentence."""
    name = " ".join(raw.split())
    if not name:
        raise ValueError(f"{label} is missing.")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"{label} has {len(name)} characters; at most {LONGEST_NAME} are kept.")
    if not is_storable(name):
        raise ValueError(f"{label} contains a character that cannot be stored.")
    return name


def parse_cost(raw: object) -> Decimal | None:
    """Return a yearly cost in USD, whole cents, None if empty; raises `ValueError` with a sentence."""
    text = "" if raw is None else str(raw).strip()
    if not text:
        return None
    problem = f"Insurance cost is {text[:40]!r}; expected an amount in USD from 0 to {LARGEST_COST:,}."
    try:
        cost = Decimal(text)
    except InvalidOperation:
        raise ValueError(problem) from None
    if not cost.is_finite() or not 0 <= cost <= LARGEST_COST:
        raise ValueError(problem)
    return cost.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def column_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return valid feature values as the patient table holds them: BMI with three decimals."""
    return {**values, "bmi": Decimal(str(values["bmi"])).quantize(Decimal("0.001"), rounding=ROUND_HALF_UP)}


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL can hold `text`: no NUL, no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
