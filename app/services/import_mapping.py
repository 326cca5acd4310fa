"""Which column of a file is which field: a guess from the headings, which a person can change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fl.features import FEATURES, TARGET_NAME

FIRST_NAME, LAST_NAME, FULL_NAME = "first_name", "last_name", "full_name"


@dataclass(frozen=True)
class ImportField:
    """One thing that a column can hold.

    Attributes
    ----------
    name, label, expectation
        Column of the patient table (but `full_name`, which becomes two), what a clinician calls it, and what
        is accepted.
    required
        Whether a file without it is refused.
    headings
        What files call it, lower case.
    """

    name: str
    label: str
    expectation: str
    required: bool
    headings: tuple[str, ...]


FIELDS: tuple[ImportField, ...] = (
    ImportField(
        LAST_NAME,
        "Last name",
        "belongs to a first name",
        False,
        ("last name", "surname", "family name", "family"),
    ),
    ImportField(
        FIRST_NAME,
        "First name",
        "belongs to a last name",
        False,
        ("first name", "given name", "forename", "given", "christian name"),
    ),
    ImportField(
        FULL_NAME,
        "Whole name in one column",
        "“Last, First” or “First Last”",
        False,
        ("name", "full name", "patient name"),
    ),
    *(
        ImportField(
            feature.name,
            feature.label,
            feature.expectation,
            True,
            (feature.name, feature.label.lower(), *feature.headings),
        )
        for feature in FEATURES
    ),
    ImportField(
        TARGET_NAME,
        "Insurance cost",
        "USD a year; may be empty",
        False,
        (
            TARGET_NAME,
            "charges",
            "charge",
            "cost",
            "costs",
            "expenses",
            "insurance costs",
            "insurance charges",
            "insurance expenses",
            "medical cost",
            "medical costs",
            "medical charges",
            "medical expenses",
            "healthcare cost",
            "healthcare costs",
        ),
    ),
)
FIELD_BY_NAME: Mapping[str, ImportField] = {field.name: field for field in FIELDS}

# Words that say how much, of whom or in which unit, but not what.
_FILLERS = frozenset(
    {"a", "an", "the", "of", "in", "is", "by", "per", "patient", "patients", "s"}
    | {"no", "nr", "num", "number", "count", "code", "value", "total", "annual", "yearly"}
    | {"year", "years", "yr", "yrs", "kg", "m2", "us", "usd", "dollar", "dollars"}
    | {"y", "n", "yes", "m", "f", "male", "female"}
)
_REPEATED = re.compile(r" #\d+$")
_BRACKETS = re.compile(r"\([^)]*\)|\[[^\]]*\]|\{[^}]*\}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORDS = re.compile(r"[^a-z0-9]+")


def guess_mapping(header: Sequence[str]) -> dict[str, str | None]:
    """Guess for every field which heading is its column; None where none or more than one might be.

    Case, spaces, underscores, units in brackets and words such as "number of" do not matter. A column of whole
    names counts only if first and last names have no columns of their own; a plain `Name` beside one of them is
    the other.

    Returns
    -------
    dict
        Field name -> heading, for every field of `FIELDS` in their order.
    """
    mapping = {field: found[0] if len(found) == 1 else None for field, found in _candidates(header).items()}
    first, last, whole = mapping[FIRST_NAME], mapping[LAST_NAME], mapping[FULL_NAME]
    if first and last:
        mapping[FULL_NAME] = None
    elif whole and (first or last):
        mapping[LAST_NAME if first else FIRST_NAME] = whole
        mapping[FULL_NAME] = None
    return mapping


def unclear_columns(header: Sequence[str]) -> dict[str, list[str]]:
    """Return the fields that more than one heading fits equally well, with those headings."""
    return {field: found for field, found in _candidates(header).items() if len(found) > 1}


def split_name(raw: str) -> tuple[str, str]:
    """Tell first and last name apart in one text; raises `ValueError` with a sentence.

    Before a comma stands the last name. Without a comma the last word is the last name, with the lower-case words
    before it: "Anna van der Berg" is van der Berg, Anna.
    """
    before, comma, after = raw.partition(",")
    if comma:
        if before.strip() and after.strip():
            return after.strip(), before.strip()
        raise ValueError(
            f"One name is missing beside the comma; expected {FIELD_BY_NAME[FULL_NAME].expectation}."
        )
    words = raw.split()
    if not words:
        raise ValueError("The name is missing.")
    begin = len(words) - 1
    while begin > 1 and words[begin - 1].islower():
        begin -= 1
    if begin < 1:
        raise ValueError(f"The name has only one word; expected {FIELD_BY_NAME[FULL_NAME].expectation}.")
    return " ".join(words[:begin]), " ".join(words[begin:])


def _candidates(header: Sequence[str]) -> dict[str, list[str]]:
    """Return for each field the headings that fit it best: to the letter, without units, or without fillers."""
    ranked: dict[str, dict[int, list[str]]] = {field.name: {} for field in FIELDS}
    for heading in header:
        plain = _REPEATED.sub("", heading)
        forms = (_words(plain), _words(_BRACKETS.sub(" ", plain)))
        for rank, words in enumerate((*forms, _without_fillers(forms[0]), _without_fillers(forms[1]))):
            field = _FIELD_OF.get("".join(words))
            if field:
                ranked[field].setdefault(rank, []).append(heading)
                break
    return {field: ranks[min(ranks)] if ranks else [] for field, ranks in ranked.items()}


def _words(heading: str) -> tuple[str, ...]:
    return tuple(_NOT_WORDS.sub(" ", _CAMEL.sub(" ", heading).lower()).split())


def _without_fillers(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _FILLERS)


_FIELD_OF: Mapping[str, str] = {
    "".join(_words(_BRACKETS.sub(" ", heading))): field.name for field in FIELDS for heading in field.headings
}
