"""Runs beside each other: their Rounds, where their settings differ, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import InvalidInput, NotFound
from app.permissions import Permission
from app.services.metrics import finite
from app.services.monitoring import RoundPoint
from app.services.paging import LARGEST_ID
from app.services.run_list import RunLine, run_lines
from app.services.run_results import Baseline, baseline_of
from app.services.run_sites import is_drawn, step_for
from db.central import TrainingRound, TrainingRun
from fl.features import FieldProblem
from fl.settings import RunSettings

MAX_COMPARED = 8


@dataclass(frozen=True)
class ComparedRun:
    """One of the Runs that are compared.

    Attributes
    ----------
    points
        Every evaluated Round of a short Run; of a long one as many as a chart shows.
    last
        The last evaluated Round.
    best
        The Round with the lowest loss, whose model a Run keeps.
    """

    line: RunLine
    settings: dict[str, Any]
    seed: int
    points: list[RoundPoint]
    last: RoundPoint | None
    best: RoundPoint | None
    baseline: Baseline | None


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were asked for.

    Attributes
    ----------
    differing
        What was chosen differently: name of the setting -> its values, one a Run. Besides the settings these are
        `strategy`, `num_rounds` and `seed`.
    """

    runs: list[ComparedRun]
    differing: dict[str, list[Any]]


def compare_runs(*, central: Session, actor: Actor, run_ids: Sequence[int]) -> Comparison:
    """Read up to eight Runs beside each other.

    Raises
    ------
    InvalidInput
        If there are more than eight.
    NotFound
        Naming a Run that does not exist.
    """
    actor.require(Permission.TRAINING_READ)
    wanted = list(dict.fromkeys(run_ids))
    if len(wanted) > MAX_COMPARED:
        raise InvalidInput(
            [FieldProblem("runs", f"At most {MAX_COMPARED} runs can be compared, not {len(wanted)}.")]
        )
    possible = [run_id for run_id in wanted if 0 < run_id <= LARGEST_ID]
    lines = {
        line.id: line
        for line in run_lines(central=central, actor=actor, ids=possible, limit=MAX_COMPARED).items
    }
    for run_id in wanted:
        if run_id not in lines:
            raise NotFound(f"There is no Run {run_id}.")
    about = {
        row[0]: row[1:]
        for row in central.execute(
            select(TrainingRun.id, TrainingRun.settings, TrainingRun.seed, TrainingRun.results).where(
                TrainingRun.id.in_(wanted)
            )
        )
    }
    rounds = _rounds(central, wanted)
    runs = []
    for run_id in wanted:
        settings, seed, results = about[run_id]
        points = rounds.get(run_id, [])
        span = (points[0].round_number, points[-1].round_number) if points else (1, 1)
        step = step_for(span)
        runs.append(
            ComparedRun(
                line=lines[run_id],
                settings=RunSettings.from_json(settings).to_json(),
                seed=seed,
                points=[p for p in points if is_drawn(p.round_number, span, step, span[1])],
                last=points[-1] if points else None,
                best=min(points, key=lambda p: p.loss if p.loss is not None else float("inf"), default=None),
                baseline=baseline_of(results),
            )
        )
    return Comparison(runs, _differing(runs))


def _rounds(central: Session, run_ids: Sequence[int]) -> dict[int, list[RoundPoint]]:
    rows = central.execute(
        select(
            TrainingRound.run_id,
            TrainingRound.round_number,
            TrainingRound.loss,
            TrainingRound.mae,
            TrainingRound.rmse,
            TrainingRound.r2,
            TrainingRound.num_examples,
            TrainingRound.clients_participated,
        )
        .where(TrainingRound.run_id.in_(run_ids), TrainingRound.loss.is_not(None))
        .order_by(TrainingRound.run_id, TrainingRound.round_number)
    )
    rounds: dict[int, list[RoundPoint]] = {}
    for run_id, number, loss, mae, rmse, r2, num_examples, clients in rows:
        point = RoundPoint(
            number, finite(loss), finite(mae), finite(rmse), finite(r2), num_examples, clients, None
        )
        rounds.setdefault(run_id, []).append(point)
    return rounds


def _differing(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {
        "strategy": [run.line.strategy for run in runs],
        "num_rounds": [run.line.num_rounds for run in runs],
        **{field.name: [run.settings[field.name] for run in runs] for field in fields(RunSettings)},
        "seed": [run.seed for run in runs],
    }
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}
