"""Whether the own institution takes part, and the institutions of the consortium."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from api.dependencies import Cursor, Limit, May
from api.links import answered_link
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_institutions import (
    AddedAnswer,
    ApprovalAnswer,
    ApprovalRequest,
    InstitutionAnswer,
    InstitutionRequest,
    ParticipationAnswer,
    ParticipationRequest,
    ParticipationState,
    StatusAnswer,
    StatusRequest,
)
from app.actor import Actor
from app.databases import central_session, site_session
from app.permissions import Permission
from app.services import institution_adding, institutions, participation
from app.services.institution_adding import NewPerson

router = Routes("", "institutions")
Decider = Annotated[Actor, Depends(May(Permission.PARTICIPATION))]
Manager = Annotated[Actor, Depends(May(Permission.INSTITUTIONS_MANAGE))]


@router.get("/participation", response_model=ParticipationAnswer, responses=errors(503))
def get_participation(actor: Decider) -> Any:
    """Say whether the own institution takes part, and which Runs wait for its approval."""
    with central_session() as central, site_session(actor) as site:
        view = participation.participation(site=site, central=central, actor=actor)
    return {**vars(view.decision), "waiting": view.waiting, "decided": view.decided}


@router.put("/participation", response_model=ParticipationState, responses=errors(400, 413, 422, 503))
def change_participation(actor: Decider, request: ParticipationRequest) -> Any:
    """Let the own institution take part in every Run, in none, or in each after approval."""
    with central_session() as central, site_session(actor) as site:
        return participation.change_participation(
            site=site, central=central, actor=actor, consent=request.consent, reason=request.reason
        )


@router.post(
    "/participation/approvals/{run_id}",
    response_model=ApprovalAnswer,
    responses=errors(400, 404, 409, 413, 422, 503),
)
def decide_run(actor: Decider, run_id: int, request: ApprovalRequest) -> Any:
    """Approve or refuse a Run's settings for the own institution; 409 if that was decided or they changed."""
    with central_session() as central, site_session(actor) as site:
        return participation.decide_run(
            site=site,
            central=central,
            actor=actor,
            run_id=run_id,
            approve=request.approve,
            settings_sha256=request.settings_sha256,
        )


@router.get("/institutions", response_model=Items[InstitutionAnswer], responses=errors(422, 503))
def list_institutions(actor: Manager, cursor: Cursor = None, limit: Limit = 25) -> Any:
    """List the institutions of the consortium by name, with the state of their Sites."""
    with central_session() as central:
        return institutions.list_institutions(central=central, actor=actor, cursor=cursor, limit=limit)


@router.post(
    "/institutions", status_code=201, response_model=AddedAnswer, responses=errors(400, 409, 413, 422, 503)
)
def add_institution(actor: Manager, http: Request, request: InstitutionRequest) -> Any:
    """Add an institution with its first accounts, whose one-time links are answered this once."""
    with central_session() as central:
        added = institution_adding.add_institution(
            central=central,
            actor=actor,
            code=request.code,
            name=request.name,
            address=request.address,
            manager=NewPerson(request.manager.name, request.manager.email),
            doctor=NewPerson(request.doctor.name, request.doctor.email) if request.doctor else None,
        )
    commands = None if added.database_made else institution_adding.site_commands(added.code)
    accounts = [{**vars(account), "link": answered_link(http, account.link)} for account in added.accounts]
    return {**vars(added), "accounts": accounts, "site_commands": commands}


@router.post(
    "/institutions/{code}/deactivate",
    response_model=StatusAnswer,
    responses=errors(400, 404, 409, 413, 422, 503),
)
def deactivate_institution(actor: Manager, code: str, request: StatusRequest) -> Any:
    """Stop asking an institution; 409 if it is not active."""
    with central_session() as central:
        return institutions.set_active(
            central=central, actor=actor, code=code, active=False, reason=request.reason
        )


@router.post(
    "/institutions/{code}/reactivate",
    response_model=StatusAnswer,
    responses=errors(400, 404, 409, 413, 422, 503),
)
def reactivate_institution(actor: Manager, code: str, request: StatusRequest) -> Any:
    """Ask an institution again; 409 if it is active."""
    with central_session() as central:
        return institutions.set_active(
            central=central, actor=actor, code=code, active=True, reason=request.reason
        )
