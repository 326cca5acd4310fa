"""The patients of the caller's own hospital, one by one and as a list."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api.conditional import ETAG_HEADER, IfMatch, IfNoneMatch, etag_of, is_known, seen_version
from api.dependencies import Cursor, Limit, May
from api.errors import DuplicatePatient
from api.files import DOWNLOAD_RESPONSE, download
from api.filters import PatientExportQuery, PatientListQuery, patient_filter
from api.routing import Routes
from api.schemas import Items, errors, features_of
from api.schemas_patients import (
    CostDistributionAnswer,
    PatientAnswer,
    PatientChangeAnswer,
    PatientChangedBody,
    PatientEdit,
    PatientEntry,
    PatientItems,
    PossibleDuplicates,
)
from api.schemas_predictions import OutcomeAnswer, outcome_answer
from app.actor import Actor
from app.databases import site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import patient_entry, patient_records, patients, prediction_history
from app.services.paging import MAX_PAGE
from fl.features import FEATURE_NAMES, TARGET_NAME

router = Routes("/patients", "patients")
Reader = Annotated[Actor, Depends(May(Permission.PATIENTS_READ))]
Writer = Annotated[Actor, Depends(May(Permission.PATIENTS_WRITE))]
Deleter = Annotated[Actor, Depends(May(Permission.PATIENTS_DELETE))]
Exporter = Annotated[Actor, Depends(May(Permission.PATIENTS_EXPORT))]
Predictor = Annotated[Actor, Depends(May(Permission.PREDICT))]

EXPORTED = ("id", "first_name", "last_name", *FEATURE_NAMES, TARGET_NAME, "created_at", "updated_at")


@router.get("", response_model=PatientItems, responses=errors(422, 503))
def list_patients(actor: Reader, query: Annotated[PatientListQuery, Query()]) -> Any:
    """List patients, a page at a time; every filter that is given must hold."""
    chosen = patient_filter(query)
    with site_session(actor) as site:
        page = patients.list_patients(
            site=site,
            actor=actor,
            filter=chosen,
            sort=query.sort,
            descending=query.descending,
            cursor=query.cursor,
            limit=query.limit,
        )
        count = patients.count_patients(site=site, actor=actor, filter=chosen) if query.count else None
    return {**vars(page), "count": count}


@router.post(
    "",
    status_code=201,
    response_model=PatientAnswer,
    responses={
        **errors(400, 413, 422, 503, special={409: PossibleDuplicates}),
        201: {"headers": ETAG_HEADER},
    },
)
def add_patient(
    actor: Writer,
    response: Response,
    entry: PatientEntry,
    accept_duplicate: Annotated[
        bool, Query(description="add the patient even if there is one of the same name and age")
    ] = False,
) -> Any:
    """Add a patient; 409 with the ids if there are patients of the same name and age."""
    problems = patient_entry.check_entry(**_record(entry))
    if problems:
        raise InvalidInput(problems)
    if not accept_duplicate:
        with site_session(actor, changes=False) as site:
            same = patient_records.possible_duplicates(
                site=site,
                actor=actor,
                first_name=entry.first_name,
                last_name=entry.last_name,
                age=features_of(entry)["age"],
            )
        if same:
            raise DuplicatePatient([patient.id for patient in same])
    with site_session(actor) as site:
        added = patient_records.add_patient(site=site, actor=actor, **_record(entry))
    response.headers["ETag"] = etag_of(added)
    return added


@router.get("/export", response_class=Response, responses={**DOWNLOAD_RESPONSE, **errors(422, 503)})
def export_patients(actor: Exporter, query: Annotated[PatientExportQuery, Query()]) -> Response:
    """Download every patient of a list as CSV or Excel; who did so, and how many, is kept."""
    with site_session(actor) as site:
        found = patients.patients_for_export(
            site=site,
            actor=actor,
            filter=patient_filter(query),
            sort=query.sort,
            descending=query.descending,
        )
        rows = ([getattr(patient, name) for name in EXPORTED] for patient in found)
        return download(EXPORTED, rows, name="patients", format=query.format)


@router.get("/deleted", response_model=Items[PatientAnswer], responses=errors(422, 503))
def deleted_patients(actor: Deleter, cursor: Cursor = None, limit: Limit = 25) -> Any:
    """List the patients that were deleted and can still be restored, the last deleted first."""
    with site_session(actor) as site:
        return patient_records.recently_deleted(site=site, actor=actor, cursor=cursor, limit=limit)


@router.get("/cost-distribution", response_model=CostDistributionAnswer, responses=errors(503))
def cost_distribution(actor: Reader) -> Any:
    """Count the hospital's patients by their known cost."""
    with site_session(actor) as site:
        return patients.cost_distribution(site=site, actor=actor)


