"""A version beside the one in use on the same held-out rows: overall, by hospital and by group of patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services import models
from app.services.metrics import finite
from db.central import Institution, ModelVersion, TrainingRun
from db.states import RunKind, RunStatus
from fl.features import FEATURE_BY_NAME
from fl.groups import GROUPS

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two versions on the same rows; MAE and RMSE in USD a year, None where a figure is not known or withheld.

    Attributes
    ----------
    label
        Of which rows, as people read it.
    """

    label: str
    num_examples: int | None
    r2: float | None
    champion_r2: float | None
    mae: float | None
    champion_mae: float | None
    rmse: float | None
    champion_rmse: float | None


@dataclass(frozen=True)
class Comparison:
    """A version beside the one that was in use when they were compared.

    Attributes
    ----------
    run_id
        The Run that compared them, and when it ended.
    overall
        None if the version is of before that was kept.
    groups
        Feature's label -> its groups; empty if the version is of before that was kept.
    """

    version: str
    champion: str
    run_id: int | None
    compared_at: datetime | None
    decision: str | None
    overall: Pair | None
    institutions: list[Pair]
    groups: dict[str, list[Pair]]


def comparison(*, central: Session, actor: Actor, version: str) -> Comparison | None:
    """Return the latest comparison of a version with one that was in use; None if there was none.

    Raises
    ------
    NotFound
        If there is no such version.
    """
    actor.require(Permission.MODELS_READ)
    row = models.find_version(central, version)
    names = dict(central.execute(select(Institution.code, Institution.name)).all())
    evaluation = central.execute(
        select(TrainingRun.id, TrainingRun.finished_at, TrainingRun.results["evaluation"])
        .where(
            TrainingRun.kind == RunKind.EVALUATION,
            TrainingRun.status == RunStatus.COMPLETED,
            TrainingRun.start_version_id == row.id,
        )
        .order_by(TrainingRun.id.desc())
        .limit(1)
    ).first()
    if evaluation is not None and (evaluation[2] or {}).get("champion"):
        return _of_evaluation(row, names, *evaluation)
    return _of_its_own_run(central, row, names)


def _of_evaluation(
    row: ModelVersion, names: Mapping[str, str], run_id: int, at: datetime | None, found: Figures
) -> Comparison:
    overall = found.get("overall") or {}
    groups = found.get("groups") or {}
    by_code: Mapping[str, Figures] = found.get("institutions") or {}
    return Comparison(
        version=row.version,
        champion=str(found["champion"]),
        run_id=run_id,
        compared_at=at,
        decision=found.get("decision"),
        overall=_pair("All hospitals", overall.get("version"), overall.get("champion")),
        institutions=[
            _pair(names.get(code, code), by_code[code].get("version"), by_code[code].get("champion"))
            for code in sorted(by_code)
        ],
        groups=_groups(groups.get("version"), groups.get("champion")),
    )


def _of_its_own_run(central: Session, row: ModelVersion, names: Mapping[str, str]) -> Comparison | None:
    before = row.metrics.get("champion") or {}
    if not before.get("version"):
        return None
    ours: Mapping[str, Figures] = row.metrics.get("institutions") or {}
    theirs: Mapping[str, Figures] = before.get("institutions") or {}
    overall = before.get("overall")
    finished = central.scalar(select(TrainingRun.finished_at).where(TrainingRun.id == row.run_id))
    return Comparison(
        version=row.version,
        champion=str(before["version"]),
        run_id=row.run_id,
        compared_at=finished,
        decision=row.metrics.get("decision"),
        overall=_pair(
            "All hospitals",
            {
                "r2": row.r2,
                "mae": row.mae,
                "rmse": row.rmse,
                "num_examples": overall.get("num_examples"),
            },
            overall,
        )
        if overall
        else None,
        institutions=[_pair(names.get(code, code), ours[code], theirs.get(code)) for code in sorted(ours)],
        groups=_groups(row.metrics.get("groups"), before.get("groups")),
    )


def _groups(
    ours: Mapping[str, Mapping[str, Figures | None]] | None,
    theirs: Mapping[str, Mapping[str, Figures | None]] | None,
) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    if not ours or not theirs:
        return found
    for group in GROUPS:
        if group.code in ours.get(group.feature, {}):
            pair = _pair(
                group.label, ours[group.feature][group.code], theirs.get(group.feature, {}).get(group.code)
            )
            found.setdefault(FEATURE_BY_NAME[group.feature].label, []).append(pair)
    return found


def _pair(label: str, ours: Figures | None, theirs: Figures | None) -> Pair:
    mine, other = ours or {}, theirs or {}
    return Pair(
        label=label,
        num_examples=mine.get("num_examples"),
        r2=finite(mine.get("r2")),
        champion_r2=finite(other.get("r2")),
        mae=finite(mine.get("mae")),
        champion_mae=finite(other.get("mae")),
        rmse=finite(mine.get("rmse")),
        champion_rmse=finite(other.get("rmse")),
    )
