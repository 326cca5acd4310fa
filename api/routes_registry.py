"""The registry of model versions: read, decide, propose, shadow, export and import."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Response

from api.dependencies import Cursor, Limit, May
from api.files import FORM, SentFile, sent_file
from api.routes_models import VERSION_NAME
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_models import VersionAnswer
from api.schemas_registry import DecisionRequest, ReasonRequest, RegisteredAnswer, ShadowRequest
from app.actor import Actor
from app.databases import central_session
from app.permissions import Permission
from app.services import model_comparison, model_files, models, registry, registry_history, shadow

router = Routes("/models", "models")
Comparer = Annotated[Actor, Depends(May(Permission.MODELS_READ))]
Decider = Annotated[Actor, Depends(May(Permission.PROMOTE))]
Proposer = Annotated[Actor, Depends(May(Permission.PROMOTION_PROPOSE))]
Exporter = Annotated[Actor, Depends(May(Permission.MODELS_EXPORT))]
Importer = Annotated[Actor, Depends(May(Permission.MODELS_IMPORT))]
Version = Annotated[str, Path(max_length=50, pattern=VERSION_NAME, description="name of a model version")]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": dict.fromkeys(model_files.MEDIA_TYPES.values(), _BINARY),
    }
}
_FORM = {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}
_KERAS = {"required": True, "content": {"application/zip": _BINARY, FORM: {"schema": _FORM}}}
_DECIDING = errors(400, 404, 409, 413, 422, 503)


@router.get("", response_model=Items[VersionAnswer], responses=errors(422, 503))
def list_models(actor: Comparer, cursor: Cursor = None, limit: Limit = 20) -> Any:
    """List every model version, the newest first, in use or not."""
    with central_session() as central:
        return models.list_versions(central=central, actor=actor, cursor=cursor, limit=limit)


@router.post(
    "/import",
    status_code=201,
    response_model=VersionAnswer,
    responses=errors(400, 409, 413, 422, 503),
    openapi_extra={"requestBody": _KERAS},
)
def import_model(
    actor: Importer,
    sent: Annotated[SentFile, Depends(sent_file)],
    use_scaler_in_use: Annotated[
        bool,
        Query(description="the file is the bare network: take the scaler of the version in use"),
    ] = False,
) -> Any:
    """Take a `.keras` file of our network in as a candidate, which is to be evaluated; 422 says what is different."""
    with central_session() as central:
        return model_files.import_keras(
            central=central,
            actor=actor,
            content=sent.content,
            file_name=sent.name,
            use_scaler_in_use=use_scaler_in_use,
        )


@router.get("/{version}", response_model=RegisteredAnswer, responses=errors(404, 422, 503))
def get_model(actor: Comparer, version: Version) -> Any:
    """Read one model version: where it comes from, how it compares, what was decided of it and why."""
    with central_session() as central:
        row = models.get_version(central=central, actor=actor, version=version)
        return {
            **{name: getattr(row, name) for name in (*VersionAnswer.model_fields, "lineage")},
            "comparison": model_comparison.comparison(central=central, actor=actor, version=version),
            "decisions": registry_history.decisions(central=central, actor=actor, version=version),
            "proposals": registry_history.open_proposals(central=central, actor=actor, version=version),
            "shadow": shadow.shadow_reports(central=central, actor=actor, version=version),
        }


@router.get("/{version}/export", response_class=Response, responses={**errors(404, 409, 422, 503), **_FILE})
def export_model(
    actor: Exporter,
    version: Version,
    format: Annotated[
        model_files.Format, Query(description="`keras` takes some seconds the first time")
    ] = "onnx",
) -> Response:
    """Download a version as a file that takes 13 unscaled inputs and answers USD a year; who did so is kept."""
    with central_session() as central:
        file = model_files.export_version(central=central, actor=actor, version=version, format=format)
    named = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return Response(file.content, media_type=file.media_type, headers=named)


@router.post("/{version}/promote", response_model=VersionAnswer, responses=_DECIDING)
def promote_model(actor: Decider, version: Version, request: DecisionRequest) -> Any:
    """Put a version into use; 409 if another one is in use than expected, or this one has no figures."""
    with central_session() as central:
        return registry.promote(
            central=central,
            actor=actor,
            version=version,
            reason=request.reason,
            expected_champion=request.expected_champion,
        )


@router.post("/{version}/rollback", response_model=VersionAnswer, responses=_DECIDING)
def roll_back_to_model(actor: Decider, version: Version, request: DecisionRequest) -> Any:
    """Put a version that was in use before into use again, in one step."""
    with central_session() as central:
        return registry.roll_back(
            central=central,
            actor=actor,
            version=version,
            reason=request.reason,
            expected_champion=request.expected_champion,
        )


@router.post("/{version}/reject", response_model=VersionAnswer, responses=_DECIDING)
def reject_model(actor: Decider, version: Version, request: ReasonRequest) -> Any:
    """Decide against a candidate; it stays on record."""
    with central_session() as central:
        return registry.reject(central=central, actor=actor, version=version, reason=request.reason)


@router.post("/{version}/propose", status_code=204, responses=_DECIDING)
def propose_model(actor: Proposer, version: Version, request: ReasonRequest) -> None:
    """Ask the administrators to promote a candidate."""
    with central_session() as central:
        registry.propose(central=central, actor=actor, version=version, reason=request.reason)


@router.post("/{version}/shadow", response_model=VersionAnswer, responses=_DECIDING)
def shadow_model(actor: Decider, version: Version, request: ShadowRequest) -> Any:
    """Let a candidate predict beside the version in use, shown to nobody, or stop that."""
    decide = registry.start_shadow if request.active else registry.stop_shadow
    with central_session() as central:
        return decide(central=central, actor=actor, version=version, reason=request.reason)
