"""The patients of the caller's own hospital."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from api.dependencies import Cursor, GuardedRoute, Limit, May
from api.schemas_patients import PatientAnswer, PatientItems
from app.actor import Actor
from app.databases import site_session
from app.permissions import Permission
from app.services import patients
from app.services.patient_query import PatientFilter

router = APIRouter(prefix="/patients", tags=["patients"], route_class=GuardedRoute)
Reader = Annotated[Actor, Depends(May(Permission.PATIENTS_READ))]


@router.get("", response_model=PatientItems)
def list_patients(
    actor: Reader,
    search: Annotated[str | None, Query(description="words that the name contains")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Any:
    """List patients by name."""
    with site_session(actor) as site:
        return patients.list_patients(
            site=site, actor=actor, filter=PatientFilter(search=search), cursor=cursor, limit=limit
        )


@router.get("/{patient_id}", response_model=PatientAnswer)
def get_patient(actor: Reader, patient_id: uuid.UUID) -> Any:
    """Read one patient."""
    with site_session(actor) as site:
        return patients.get_patient(site=site, actor=actor, patient_id=patient_id)
