"""One page of a list of patients: from where its cursor stands, in the order of its sort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, Uuid, cast, literal, literal_column, select, tuple_
from sqlalchemy.orm import Session

from app.services.paging import Position, integer_cursor, unknown_cursor, uuid_cursor
from app.services.patient_query import PatientFilter, PatientSort, sort_key
from db.site import Patient, PatientChange
from fl.features import TARGET_NAME

# Rows passed on the way to a page before all that fit are gathered instead. The indexes by cost carry the
# features along, which makes a long walk cheap there, and a filter can be at odds with that order only: smokers
# from the cheapest on. Elsewhere each row passed is read.
LONG_WALK = 60_000
SHORT_WALK = 4_000


def cursor_of(patient: Patient) -> str:
    """Return what a cursor calls a row: its id, and once it was changed also its version.

    The version says where the row stood; the history tells it even after later changes.
    """
    return str(patient.id) if patient.row_version == 1 else f"{patient.id}.{patient.row_version}"


def rows_at(
    site: Session,
    *,
    filter: PatientFilter,
    sort: PatientSort,
    descending: bool,
    position: Position | None,
    count: int,
) -> Sequence[Patient]:
    """Read up to `count` rows from a position on, in the order of reading.

    Raises
    ------
    InvalidInput
        If the position is no row of this institution.
    """
    keys = sort_key(sort, descending=descending)
    downwards = descending != (position is not None and position.backwards)
    part: list[ColumnElement[bool]] = [Patient.deleted_at.is_(None)]
    if position is not None:
        place = _place_of(site, position.row, sort, descending=descending)
        part.append(tuple_(*keys) < place if downwards else tuple_(*keys) > place)
    if sort is PatientSort.COST and filter.cost_unknown:
        part.append(keys[0] == _unknown_cost(descending=descending))
    if sort is PatientSort.AGE:
        part.extend(filter.only("age").conditions_on(Patient))
    order = _Order(keys, downwards)
    if not filter.used:
        return _read(site, order.first(select(Patient.id, *order.named).where(*part), count), order)
    found = _read(site, _by_walking(filter, sort, part, order, count), order)
    if len(found) < count:
        found = _read(site, _by_gathering(filter, part, order, count), order)
    return found


@dataclass(frozen=True)
class _Order:
    """What rows are ordered by and in which direction they are read."""

    keys: tuple[ColumnElement[Any], ...]
    downwards: bool

    @property
    def named(self) -> list[ColumnElement[Any]]:
        """The keys but the id, as columns that a query around this one can order by."""
        return [key.label(f"key_{number}") for number, key in enumerate(self.keys[:-1])]

    def first(self, query: Select[Any], count: int) -> Select[Any]:
        """Return the first `count` rows of a query on the patients."""
        return query.order_by(*self._directed(self.keys)).limit(count)

    def first_of(self, rows: Subquery, count: int) -> Select[Any]:
        """Return the first `count` rows of a subquery that has the named keys."""
        return select(rows.c.id, *self._of(rows)[:-1]).order_by(*self.over(rows)).limit(count)

    def over(self, rows: Subquery) -> list[ColumnElement[Any]]:
        """Return this order for a subquery that has the named keys."""
        return self._directed(self._of(rows))

    def _of(self, rows: Subquery) -> list[ColumnElement[Any]]:
        return [*(rows.c[f"key_{number}"] for number in range(len(self.keys) - 1)), rows.c.id]

    def _directed(self, keys: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        return [key.desc() if self.downwards else key for key in keys]


def _by_walking(
    filter: PatientFilter, sort: PatientSort, part: Sequence[ColumnElement[bool]], order: _Order, count: int
) -> Select[Any]:
    """Go through the list in its order and keep who fits, giving up after so many.

    Quick if many fit, whatever the planner believes of filters that depend on each other.
    """
    budget = LONG_WALK if sort is PatientSort.COST and not filter.words() else SHORT_WALK
    passed = order.first(select(Patient.__table__, *order.named).where(*part), budget).subquery("passed")
    return order.first_of(passed, count).where(*filter.conditions_on(passed.c))


def _by_gathering(
    filter: PatientFilter, part: Sequence[ColumnElement[bool]], order: _Order, count: int
) -> Select[Any]:
    """Find everybody who fits, then order them: quick if few fit. OFFSET 0 keeps both steps apart."""
    everybody = select(Patient.id, *order.named).where(*part, *filter.conditions_on(Patient)).offset(0)
    return order.first_of(everybody.subquery("everybody"), count)


def _read(site: Session, chosen: Select[Any], order: _Order) -> Sequence[Patient]:
    rows = chosen.subquery("chosen")
    return site.scalars(select(Patient).join(rows, rows.c.id == Patient.id).order_by(*order.over(rows))).all()


def _unknown_cost(*, descending: bool) -> ColumnElement[Any]:
    return literal_column("'-1'::integer::numeric" if descending else "'Infinity'::numeric")


def _place_of(site: Session, row: str, sort: PatientSort, *, descending: bool) -> ColumnElement[Any]:
    """Return the sort key that a row had when it was at the version that its cursor names."""
    raw_id, _, raw_version = row.partition(".")
    patient = site.get(Patient, uuid_cursor(raw_id))
    if patient is None:
        raise unknown_cursor()
    version = integer_cursor(raw_version) if raw_version else 1
    then = _as_it_was(site, patient, version)
    if sort is PatientSort.NAME:
        return tuple_(then["last_name"], then["first_name"], patient.id)
    if sort is PatientSort.AGE:
        return tuple_(then["age"], patient.id)
    if sort is PatientSort.CHANGED:
        return tuple_(then["updated_at"], patient.id)
    cost = then[TARGET_NAME]
    place = literal(cost) if cost is not None else _unknown_cost(descending=descending)
    return tuple_(place, cast(patient.id, Uuid))


def _as_it_was(site: Session, patient: Patient, version: int) -> dict[str, Any]:
    """Return what a patient is sorted by as of a version, by undoing the changes made since.

    If the history does not reach back so far, what it has undone is the best answer there is.
    """
    state: dict[str, Any] = {
        name: getattr(patient, name) for name in ("last_name", "first_name", "age", TARGET_NAME, "updated_at")
    }
    since = patient.row_version - version
    if since <= 0:
        return state
    query = (
        select(PatientChange)
        .where(PatientChange.patient_id == patient.id)
        .order_by(PatientChange.id.desc())
        .limit(since + 1)
    )
    changes = site.scalars(query).all()
    for change in changes[:since]:
        for field, (before, _) in change.changes.items():
            if field in state:
                state[field] = before
    state["updated_at"] = _time_of(patient, changes, since)
    if isinstance(state[TARGET_NAME], float | int):
        state[TARGET_NAME] = Decimal(str(state[TARGET_NAME]))
    return state


def _time_of(patient: Patient, changes: Sequence[PatientChange], since: int) -> datetime:
    """Return when the version was made: by the change before those undone, or when the patient was added."""
    return changes[since].occurred_at if len(changes) > since else patient.created_at
