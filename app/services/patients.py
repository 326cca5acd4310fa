"""The patients of the actor's own institution: listing, searching, counting, reading and exporting."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services.access import record_access, refuse_unknown
from app.services.cost_histogram import CostDistribution, distribution_of, fine_counts
from app.services.paging import Page, read_page
from app.services.patient_pages import cursor_of, rows_at
from app.services.patient_query import PatientFilter, PatientSort, sort_key
from db.site import Patient

EVERYBODY = PatientFilter()
EXPORT_BATCH = 1000  # rows that an export holds at a time


def list_patients(
    *,
    site: Session,
    actor: Actor,
    filter: PatientFilter = EVERYBODY,
    sort: PatientSort = PatientSort.NAME,
    descending: bool = False,
    cursor: str | None = None,
    limit: int = 25,
) -> Page[Patient]:
    """List one page of the patients that `filter` names; unknown costs come last in both directions.

    Parameters
    ----------
    cursor
        `next_cursor` or `previous_cursor` of another page of the same list. It stands where its row stood when
        that page was read, even if the row was edited or deleted since.
    limit
        Rows on the page, 1 to 100.

    Raises
    ------
    InvalidInput
        If the filter, the cursor or the limit is not accepted.
    """
    actor.require(Permission.PATIENTS_READ)
    filter.check()
    page = read_page(
        cursor,
        limit,
        lambda position, count: rows_at(
            site, filter=filter, sort=sort, descending=descending, position=position, count=count
        ),
        cursor_of,
    )
    record_access(
        site,
        actor,
        "patients_searched" if filter.words() else "patients_listed",
        details={"patient_ids": [str(patient.id) for patient in page.items], "filters": filter.used},
    )
    return page


def count_patients(*, site: Session, actor: Actor, filter: PatientFilter = EVERYBODY) -> int:
    """Count the patients that `list_patients` would go through; raises `InvalidInput` as it does."""
    actor.require(Permission.PATIENTS_READ)
    filter.check()
    count = _count(site, filter)
    record_access(site, actor, "patients_counted", details={"count": count, "filters": filter.used})
    return count


def get_patient(*, site: Session, actor: Actor, patient_id: uuid.UUID) -> Patient:
    """Read one patient.

    Raises
    ------
    NotFound
        If this institution has no such patient, or they were deleted; another institution's are not
        distinguished from none.
    """
    actor.require(Permission.PATIENTS_READ)
    patient = site.get(Patient, patient_id)
    if patient is None or patient.deleted_at is not None:
        refuse_unknown(site, actor, "patient_read", patient_id)
    record_access(site, actor, "patient_read", patient_id=patient.id)
    return patient


def patients_for_export(
    *,
    site: Session,
    actor: Actor,
    filter: PatientFilter = EVERYBODY,
    sort: PatientSort = PatientSort.NAME,
    descending: bool = False,
) -> Iterator[Patient]:
    """Return every patient of a list, read while they are taken; the session must stay open for so long.

    The access log gets how many patients there are and which filters were used, before the first is read.

    Raises
    ------
    InvalidInput
        If the filter is not accepted.
    """
    actor.require(Permission.PATIENTS_EXPORT)
    filter.check()
    details = {"count": _count(site, filter), "filters": filter.used, "sort": sort.value}
    record_access(site, actor, "patients_exported", details=details)
    site.flush()
    keys = sort_key(sort, descending=descending)
    query = (
        select(Patient)
        .where(*filter.conditions())
        .order_by(*(key.desc() if descending else key for key in keys))
        .execution_options(yield_per=EXPORT_BATCH)
    )
    return iter(site.scalars(query))


def cost_distribution(*, site: Session, actor: Actor) -> CostDistribution:
    """Return the histogram of the institution's own known costs.

    It reads every cost, half a second for a million patients: a page should keep the answer for a while.
    """
    actor.require(Permission.PATIENTS_READ)
    distribution = distribution_of(fine_counts(site))
    record_access(site, actor, "cost_distribution_read", details={"count": distribution.count})
    return distribution


def _count(site: Session, filter: PatientFilter) -> int:
    return site.scalar(select(func.count()).select_from(Patient).where(*filter.conditions())) or 0
