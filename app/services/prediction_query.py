"""Which saved predictions a list holds, and the SQL that this makes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session, aliased

from app.errors import InvalidInput
from app.services.paging import LARGEST_ID
from app.services.patient_entry import is_storable
from app.services.patient_query import PatientFilter
from db.site import Patient, Prediction
from fl.features import FieldProblem

LONGEST_VERSION = 50
YEARS = range(1900, 3000)
# A search that names no more patients than this reads their predictions; one that names more goes through
# the newest predictions and meets such a patient soon.
FEW_PATIENTS = 1000


@dataclass(frozen=True)
class PredictionFilter:
    """Which predictions to list; everything given must hold, an empty filter is every prediction.

    Attributes
    ----------
    patient
        Words that must all occur in the patient's name, in any order and in any case; or the patient's id.
    patient_id
        One patient.
    worker_id
        Who made the prediction.
    model_version
        By which model.
    since, until
        First and last day, both included, as days of `zone`.
    zone
        The reader's time zone by its IANA name, for example "Europe/Berlin".
    with_error
        Only predictions of patients whose actual cost is known by now.
    """

    patient: str | None = None
    patient_id: uuid.UUID | None = None
    worker_id: int | None = None
    model_version: str | None = None
    since: date | None = None
    until: date | None = None
    zone: str = "UTC"
    with_error: bool = False

    @property
    def used(self) -> list[str]:
        """The names of the fields that limit the list, never their values: what the access log may hold."""
        return [
            name for name, value in vars(self).items() if name != "zone" and value not in (None, "", False)
        ]

    def check(self) -> None:
        """Raise `InvalidInput` naming every field that is not accepted."""
        problems: list[FieldProblem] = []
        try:
            PatientFilter(search=self.patient).check()
        except InvalidInput as error:
            problems.extend(FieldProblem("patient", problem.message) for problem in error.problems)
        if self.worker_id is not None and not 0 < self.worker_id <= LARGEST_ID:
            problems.append(FieldProblem("worker_id", "There is no such person."))
        version = self.model_version
        if version is not None and (len(version) > LONGEST_VERSION or not is_storable(version)):
            problems.append(FieldProblem("model_version", "There is no such model version."))
        for name, day in (("since", self.since), ("until", self.until)):
            if day is not None and day.year not in YEARS:
                problems.append(FieldProblem(name, f"{day} is no day on which a prediction was made."))
        if self.since is not None and self.until is not None and self.since > self.until:
            message = f"{self.since} to {self.until} holds no day; the earlier day comes first."
            problems.append(FieldProblem("until", message))
        try:
            zone_of(self.zone)
        except InvalidInput as error:
            problems.extend(error.problems)
        if problems:
            raise InvalidInput(problems)

    def conditions(self, site: Session) -> list[ColumnElement[bool]]:
        """Return what holds of every prediction of the list, outer-joined to its patient if they are present.

        Asks the database how many patients are meant, if the filter names any by parts of their name.
        """
        conditions: list[ColumnElement[bool]] = []
        if self.patient_id is not None:
            conditions.append(Prediction.patient_id == self.patient_id)
        if self.worker_id is not None:
            conditions.append(Prediction.worker_id == self.worker_id)
        if self.model_version:
            conditions.append(Prediction.model_version == self.model_version)
            if self.worker_id is not None:
                # The versions of a site follow each other: without this, all that the person predicted since
                # with later ones is read first.
                last = aliased(Prediction)
                made = select(func.max(last.created_at)).where(last.model_version == self.model_version)
                conditions.append(Prediction.created_at <= made.scalar_subquery())
        if self.since is not None:
            conditions.append(Prediction.created_at >= _beginning(self.since, self.zone))
        if self.until is not None:
            conditions.append(Prediction.created_at < _beginning(self.until + timedelta(days=1), self.zone))
        if self.with_error:
            conditions.append(Patient.insurance_cost.is_not(None))
        if self.patient and self.patient.strip():
            conditions.extend(_of_patients(site, self.patient))
        return conditions


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name; raises `InvalidInput` if there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise unknown_zone() from None


def unknown_zone() -> InvalidInput:
    """Return the error of a time zone that does not exist, to be raised."""
    return InvalidInput([FieldProblem("zone", "There is no such time zone.")])


def _beginning(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone_of(zone))


def _of_patients(site: Session, wanted: str) -> list[ColumnElement[bool]]:
    try:
        return [Prediction.patient_id == uuid.UUID(wanted.strip())]
    except ValueError:
        named = PatientFilter(search=wanted).conditions()
    few = site.scalars(select(Patient.id).where(*named).limit(FEW_PATIENTS + 1)).all()
    if len(few) <= FEW_PATIENTS:
        return [Prediction.patient_id.in_(few)]
    # As a value, not as a join: the planner takes a name to be rare and would read all of these patients first.
    fits = select(and_(*named)).where(Patient.id == Prediction.patient_id).correlate(Prediction)
    return [fits.scalar_subquery()]
