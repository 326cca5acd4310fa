"""Writes a Run into the central database as it happens; every method is one committed transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db.central import Institution, ModelVersion, Promotion, SiteResult, TrainingRound, TrainingRun
from db.engines import sessions_for
from db.federation import RunEvent
from db.states import (
    ENDED_STATUSES,
    EventSeverity,
    Phase,
    PromotionAction,
    RoundStatus,
    RunKind,
    RunStatus,
    SiteOutcome,
    VersionStatus,
)
from fl.evaluation import SMALLEST_CELL, Metrics
from fl.features import Preprocessing
from fl.model import CostModel, Weights, weights_from_bytes, weights_sha256, weights_to_bytes
from fl.settings import RunSettings

LOOK_SECONDS = 0.1


class RunCancelled(Exception):
    """Somebody asked for the Run to be cancelled."""


class RunAlreadyEnded(Exception):
    """The Run was ended from outside, for example by the supervisor; nothing may be added to it."""


@dataclass(frozen=True)
class RunPlan:
    """What the ServerApp needs to know of its Run.

    Attributes
    ----------
    institutions
        Institution code -> its id in the central database.
    champion
        The version in use with its model, or None.
    """

    run_id: int
    kind: RunKind
    num_rounds: int
    strategy: str
    seed: int
    settings: RunSettings
    institutions: dict[str, int]
    champion: tuple[str, CostModel] | None


@dataclass(frozen=True)
class NewVersion:
    """A ModelVersion about to be saved.

    Attributes
    ----------
    metrics
        Pooled over all Sites' held-out rows.
    details
        JSON: per institution, and the champion on the same rows.
    promote
        Whether the rule makes it champion; `reason` says why or why not.
    """

    weights: Weights
    preprocessing: Preprocessing
    training_round: int
    num_examples: int
    metrics: Metrics
    details: dict[str, Any]
    promote: bool
    reason: str


def wait_for_run(database_url: str, flwr_run_id: str) -> int:
    """Wait until the supervisor gives a Run to the ServerApp of this Flower run; return the Run's id.

    A database that is away is waited for too: the supervisor knows when to stop waiting.
    """
    query = select(TrainingRun.id).where(TrainingRun.flwr_run_id == flwr_run_id)
    while True:
        try:
            with sessions_for(database_url)() as session:
                run_id = session.scalar(query)
        except SQLAlchemyError:
            run_id = None
        if run_id is not None:
            return run_id
        time.sleep(LOOK_SECONDS)


class RunRecorder:
    """The one writer of a Run's rounds, site results and outcome."""

    def __init__(self, database_url: str, run_id: int) -> None:
        self._sessions = sessions_for(database_url)
        self._run_id = run_id

    def plan(self) -> RunPlan:
        """Read the Run, the institutions and the champion."""
        with self._sessions() as session:
            run = session.get_one(TrainingRun, self._run_id)
            champion = session.scalar(
                select(ModelVersion).where(ModelVersion.status == VersionStatus.CHAMPION)
            )
            return RunPlan(
                run_id=run.id,
                kind=RunKind(run.kind),
                num_rounds=run.num_rounds,
                strategy=run.strategy,
                seed=run.seed,
                settings=RunSettings.from_json(run.settings),
                institutions={
                    row.code: row.id
                    for row in session.scalars(select(Institution).where(Institution.is_active))
                },
                champion=(champion.version, _model_of(champion)) if champion else None,
            )

    def check_cancelled(self) -> None:
        """Raise `RunCancelled` or `RunAlreadyEnded` if the Run must not go on."""
        with self._sessions() as session:
            status, cancel_requested_at = session.execute(
                select(TrainingRun.status, TrainingRun.cancel_requested_at).where(
                    TrainingRun.id == self._run_id
                )
            ).one()
        if status in ENDED_STATUSES:
            raise RunAlreadyEnded
        if cancel_requested_at is not None:
            raise RunCancelled

    def enter(self, status: RunStatus) -> None:
        """Move the Run to a later running status."""
        with self._running() as session:
            self._set(session, status=status)

    def start_round(self, number: int) -> None:
        """Record that a Round began."""
        with self._running() as session:
            run = session.get_one(TrainingRun, self._run_id)
            run.current_round = number
            session.add(
                TrainingRound(run_id=self._run_id, round_number=number, aggregation_method=run.strategy)
            )

    def aggregated(self, number: int, *, weights: Weights, sites: int) -> None:
        """Record that the weights of a Round were averaged over so many Sites."""
        with self._running() as session:
            session.execute(
                update(TrainingRound)
                .where(TrainingRound.run_id == self._run_id, TrainingRound.round_number == number)
                .values(clients_participated=sites, weights_sha256=weights_sha256(weights))
            )

    def evaluated(self, number: int, metrics: Metrics) -> None:
        """Record the metrics of a Round's model; the Round is then complete."""
        with self._running() as session:
            session.execute(
                update(TrainingRound)
                .where(TrainingRound.run_id == self._run_id, TrainingRound.round_number == number)
                .values(
                    status=RoundStatus.COMPLETED,
                    completed_at=func.clock_timestamp(),
                    loss=metrics.loss,
                    mae=metrics.mae,
                    rmse=metrics.rmse,
                    r2=metrics.r2,
                    num_examples=metrics.num_examples,
                )
            )

    def site_result(
        self,
        number: int,
        phase: Phase,
        institution_id: int,
        outcome: SiteOutcome,
        **values: Any,
    ) -> None:
        """Record what one Site sent, or why it sent nothing; said twice, the first stands."""
        with self._running() as session:
            session.execute(
                insert(SiteResult)
                .values(
                    run_id=self._run_id,
                    round_number=number,
                    phase=phase,
                    institution_id=institution_id,
                    outcome=outcome,
                    **values,
                )
                .on_conflict_do_nothing()
            )

    def site_evaluation(self, number: int, institution_id: int, metrics: Metrics | None) -> None:
        """Record how good one Round's model is on one Site's held-out rows; None if it tells nothing."""
        if metrics is None:
            reason = f"Fewer than {SMALLEST_CELL} held-out patients with a known cost."
            self.site_result(number, Phase.EVALUATE, institution_id, SiteOutcome.EXCLUDED, reason=reason)
        else:
            self.site_result(number, Phase.EVALUATE, institution_id, SiteOutcome.OK, **asdict(metrics))

    def complete(self, version: NewVersion) -> str:
        """Save the version, promote it if the rule says so, and end the Run; all or nothing.

        Returns
        -------
        str
            The version's name.
        """
        name = f"v{self._run_id}"
        with self._running() as session:
            row = ModelVersion(
                version=name,
                model_path=f"models/fedcost-{name}.keras",
                run_id=self._run_id,
                training_round=version.training_round,
                preprocessing=version.preprocessing.to_json(),
                weights=weights_to_bytes(version.weights),
                weights_sha256=weights_sha256(version.weights),
                r2=version.metrics.r2,
                mse=version.metrics.rmse**2,
                rmse=version.metrics.rmse,
                mae=version.metrics.mae,
                num_examples=version.num_examples,
                metrics={**version.details, "decision": version.reason},
            )
            session.add(row)
            session.flush()
            if version.promote:
                _promote(session, row, version.reason)
            self._set(session, status=RunStatus.COMPLETED, finished_at=func.clock_timestamp())
        return name

    def event(
        self,
        message: str,
        *,
        severity: EventSeverity = EventSeverity.INFO,
        round_number: int | None = None,
        institution_id: int | None = None,
    ) -> None:
        """Add one plain sentence to the Run's log; it may name an institution, never a patient."""
        with self._running() as session:
            session.add(
                RunEvent(
                    run_id=self._run_id,
                    severity=severity,
                    message=message,
                    round_number=round_number,
                    institution_id=institution_id,
                )
            )

    def save_result(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep what the Run found out besides its Rounds, under `name` in `training_runs.results`."""
        with self._running() as session:
            run = session.get_one(TrainingRun, self._run_id)
            run.results = {**run.results, name: dict(data)}

    def finish(self) -> None:
        """End a Run that makes no version as completed."""
        with self._running() as session:
            self._set(session, status=RunStatus.COMPLETED, finished_at=func.clock_timestamp())

    def fail(self, reason: str) -> None:
        """End the Run as failed with a reason that a person can act on."""
        with self._running() as session:
            end_run(session, self._run_id, RunStatus.FAILED, reason)

    def cancelled(self) -> None:
        """End the Run as cancelled."""
        with self._running() as session:
            end_run(session, self._run_id, RunStatus.CANCELLED, None)

    @contextmanager
    def _running(self) -> Iterator[Session]:
        """Open a transaction in which the Run's row is locked and known to be running."""
        with self._sessions() as session, session.begin():
            status = session.scalar(
                select(TrainingRun.status).where(TrainingRun.id == self._run_id).with_for_update()
            )
            if status in ENDED_STATUSES:
                raise RunAlreadyEnded
            yield session

    def _set(self, session: Session, **values: Any) -> None:
        session.execute(update(TrainingRun).where(TrainingRun.id == self._run_id).values(**values))


def end_run(session: Session, run_id: int, status: RunStatus, reason: str | None) -> bool:
    """End a Run that has not ended, with the Rounds it had begun; answer whether it was still open."""
    ended = session.execute(
        update(TrainingRun)
        .where(TrainingRun.id == run_id, TrainingRun.status.not_in(ENDED_STATUSES))
        .values(status=status, error=reason, finished_at=func.clock_timestamp())
        .returning(TrainingRun.id)
    ).first()
    if ended is None:
        return False
    session.execute(
        update(TrainingRound)
        .where(TrainingRound.run_id == run_id, TrainingRound.status == RoundStatus.STARTED)
        .values(status=RoundStatus.FAILED, completed_at=func.clock_timestamp())
    )
    return True


def _promote(session: Session, row: ModelVersion, reason: str) -> None:
    previous = session.scalar(
        select(ModelVersion).where(ModelVersion.status == VersionStatus.CHAMPION).with_for_update()
    )
    if previous is not None:
        previous.status = VersionStatus.RETIRED
        session.flush()
    row.status = VersionStatus.CHAMPION
    session.add(
        Promotion(
            model_version_id=row.id,
            previous_version_id=previous.id if previous else None,
            action=PromotionAction.PROMOTE,
            reason=reason,
        )
    )


def _model_of(version: ModelVersion) -> CostModel:
    preprocessing: Mapping[str, Any] = version.preprocessing
    return CostModel(Preprocessing.from_json(preprocessing), weights_from_bytes(version.weights))
