"""What a clinician's first page shows of the own institution: counts, what is new, and how predictions turned out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, Float, Integer, ScalarSelect, Select, cast, func, literal, select, text
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services.access import record_access
from db.site import COST_UNKNOWN_LAST_SQL, Patient, PatientAction, PatientChange, Prediction

# Nothing here reads more rows than this, however many the institution has.
COUNT_LIMIT = 10_000
OUTCOMES_LIMIT = 1_000  # the newest predictions, of which some have met their actual cost
RECENT = timedelta(days=7)
SHOWN = 5


@dataclass(frozen=True)
class Counted:
    """A number of rows; `more` says that counting stopped there and `number` is a lower bound or an estimate."""

    number: int
    more: bool = False


@dataclass(frozen=True)
class Outcomes:
    """How predictions turned out whose actual cost was entered after they were made.

    Attributes
    ----------
    mean_absolute_error
        USD a year; None if no such cost is known yet.
    coverage
        Share of those costs that lay within their interval, 0 to 1; None if none had an interval.
    """

    count: int
    mean_absolute_error: float | None
    coverage: float | None


@dataclass(frozen=True)
class RecentPrediction:
    """One saved prediction; costs in USD a year. The patient is None if none was named, or it is deleted."""

    created_at: datetime
    patient_id: uuid.UUID | None
    patient_name: str | None
    predicted_cost: Decimal
    actual_cost: Decimal | None
    worker_name: str


@dataclass(frozen=True)
class RecentChange:
    """One change of one patient's record, by its `PatientAction`; `fields` are the names of those that changed."""

    occurred_at: datetime
    patient_id: uuid.UUID
    patient_name: str
    action: str
    worker_name: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class ClinicOverview:
    """One institution at a glance; `changes` counts those of the last seven days by `PatientAction`."""

    patients: Counted
    costs_unknown: Counted
    predictions: Counted
    changes: dict[str, Counted]
    outcomes: Outcomes
    recent_predictions: list[RecentPrediction]
    recent_changes: list[RecentChange]


def clinic_overview(*, site: Session, actor: Actor) -> ClinicOverview:
    """Read the overview of the actor's own institution.

    A million patients do not make it slow: every count stops at `COUNT_LIMIT` rows of an index and, beyond it, the
    number of patients is what the planner knows of the table.
    """
    actor.require(Permission.PATIENTS_READ)
    actor.require(Permission.PREDICT)
    since = datetime.now(UTC) - RECENT
    present = Patient.deleted_at.is_(None)
    unknown = (
        present,
        Patient.insurance_cost.is_(None),
        # What the index of costs is made of; it finds the few unknown ones among many.
        text(f"{COST_UNKNOWN_LAST_SQL} = 'Infinity'::numeric"),
    )
    patients, size, unknowns, predictions = site.execute(
        select(
            _counted(select(literal(1)).select_from(Patient).where(present)),
            select(cast(text("reltuples"), Float))
            .select_from(text("pg_class"))
            .where(text("oid = 'patients'::regclass"))
            .scalar_subquery(),
            _counted(select(literal(1)).select_from(Patient).where(*unknown)),
            _counted(select(literal(1)).select_from(Prediction).where(Prediction.created_at >= since)),
        )
    ).one()
    recent_predictions = _recent_predictions(site)
    recent_changes = _recent_changes(site)
    seen = {change.patient_id for change in recent_changes}
    seen.update(made.patient_id for made in recent_predictions if made.patient_id)
    record_access(site, actor, "overview_read", details={"patient_ids": sorted(map(str, seen))})
    return ClinicOverview(
        patients=_patients(patients, size),
        costs_unknown=_bounded(unknowns),
        predictions=_bounded(predictions),
        changes=_changes(site, since),
        outcomes=_outcomes(site),
        recent_predictions=recent_predictions,
        recent_changes=recent_changes,
    )


def _counted(rows: Select[int]) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows.limit(COUNT_LIMIT + 1).subquery()).scalar_subquery()


def _bounded(number: int) -> Counted:
    return Counted(min(number, COUNT_LIMIT), more=number > COUNT_LIMIT)


def _patients(number: int, planner: float) -> Counted:
    counted = _bounded(number)
    return Counted(max(round(planner), counted.number), more=True) if counted.more else counted


def _name() -> ColumnElement[str]:
    return Patient.last_name + ", " + Patient.first_name


def _recent_predictions(site: Session) -> list[RecentPrediction]:
    query = (
        select(
            Prediction.created_at,
            Patient.id,
            _name(),
            Prediction.predicted_cost,
            Patient.insurance_cost,
            Prediction.worker_name,
        )
        .outerjoin(Patient, (Patient.id == Prediction.patient_id) & Patient.deleted_at.is_(None))
        .order_by(Prediction.created_at.desc(), Prediction.id.desc())
        .limit(SHOWN)
    )
    return [RecentPrediction(*row) for row in site.execute(query)]


def _newest_changes() -> ColumnElement[bool]:
    newest = select(func.max(PatientChange.id)).scalar_subquery()
    return PatientChange.id > newest - COUNT_LIMIT


def _recent_changes(site: Session) -> list[RecentChange]:
    query = (
        select(
            PatientChange.occurred_at,
            PatientChange.patient_id,
            _name(),
            PatientChange.action,
            PatientChange.worker_name,
            PatientChange.changes,
        )
        .join(Patient, Patient.id == PatientChange.patient_id)
        # One import would push out all else.
        .where(
            _newest_changes(), PatientChange.action != PatientAction.IMPORTED, Patient.deleted_at.is_(None)
        )
        .order_by(PatientChange.id.desc())
        .limit(SHOWN)
    )
    return [
        RecentChange(at, patient_id, name, action, worker, tuple(changes))
        for at, patient_id, name, action, worker, changes in site.execute(query)
    ]


def _changes(site: Session, since: datetime) -> dict[str, Counted]:
    query = (
        select(PatientChange.action, func.count())
        .where(_newest_changes(), PatientChange.occurred_at >= since)
        .group_by(PatientChange.action)
    )
    counts = dict(site.execute(query).all())
    cut = sum(counts.values()) >= COUNT_LIMIT
    return {action: Counted(counts[action], more=cut) for action in PatientAction if action in counts}


def _outcomes(site: Session) -> Outcomes:
    newest = (
        select(
            Prediction.patient_id,
            Prediction.created_at,
            Prediction.predicted_cost,
            Prediction.interval_low,
            Prediction.interval_high,
        )
        .order_by(Prediction.created_at.desc(), Prediction.id.desc())
        .limit(OUTCOMES_LIMIT)
        .subquery()
    )
    inside = Patient.insurance_cost.between(newest.c.interval_low, newest.c.interval_high)
    count, error, coverage = site.execute(
        select(
            func.count(),
            func.avg(func.abs(newest.c.predicted_cost - Patient.insurance_cost)),
            func.avg(cast(cast(inside, Integer), Float)),
        )
        .select_from(newest)
        .join(Patient, Patient.id == newest.c.patient_id)
        # A cost that was known before the prediction proves nothing.
        .where(Patient.deleted_at.is_(None), Patient.cost_entered_at > newest.c.created_at)
    ).one()
    return Outcomes(
        count,
        None if error is None else float(error),
        None if coverage is None else float(coverage),
    )
