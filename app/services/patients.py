"""The patients of the actor's own institution: listing, searching, reading and adding."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, select, tuple_
from sqlalchemy.orm import Session, aliased

from app.actor import Actor
from app.errors import InvalidInput, NotFound
from app.permissions import Permission
from app.services.access import record_access
from app.services.paging import Page, check_limit, page_of, unknown_cursor, uuid_cursor
from db.site import PATIENT_NAME_SQL, Patient
from fl.features import FieldProblem, validate

LONGEST_NAME = 255
LONGEST_SEARCH = 100
LARGEST_COST = Decimal("9999999999.99")  # USD, what the column holds
_TRIGRAM = 3  # characters; a shorter word cannot use the trigram index


def list_patients(
    *,
    site: Session,
    actor: Actor,
    search: str | None = None,
    cursor: str | None = None,
    limit: int = 25,
) -> Page[Patient]:
    """List patients by last name, first name and id.

    Parameters
    ----------
    search
        Words that must all occur in the name, in any order and in any case.
    cursor
        `next_cursor` of the page before.
    limit
        Rows on the page, 1 to 100.

    Raises
    ------
    InvalidInput
        If the search, the cursor or the limit is not accepted.
    """
    actor.require(Permission.PATIENTS_READ)
    words = search_words(search)
    query, found = _query(words)
    if cursor is not None:
        last = site.get(Patient, uuid_cursor(cursor))
        if last is None:
            raise unknown_cursor()
        keyset = tuple_(found.last_name, found.first_name, found.id)
        query = query.where(keyset > (last.last_name, last.first_name, last.id))
    query = query.order_by(found.last_name, found.first_name, found.id).limit(check_limit(limit) + 1)
    page = page_of(site.scalars(query).all(), limit, lambda patient: patient.id)
    record_access(
        site,
        actor,
        "patients_searched" if words else "patients_listed",
        details={"patient_ids": [str(patient.id) for patient in page.items]},
    )
    return page


def count_patients(*, site: Session, actor: Actor, search: str | None = None) -> int:
    """Count the patients that `list_patients` would go through."""
    actor.require(Permission.PATIENTS_READ)
    conditions = [_name_contains(word) for word in search_words(search)]
    return site.scalar(select(func.count()).select_from(Patient).where(*conditions)) or 0


def get_patient(*, site: Session, actor: Actor, patient_id: uuid.UUID) -> Patient:
    """Read one patient.

    Raises
    ------
    NotFound
        If this institution has no such patient; another institution's are not distinguished from none.
    """
    actor.require(Permission.PATIENTS_READ)
    patient = site.get(Patient, patient_id)
    if patient is None:
        raise NotFound("There is no such patient in your hospital.")
    record_access(site, actor, "patient_read", patient_id=patient.id)
    return patient


def add_patient(
    *,
    site: Session,
    actor: Actor,
    first_name: str,
    last_name: str,
    inputs: Mapping[str, object],
    insurance_cost: object = None,
) -> Patient:
    """Add one patient.

    Parameters
    ----------
    inputs
        The six features, as typed.
    insurance_cost
        USD a year, or None if it is not known yet.

    Raises
    ------
    InvalidInput
        Naming every field that is missing or not accepted.
    """
    actor.require(Permission.PATIENTS_WRITE)
    values, problems = validate(inputs)
    names: dict[str, str] = {}
    for field, label, raw in (
        ("first_name", "First name", first_name),
        ("last_name", "Last name", last_name),
    ):
        try:
            names[field] = parse_name(label, raw)
        except ValueError as error:
            problems.append(FieldProblem(field, str(error)))
    cost: Decimal | None = None
    try:
        cost = parse_cost(insurance_cost)
    except ValueError as error:
        problems.append(FieldProblem("insurance_cost", str(error)))
    if problems:
        raise InvalidInput(problems)
    patient = Patient(**names, **column_values(values), insurance_cost=cost, created_by=actor.worker_id)
    site.add(patient)
    site.flush()
    record_access(site, actor, "patient_added", patient_id=patient.id)
    return patient


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


def search_words(search: str | None) -> list[str]:
    """Split a search into the words that a name must contain; raises `InvalidInput` if it is too long."""
    if search is None:
        return []
    if len(search) > LONGEST_SEARCH:
        message = f"A search has at most {LONGEST_SEARCH} characters."
        raise InvalidInput([FieldProblem("search", message)])
    if not is_storable(search):
        raise InvalidInput([FieldProblem("search", "The search contains a character that no name has.")])
    # "Miller, Jane" is how lists print a name.
    return [word.rstrip(",") or word for word in search.split()]


def _name_contains(word: str) -> ColumnElement[bool]:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    name: ColumnElement[str] = literal_column(PATIENT_NAME_SQL)
    return name.like(func.lower(f"%{escaped}%"), escape="\\")


def _query(words: list[str]) -> tuple[Select[Patient], type[Patient]]:
    """Return a query for the patients whose names contain all `words`, and what to order it by."""
    conditions = [_name_contains(word) for word in words]
    if max(map(len, words), default=0) < _TRIGRAM:
        return select(Patient).where(*conditions), Patient
    # Left alone the planner walks the index of names and filters row by row; finding the matches first and
    # ordering only them is up to thirty times faster on a million patients.
    matches = select(Patient).where(*conditions).cte("matches").prefix_with("MATERIALIZED")
    found = aliased(Patient, matches)
    return select(found), found
