"""What a patient may ask for: everything held on them, and to be erased for good."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import Depends

from api.dependencies import May
from api.routing import Routes
from api.schemas import errors
from api.schemas_erasure import ErasedAnswer, ErasureRequest, PersonAnswer
from app.actor import Actor
from app.databases import site_session
from app.permissions import Permission
from app.services import erasure

router = Routes("/patients", "patients")
Exporter = Annotated[Actor, Depends(May(Permission.PATIENTS_EXPORT))]
Eraser = Annotated[Actor, Depends(May(Permission.PATIENTS_ERASE))]


@router.get("/{patient_id}/export", response_model=PersonAnswer, responses=errors(404, 422, 503))
def export_person(actor: Exporter, patient_id: uuid.UUID) -> Any:
    """Read everything that the hospital holds on one patient, also a deleted one; that it was read is kept."""
    with site_session(actor) as site:
        return erasure.export_person(site=site, actor=actor, patient_id=patient_id)


@router.post("/{patient_id}/erasure", response_model=ErasedAnswer, responses=errors(400, 404, 413, 422, 503))
def erase_patient(actor: Eraser, patient_id: uuid.UUID, request: ErasureRequest) -> Any:
    """Erase a patient for good: record, history and predictions. Models trained so far are not changed."""
    with site_session(actor) as site:
        return erasure.erase_patient(
            site=site, actor=actor, patient_id=patient_id, confirmed_id=request.confirm_patient_id
        )
