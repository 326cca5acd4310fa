"""What the ServerApp needs to know of its Run before it begins, read from the central database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, undefer

from db.central import Institution, ModelVersion, TrainingRound, TrainingRun
from db.engines import sessions_for
from db.states import RunKind, VersionStatus
from fl.evaluation import Metrics
from fl.features import Preprocessing
from fl.model import CostModel, Weights, weights_from_bytes
from fl.settings import RunSettings

LOOK_SECONDS = 0.1
Model = tuple[str, CostModel]  # a version's name and what it predicts with


@dataclass(frozen=True)
class Progress:
    """The Rounds of an earlier Run that this one goes on with.

    Attributes
    ----------
    run_id
        Of the earlier Run.
    weights
        Round number -> aggregated weights; from 1 on without a gap, empty if none was saved.
    metrics
        Round number -> metrics of those Rounds that were evaluated.
    rows
        Round number -> institution code -> rows that it trained on.
    server_state
        Of the strategy after the last of these Rounds.
    receipt_sha256
        Of the last of these Rounds.
    """

    run_id: int
    strategy: str
    seed: int
    preprocessing: Preprocessing | None
    weights: dict[int, Weights] = field(default_factory=dict)
    metrics: dict[int, Metrics] = field(default_factory=dict)
    rows: dict[int, dict[str, int]] = field(default_factory=dict)
    server_state: bytes | None = None
    receipt_sha256: str | None = None

    @property
    def last_round(self) -> int:
        """Number of the last Round that was saved; 0 if there is none."""
        return len(self.weights)


@dataclass(frozen=True)
class RunPlan:
    """A Run as it was asked for.

    Attributes
    ----------
    institutions
        Institution code -> its id in the central database.
    champion
        The version in use with its model, or None.
    start
        The version that training starts from, or that an evaluation is of, with its model; or None.
    resumed
        The earlier Run that this one goes on with, or None.
    stored_settings
        The settings just as the Run's row holds them: what receipts hash.
    """

    run_id: int
    kind: RunKind
    num_rounds: int
    strategy: str
    seed: int
    settings: RunSettings
    institutions: dict[str, int]
    champion: Model | None
    start: Model | None = None
    resumed: Progress | None = None
    stored_settings: Mapping[str, Any] = field(default_factory=dict)


def wait_for_run(database_url: str, flwr_run_id: str) -> int:
    """Wait until the supervisor gives a Run to the ServerApp of this Flower run; return the Run's id.

    A database that does not answer is waited for too: the supervisor ends the waiting if it stays away.
    """
    query = select(TrainingRun.id).where(TrainingRun.flwr_run_id == flwr_run_id)
    while True:
        with suppress(SQLAlchemyError), sessions_for(database_url)() as session:
            run_id = session.scalar(query)
            if run_id is not None:
                return run_id
        time.sleep(LOOK_SECONDS)


def read_plan(session: Session, run_id: int) -> RunPlan:
    """Read the Run, the institutions, the champion, and what the Run starts from.

    A Run that is to start from the version in use is bound to it here if it was not before: another may come into use
    meanwhile.
    """
    run = session.get_one(TrainingRun, run_id)
    settings = RunSettings.from_json(run.settings)
    champion = session.scalar(select(ModelVersion).where(ModelVersion.status == VersionStatus.CHAMPION))
    if (
        settings.start_from == "champion"
        and not run.start_version_id
        and not run.resumed_from_id
        and champion
    ):
        run.start_version_id = champion.id
    start = session.get_one(ModelVersion, run.start_version_id) if run.start_version_id else None
    earlier = session.get_one(TrainingRun, run.resumed_from_id) if run.resumed_from_id else None
    return RunPlan(
        run_id=run.id,
        kind=RunKind(run.kind),
        num_rounds=run.num_rounds,
        strategy=run.strategy,
        seed=run.seed,
        settings=settings,
        institutions={
            row.code: row.id for row in session.scalars(select(Institution).where(Institution.is_active))
        },
        champion=_model_of(champion),
        start=_model_of(start),
        resumed=_progress_of(session, earlier) if earlier else None,
        stored_settings=run.settings,
    )


def _progress_of(session: Session, run: TrainingRun) -> Progress:
    rows = session.scalars(
        select(TrainingRound)
        .where(TrainingRound.run_id == run.id, TrainingRound.weights.is_not(None))
        .order_by(TrainingRound.round_number)
        .options(undefer(TrainingRound.weights), undefer(TrainingRound.server_state))
    )
    saved = [row for place, row in enumerate(rows, start=1) if row.round_number == place]
    return Progress(
        run_id=run.id,
        strategy=run.strategy,
        seed=run.seed,
        preprocessing=Preprocessing.from_json(run.preprocessing) if run.preprocessing else None,
        weights={row.round_number: weights_from_bytes(row.weights) for row in saved if row.weights},
        metrics={
            row.round_number: Metrics(row.num_examples, row.loss, row.mae, row.rmse, row.r2)
            for row in saved
            if row.num_examples is not None
            and row.loss is not None
            and row.mae is not None
            and row.rmse is not None
        },
        rows={
            row.round_number: {
                code: int(site["num_examples"])
                for code, site in row.metrics.get("receipt", {}).get("participants", {}).items()
            }
            for row in saved
        },
        server_state=saved[-1].server_state if saved else None,
        receipt_sha256=saved[-1].receipt_sha256 if saved else None,
    )


def _model_of(version: ModelVersion | None) -> Model | None:
    if version is None:
        return None
    preprocessing: Mapping[str, Any] = version.preprocessing
    return version.version, CostModel(
        Preprocessing.from_json(preprocessing), weights_from_bytes(version.weights)
    )
