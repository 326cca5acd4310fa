"""What the hospitals' patients are like, as the newest Run of kind cohort counted it, and what to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NotFound
from app.permissions import Permission
from db.central import Institution, SiteResult, TrainingRun
from db.states import ENDED_STATUSES, Phase, RunKind, RunStatus, SiteOutcome
from fl.cohort_summary import CELLS, MEASURES
from fl.features import Feature
from fl.groups import Group

_CELLS = {(name, cell.code): cell for name, cells in CELLS.items() for cell in cells}


@dataclass(frozen=True)
class Bin:
    """Patients in one bin, or of one category; `patients` is None where fewer than ten could be computed from it."""

    code: str
    label: str
    patients: int | None


@dataclass(frozen=True)
class Measure:
    """One feature, or the cost, of the patients of one hospital or of all.

    Attributes
    ----------
    missing
        Patients of whom it is not known; None if these are too few to say.
    mean, sd
        In `unit`; None of a category.
    withheld
        Patients in bins of which nothing may be said, or of whom the value is missing without saying of how many.
    """

    name: str
    label: str
    unit: str
    kind: str
    missing: int | None
    mean: float | None
    sd: float | None
    bins: list[Bin]
    withheld: int


@dataclass(frozen=True)
class InstitutionCohort:
    """The patients of one institution, or of all; `code` is then empty."""

    code: str
    name: str
    count: int
    features: list[Measure]


@dataclass(frozen=True)
class CohortWarning:
    """One thing to look at before training: the institution's code and name, the feature or the cost, the words."""

    institution: str
    name: str
    feature: str
    message: str


@dataclass(frozen=True)
class Absent:
    """An institution that was not counted, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class CohortPicture:
    """What one count found."""

    run_id: int
    counted_at: datetime
    institutions: list[InstitutionCohort]
    pooled: InstitutionCohort
    warnings: list[CohortWarning]
    absent: list[Absent]


@dataclass(frozen=True)
class CohortState:
    """Where counting stands.

    Attributes
    ----------
    picture
        The newest count; None before the first.
    counting
        Id of the Run that is counting or waits for its turn.
    failure
        Why the newest count found nothing, if it ended after `picture`.
    """

    picture: CohortPicture | None
    counting: int | None
    failure: str | None


def cohort_state(*, central: Session, actor: Actor) -> CohortState:
    """Read the newest count, and whether another is going on or has failed since."""
    actor.require(Permission.COHORT_READ)
    newest = central.scalar(
        select(TrainingRun).where(TrainingRun.kind == RunKind.COHORT).order_by(TrainingRun.id.desc()).limit(1)
    )
    if newest is None:
        return CohortState(None, None, None)
    counted = _newest_counted(central)
    failure = None
    if newest.status == RunStatus.FAILED:
        failure = newest.error
    return CohortState(
        picture=_picture(central, counted) if counted else None,
        counting=None if newest.status in ENDED_STATUSES else newest.id,
        failure=failure,
    )


def cohort(*, central: Session, actor: Actor) -> CohortPicture:
    """Return the newest count; raises `NotFound` before the first."""
    actor.require(Permission.COHORT_READ)
    counted = _newest_counted(central)
    if counted is None:
        raise NotFound(
            "The patients have not been counted yet. An administrator starts a Run of kind cohort to count them."
        )
    return _picture(central, counted)


def latest_warnings(central: Session) -> list[str]:
    """Return what the newest count warns of, one sentence or two each, beginning with the hospital's name."""
    counted = _newest_counted(central)
    if counted is None:
        return []
    return [f"{warning.name}: {warning.message}" for warning in _warnings(counted, _names(central))]


def _newest_counted(central: Session) -> TrainingRun | None:
    return central.scalar(
        select(TrainingRun)
        .where(
            TrainingRun.kind == RunKind.COHORT,
            TrainingRun.status == RunStatus.COMPLETED,
            TrainingRun.results.has_key("cohort"),
        )
        .order_by(TrainingRun.id.desc())
        .limit(1)
    )


def _names(central: Session) -> dict[str, str]:
    return dict(central.execute(select(Institution.code, Institution.name)).all())


def _picture(central: Session, run: TrainingRun) -> CohortPicture:
    assert run.finished_at is not None  # it has completed
    found: Mapping[str, Any] = run.results["cohort"]
    names = _names(central)
    absent = central.execute(
        select(Institution.name, SiteResult.reason)
        .join(Institution, Institution.id == SiteResult.institution_id)
        .where(
            SiteResult.run_id == run.id,
            SiteResult.phase == Phase.COHORT,
            SiteResult.outcome != SiteOutcome.OK,
        )
        .order_by(Institution.name)
    )
    return CohortPicture(
        run_id=run.id,
        counted_at=run.finished_at,
        institutions=[
            _institution(code, names.get(code, code), here)
            for code, here in sorted(found["institutions"].items())
        ],
        pooled=_institution("", "All hospitals", found["pooled"]),
        warnings=_warnings(run, names),
        absent=[Absent(name, reason or "") for name, reason in absent],
    )


def _warnings(run: TrainingRun, names: Mapping[str, str]) -> list[CohortWarning]:
    return [
        CohortWarning(
            one["institution"],
            names.get(one["institution"], one["institution"]),
            one["feature"],
            one["message"],
        )
        for one in run.results["cohort"]["warnings"]
    ]


def _institution(code: str, name: str, found: Mapping[str, Any]) -> InstitutionCohort:
    count = int(found["count"])
    measures = [
        _measure(measure, found["features"][measure.name], found["missing"].get(measure.name), count)
        for measure in MEASURES
        if measure.name in found["features"]
    ]
    return InstitutionCohort(code, name, count, measures)


def _measure(measure: Feature, found: Mapping[str, Any], missing: int | None, count: int) -> Measure:
    bins = [
        Bin(code, _label(measure, code), patients)
        for code, patients in zip(found["bins"], found["counts"], strict=True)
    ]
    told = sum(one.patients or 0 for one in bins)
    return Measure(
        name=measure.name,
        label=measure.label,
        unit=measure.unit,
        kind=measure.kind,
        missing=missing,
        mean=found["mean"],
        sd=found["sd"],
        bins=bins,
        withheld=count - told - (missing or 0),
    )


def _label(measure: Feature, code: str) -> str:
    """Name a bin briefly: `15–19`, `under 15`, `65 and over`; the unit stands beside it."""
    cell = _CELLS.get((measure.name, code))
    if cell is None:  # counted by another version of the software
        return code
    if measure.kind == "category":
        return cell.label
    return _band_label(measure, cell)


def _band_label(measure: Feature, cell: Group) -> str:
    whole = measure.kind == "integer"
    if math.isinf(cell.lowest):
        return "0" if whole and cell.below == 1 else f"under {_number(cell.below)}"
    if math.isinf(cell.below):
        return f"{_number(cell.lowest)} and over"
    if whole and cell.below - cell.lowest == 1:
        return _number(cell.lowest)
    return f"{_number(cell.lowest)}–{_number(cell.below - 1 if whole else cell.below)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
