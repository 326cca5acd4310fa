"""Which keys an institution's SuperNode may have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends

from api.dependencies import May
from api.routing import Routes
from api.schemas import errors
from api.schemas_supernode_keys import KeyAnswer, KeyRequest, RevokeRequest
from app.actor import Actor
from app.databases import central_session
from app.permissions import Permission
from app.services import supernode_keys

router = Routes("", "institutions")
Manager = Annotated[Actor, Depends(May(Permission.INSTITUTIONS_MANAGE))]


@router.get("/institutions/{code}/keys", response_model=list[KeyAnswer], responses=errors(404, 422, 503))
def list_supernode_keys(actor: Manager, code: str) -> Any:
    """List the keys of an institution's SuperNode, the newest first, revoked ones too."""
    with central_session() as central:
        return supernode_keys.list_keys(central=central, actor=actor, code=code)


@router.post(
    "/institutions/{code}/keys",
    status_code=201,
    response_model=KeyAnswer,
    responses=errors(400, 404, 409, 413, 422, 503),
)
def register_supernode_key(actor: Manager, code: str, request: KeyRequest) -> Any:
    """Let the holder of a key answer for an institution; 409 if the key is or was registered."""
    with central_session() as central:
        return supernode_keys.register_key(
            central=central, actor=actor, code=code, public_key=request.public_key
        )


@router.post(
    "/institutions/{code}/keys/{key_id}/revoke",
    response_model=KeyAnswer,
    responses=errors(400, 404, 409, 413, 422, 503),
)
def revoke_supernode_key(actor: Manager, code: str, key_id: int, request: RevokeRequest) -> Any:
    """Shut the holder of a key out for good; 409 if it is revoked already."""
    with central_session() as central:
        return supernode_keys.revoke_key(
            central=central, actor=actor, code=code, key_id=key_id, reason=request.reason
        )
