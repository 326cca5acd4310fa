"""What was decided about model versions, what was proposed and not decided yet, and what can be rolled back to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.orm import Session, aliased, defer

from app.actor import Actor
from app.errors import Conflict
from app.permissions import Permission
from db.central import MedicalWorker, ModelVersion, Promotion
from db.states import PromotionAction, VersionStatus

# What decides about a version; an earlier proposal of it is then answered.
_DECISIONS = (PromotionAction.PROMOTE, PromotionAction.REJECT, PromotionAction.ROLLBACK)


@dataclass(frozen=True)
class Decision:
    """One line of the history: what happened to a version, by whom, and why.

    Attributes
    ----------
    previous
        The version that was in use before, if this changed which one is.
    worker
        Name of who did it; None: the rule after a Run.
    """

    version: str
    previous: str | None
    action: PromotionAction
    worker: str | None
    reason: str
    at: datetime


def decisions(
    *, central: Session, actor: Actor, version: str | None = None, limit: int = 50
) -> list[Decision]:
    """List what was decided, the newest first: of one version, or of which version was in use when."""
    actor.require(Permission.MODELS_READ)
    chosen = (
        ModelVersion.version == version
        if version is not None
        else Promotion.action.in_((PromotionAction.PROMOTE, PromotionAction.ROLLBACK))
    )
    return decisions_where(central, chosen, limit)


def open_proposals(*, central: Session, actor: Actor, version: str | None = None) -> list[Decision]:
    """List the proposals that nobody has decided on yet, the newest first: of one version or of all."""
    actor.require(Permission.MODELS_READ)
    of_version = true() if version is None else ModelVersion.version == version
    return decisions_where(central, and_(undecided(), of_version), 100)


def rollback_targets(*, central: Session, actor: Actor) -> list[str]:
    """Name the versions that can be rolled back to, the one that was in use before first, then the newest."""
    actor.require(Permission.MODELS_READ)
    retired = central.scalars(
        select(ModelVersion.version)
        .where(ModelVersion.status == VersionStatus.RETIRED)
        .order_by(ModelVersion.id.desc())
    ).all()
    try:
        previous = previous_of(central, champion_row(central))
    except Conflict:
        return list(retired)
    return [previous, *(name for name in retired if name != previous)]


def champion_row(central: Session) -> ModelVersion | None:
    """Read the version in use without its weights."""
    query = select(ModelVersion).where(ModelVersion.status == VersionStatus.CHAMPION)
    return central.scalars(query.options(defer(ModelVersion.weights))).one_or_none()


def previous_of(central: Session, champion: ModelVersion | None) -> str:
    """Name the version that was in use before the champion."""
    query = (
        select(ModelVersion.version)
        .join(Promotion, Promotion.previous_version_id == ModelVersion.id)
        .where(
            ModelVersion.status == VersionStatus.RETIRED,
            Promotion.model_version_id == (champion.id if champion else None),
            Promotion.action.in_((PromotionAction.PROMOTE, PromotionAction.ROLLBACK)),
        )
        .order_by(Promotion.id.desc())
        .limit(1)
    )
    previous = central.scalar(query)
    if previous is None:
        raise Conflict("No other version was in use before, so there is nothing to roll back to.")
    return previous


def decisions_where(central: Session, chosen: ColumnElement[bool], limit: int) -> list[Decision]:
    previous = aliased(ModelVersion)
    query = (
        select(
            ModelVersion.version,
            previous.version,
            Promotion.action,
            MedicalWorker.name,
            Promotion.reason,
            Promotion.created_at,
        )
        .join(ModelVersion, ModelVersion.id == Promotion.model_version_id)
        .join(previous, previous.id == Promotion.previous_version_id, isouter=True)
        .join(MedicalWorker, MedicalWorker.id == Promotion.worker_id, isouter=True)
        .where(chosen)
        .order_by(Promotion.id.desc())
        .limit(limit)
    )
    return [
        Decision(version, before, PromotionAction(action), worker, reason, at)
        for version, before, action, worker, reason, at in central.execute(query)
    ]


def undecided() -> ColumnElement[bool]:
    """Return the condition that a row is a proposal on which nobody has decided yet."""
    decided = aliased(Promotion)
    later = (
        select(decided.id)
        .where(
            decided.model_version_id == Promotion.model_version_id,
            decided.id > Promotion.id,
            decided.action.in_(_DECISIONS),
        )
        .exists()
    )
    return and_(Promotion.action == PromotionAction.PROPOSE, ~later)