@router.get(
    "/{patient_id}",
    response_model=PatientAnswer,
    responses={
        **errors(404, 422, 503),
        200: {"headers": ETAG_HEADER},
        304: {"description": "The record is still what If-None-Match says.", "headers": ETAG_HEADER},
    },
)
def get_patient(
    actor: Reader, patient_id: uuid.UUID, response: Response, if_none_match: IfNoneMatch = None
) -> Any:
    """Read one patient, with the ETag that a change needs."""
    with site_session(actor) as site:
        patient = patients.get_patient(site=site, actor=actor, patient_id=patient_id)
    if is_known(if_none_match, patient):
        return Response(status_code=304, headers={"ETag": etag_of(patient)})
    response.headers["ETag"] = etag_of(patient)
    return patient


@router.put(
    "/{patient_id}",
    response_model=PatientAnswer,
    responses={
        **errors(400, 404, 413, 422, 428, 503, special={412: PatientChangedBody}),
        200: {"headers": ETAG_HEADER},
    },
)
def edit_patient(
    actor: Writer, patient_id: uuid.UUID, edit: PatientEdit, response: Response, if_match: IfMatch = None
) -> Any:
    """Replace a patient's record; 412 with the record and the differences if somebody changed it since."""
    seen = seen_version(if_match)
    with site_session(actor) as site:
        edited = patient_records.edit_patient(
            site=site, actor=actor, patient_id=patient_id, row_version=seen, **_record(edit)
        )
    response.headers["ETag"] = etag_of(edited)
    return edited


@router.delete(
    "/{patient_id}",
    status_code=204,
    responses=errors(404, 422, 428, 503, special={412: PatientChangedBody}),
)
def delete_patient(actor: Deleter, patient_id: uuid.UUID, if_match: IfMatch = None) -> None:
    """Delete a patient, who can be restored for 30 days; 412 with the record if somebody changed it since."""
    seen = seen_version(if_match)
    with site_session(actor) as site:
        patient_records.delete_patient(site=site, actor=actor, patient_id=patient_id, row_version=seen)


@router.post("/{patient_id}/restore", response_model=PatientAnswer, responses=errors(404, 409, 422, 503))
def restore_patient(actor: Deleter, patient_id: uuid.UUID) -> Any:
    """Bring a deleted patient back; 409 if it is not deleted, or was deleted too long ago."""
    with site_session(actor) as site:
        return patient_records.restore_patient(site=site, actor=actor, patient_id=patient_id)


@router.get(
    "/{patient_id}/changes", response_model=Items[PatientChangeAnswer], responses=errors(404, 422, 503)
)
def patient_changes(
    actor: Reader, patient_id: uuid.UUID, cursor: Cursor = None, limit: Limit = MAX_PAGE
) -> Any:
    """List what was changed of a patient's record, the newest first."""
    with site_session(actor) as site:
        return patient_records.changes_of(
            site=site, actor=actor, patient_id=patient_id, cursor=cursor, limit=limit
        )


@router.get("/{patient_id}/predictions", response_model=Items[OutcomeAnswer], responses=errors(404, 422, 503))
def patient_predictions(
    actor: Predictor, patient_id: uuid.UUID, cursor: Cursor = None, limit: Limit = MAX_PAGE
) -> Any:
    """List the predictions made for a patient, the newest first, each beside the actual cost."""
    with site_session(actor) as site:
        page = prediction_history.predictions_of(
            site=site, actor=actor, patient_id=patient_id, cursor=cursor, limit=limit
        )
    return {**vars(page), "items": [outcome_answer(outcome) for outcome in page.items]}


def _record(entry: PatientEntry) -> dict[str, Any]:
    return {
        "first_name": entry.first_name,
        "last_name": entry.last_name,
        "inputs": features_of(entry),
        "insurance_cost": entry.insurance_cost,
    }
