"""Which patients a list holds and in which order: filter, search, sort, and the SQL that they make."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column

from app.errors import InvalidInput
from app.services.patient_entry import is_storable
from db.site import COST_UNKNOWN_FIRST_SQL, COST_UNKNOWN_LAST_SQL, PATIENT_NAME_SQL, Patient
from fl.features import FEATURES, TARGET_NAME, Feature, FieldProblem

LONGEST_SEARCH = 100


class PatientSort(StrEnum):
    """What a list of patients is ordered by; patients alike in it follow the order of their ids."""

    NAME = "name"
    AGE = "age"
    COST = "cost"
    CHANGED = "changed"


@dataclass(frozen=True)
class PatientFilter:
    """Which patients to list; everything given must hold, an empty filter is every patient.

    Attributes
    ----------
    search
        Words that must all occur in the name, in any order and in any case.
    sex, smoker, region
        One of the feature's values.
    age_from, age_to
        Years, both ends included.
    bmi_from, bmi_to
        kg/m², both ends included.
    cost_unknown
        Only patients whose cost is not known.
    """

    search: str | None = None
    sex: str | None = None
    smoker: str | None = None
    region: str | None = None
    age_from: int | None = None
    age_to: int | None = None
    bmi_from: float | None = None
    bmi_to: float | None = None
    cost_unknown: bool = False

    @property
    def used(self) -> list[str]:
        """The names of the fields that limit the list, never their values: what the access log may hold."""
        return [name for name, value in vars(self).items() if value not in (None, "", False)]

    def check(self) -> None:
        """Raise `InvalidInput` naming every field that is not accepted."""
        problems: list[FieldProblem] = []
        if self.search is not None and len(self.search) > LONGEST_SEARCH:
            message = f"A search has at most {LONGEST_SEARCH} characters."
            problems.append(FieldProblem("search", message))
        elif self.search is not None and not is_storable(self.search):
            problems.append(FieldProblem("search", "The search contains a character that no name has."))
        for feature in FEATURES:
            problems.extend(self._problems_of(feature))
        if problems:
            raise InvalidInput(problems)

    def _problems_of(self, feature: Feature) -> list[FieldProblem]:
        if feature.kind == "category":
            wanted = getattr(self, feature.name, None)
            if wanted is None or wanted in feature.values:
                return []
            return [FieldProblem(feature.name, f"{feature.label} must be {feature.expectation}.")]
        low, high = self.bounds(feature)
        assert feature.minimum is not None and feature.maximum is not None
        problems = [
            FieldProblem(f"{feature.name}_{end}", f"{feature.label} must be {feature.expectation}.")
            for end, bound in (("from", low), ("to", high))
            if bound is not None and not feature.minimum <= bound <= feature.maximum
        ]
        if not problems and low is not None and high is not None and low > high:
            message = f"{feature.label}: {low:g} to {high:g} holds nobody; the smaller number comes first."
            problems.append(FieldProblem(f"{feature.name}_to", message))
        return problems

    def bounds(self, feature: Feature) -> tuple[float | None, float | None]:
        """Return the lowest and highest accepted value of a number; None where there is no limit."""
        return getattr(self, f"{feature.name}_from", None), getattr(self, f"{feature.name}_to", None)

    def only(self, name: str) -> PatientFilter:
        """Return the part of this filter that limits one number."""
        return PatientFilter(**{f"{name}_{end}": getattr(self, f"{name}_{end}") for end in ("from", "to")})

    def words(self) -> list[str]:
        """Return the words that a name must contain; "Miller, Jane" is how lists print a name."""
        return [word.rstrip(",") or word for word in (self.search or "").split()]

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what holds of every patient of the list, that they are present included."""
        return [Patient.deleted_at.is_(None), *self.conditions_on(Patient)]

    def conditions_on(self, row: Any) -> list[ColumnElement[bool]]:
        """Return what holds of the patients of the list among those present.

        Parameters
        ----------
        row
            `Patient`, or the columns of a subquery that has the same.
        """
        conditions: list[ColumnElement[bool]] = []
        for feature in FEATURES:
            column = getattr(row, feature.name)
            if feature.kind == "category":
                wanted = getattr(self, feature.name, None)
                if wanted is not None:
                    conditions.append(column == wanted)
                continue
            low, high = self.bounds(feature)
            if low is not None:
                conditions.append(column >= low)
            if high is not None:
                conditions.append(column <= high)
        if self.cost_unknown:
            conditions.append(getattr(row, TARGET_NAME).is_(None))
        return [*conditions, *(_name_contains(word) for word in self.words())]


def sort_key(sort: PatientSort, *, descending: bool) -> tuple[ColumnElement[Any], ...]:
    """Return what the rows are ordered by, all in the same direction; each is served by an index."""
    if sort is PatientSort.NAME:
        return (Patient.last_name, Patient.first_name, Patient.id)  # type: ignore[return-value]
    if sort is PatientSort.AGE:
        return (Patient.age, Patient.id)  # type: ignore[return-value]
    if sort is PatientSort.CHANGED:
        return (Patient.updated_at, Patient.id)  # type: ignore[return-value]
    cost = COST_UNKNOWN_FIRST_SQL if descending else COST_UNKNOWN_LAST_SQL
    return (literal_column(cost), Patient.id)  # type: ignore[return-value]


def _name_contains(word: str) -> ColumnElement[bool]:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    name: ColumnElement[str] = literal_column(PATIENT_NAME_SQL)
    return name.like(func.lower(f"%{escaped}%"), escape="\\")
