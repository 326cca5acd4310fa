"""What anybody may know of a model version: where it comes from, how good it is for whom, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from app.actor import Actor
from app.errors import NoModelYet, NotFound
from app.permissions import Permission
from app.services.metrics import finite
from app.services.model_quality import GroupQuality, SmokerInterval, quality_by_group, smoker_intervals
from app.services.models import calibration_of
from db.central import Institution, ModelVersion, SiteResult
from db.states import Phase, SiteOutcome, VersionStatus


@dataclass(frozen=True)
class InstitutionPart:
    """One institution's part in a version.

    Attributes
    ----------
    rows_trained
        Rows that its weights were trained on; None if it took no part in the Round that made the version.
    rows_held_out, r2, mae, rmse
        How good the version is on its own held-out rows, MAE and RMSE in USD a year; None if it did not say.
    r2_before
        R2 of the version in use before, on the same rows.
    """

    code: str
    name: str
    rows_trained: int | None
    rows_held_out: int | None = None
    r2: float | None = None
    mae: float | None = None
    rmse: float | None = None
    r2_before: float | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model version as its card describes it; MAE and RMSE in USD a year.

    Attributes
    ----------
    before
        Version that was in use when this one was made, if there was one.
    num_examples
        Rows trained on, all institutions together.
    """

    version: str
    status: str
    trained_at: datetime
    run_id: int | None
    training_round: int | None
    num_examples: int
    weights_sha256: str
    r2: float | None
    mae: float | None
    rmse: float | None
    decision: str | None
    before: str | None
    institutions: list[InstitutionPart]
    groups: list[GroupQuality]
    intervals: list[SmokerInterval]


def model_card(*, central: Session, actor: Actor, version: str | None = None) -> ModelCard:
    """Describe a version; the one in use if none is named.

    A version that never came into use is described only to those who compare models.

    Raises
    ------
    NoModelYet
        If none is named and none is in use.
    NotFound
        If there is no such version for this person.
    """
    actor.require(Permission.MODEL_CARD)
    query = select(ModelVersion).options(defer(ModelVersion.weights))
    if version is None:
        row = central.scalars(query.where(ModelVersion.status == VersionStatus.CHAMPION)).one_or_none()
        if row is None:
            raise NoModelYet
    else:
        row = central.scalars(query.where(ModelVersion.version == version)).one_or_none()
        was_in_use = row is not None and row.status in (VersionStatus.CHAMPION, VersionStatus.RETIRED)
        if row is None or not (was_in_use or actor.may(Permission.MODELS_READ)):
            raise NotFound(f"There is no model version {version[:50]!r}.")
    before = row.metrics.get("champion") or {}
    return ModelCard(
        version=row.version,
        status=row.status,
        trained_at=row.trained_at,
        run_id=row.run_id,
        training_round=row.training_round,
        num_examples=row.num_examples,
        weights_sha256=row.weights_sha256,
        r2=finite(row.r2),
        mae=finite(row.mae),
        rmse=finite(row.rmse),
        decision=row.metrics.get("decision"),
        before=before.get("version"),
        institutions=_institutions(central, row, before.get("institutions") or {}),
        groups=quality_by_group(row.metrics),
        intervals=smoker_intervals(calibration_of(row)),
    )


def _institutions(
    central: Session, row: ModelVersion, before: Mapping[str, Mapping[str, Any]]
) -> list[InstitutionPart]:
    evaluated: Mapping[str, Mapping[str, Any]] = row.metrics.get("institutions") or {}
    names = dict(central.execute(select(Institution.code, Institution.name)).all())
    trained = dict(
        central.execute(
            select(Institution.code, SiteResult.num_examples)
            .join(Institution, Institution.id == SiteResult.institution_id)
            .where(
                SiteResult.run_id == row.run_id,
                SiteResult.round_number == row.training_round,
                SiteResult.phase == Phase.TRAIN,
                SiteResult.outcome == SiteOutcome.OK,
            )
        ).all()
    )
    parts = []
    for code in sorted(trained.keys() | evaluated.keys()):
        here = evaluated.get(code, {})
        parts.append(
            InstitutionPart(
                code=code,
                name=names.get(code, code),
                rows_trained=trained.get(code),
                rows_held_out=here.get("num_examples"),
                r2=finite(here.get("r2")),
                mae=finite(here.get("mae")),
                rmse=finite(here.get("rmse")),
                r2_before=finite(before.get(code, {}).get("r2")),
            )
        )
    return parts
