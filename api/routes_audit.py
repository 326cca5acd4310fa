"""The audit trail: of the own hospital for its administrator, of the consortium for the consortium's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api.dependencies import May
from api.files import DOWNLOAD_RESPONSE, download
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_audit import AuditEventAnswer, AuditExportQuery, AuditQuery, ChainAnswer
from app.actor import Actor
from app.permissions import Permission
from app.services import audit_reading

router = Routes("/audit", "audit")
Reader = Annotated[Actor, Depends(May(Permission.AUDIT_READ))]

EXPORTED = (
    *(
        "id",
        "occurred_at",
        "worker_id",
        "who",
        "role",
        "institution",
        "action",
        "target",
        "outcome",
        "address",
    ),
    "request_id",
)


@router.get("", response_model=Items[AuditEventAnswer], responses=errors(422, 503))
def list_audit(actor: Reader, query: Annotated[AuditQuery, Query()]) -> Any:
    """List events, the newest first, a page at a time."""
    with audit_reading.trail_opened(actor, read_only=True) as trail:
        return audit_reading.list_events(
            trail, actor=actor, filter=query.filter(), cursor=query.cursor, limit=query.limit
        )


@router.get("/export", response_class=Response, responses={**DOWNLOAD_RESPONSE, **errors(422, 503)})
def export_audit(actor: Reader, query: Annotated[AuditExportQuery, Query()]) -> Response:
    """Download every event of a filter as CSV or Excel; that it was exported is an event too."""
    with audit_reading.trail_opened(actor) as trail:
        events = audit_reading.events_for_export(trail, actor=actor, filter=query.filter())
        rows = ([getattr(event, name) for name in EXPORTED] for event in events)
        return download(EXPORTED, rows, name="audit", format=query.format)


@router.get("/head", response_model=ChainAnswer, responses=errors(503))
def audit_head(actor: Reader) -> Any:
    """Read how far the trail is sealed, the last seal's hash, and what the last verification found."""
    with audit_reading.trail_opened(actor, read_only=True) as trail:
        state = audit_reading.trail_state(trail, actor=actor)
    return {**vars(state), **vars(state.head)}
