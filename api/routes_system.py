"""How the product is at work: what is wrong, what to do, and what was answered."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends

from api.dependencies import May
from api.routing import Routes
from api.schemas import errors
from api.schemas_system import SystemAnswer
from app.actor import Actor
from app.databases import central_read_session, central_session
from app.permissions import Permission
from app.services import system

router = Routes("/system", "system")
Reader = Annotated[Actor, Depends(May(Permission.SYSTEM_READ))]


@router.get("", response_model=SystemAnswer, responses=errors(503))
def system_state(actor: Reader) -> Any:
    """Say how database, federation, disk, backups and audit are, what is wrong, and what was answered lately."""
    with central_session() as central:
        view = system.system_view(central=central, actor=actor)
    with central_read_session() as central:
        history = system.system_history(central=central, actor=actor)
    return {**vars(view.state), "findings": view.findings, **vars(history)}
