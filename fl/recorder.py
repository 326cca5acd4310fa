"""Writes a Run into the central database as it happens; every method is one committed transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.central import ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.engines import sessions_for
from db.federation import RunEvent
from db.states import (
    ENDED_STATUSES,
    EventSeverity,
    Phase,
    RoundStatus,
    RunStatus,
    SiteOutcome,
    VersionOrigin,
)
from fl.adoption import adopt_rounds
from fl.evaluation import SMALLEST_CELL, Metrics
from fl.features import Preprocessing
from fl.model import Weights, weights_sha256, weights_to_bytes
from fl.plan import Progress, RunPlan, read_plan
from fl.promotion import promote
from fl.transactions import PATIENCE_SECONDS, PAUSE_SECONDS, DiskFull, end_run, transact

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class RunCancelled(Exception):
    """Somebody asked for the Run to be cancelled."""


class RunAlreadyEnded(Exception):
    """The Run was ended from outside, for example by the supervisor; nothing may be added to it."""


@dataclass(frozen=True)
class NewVersion:
    """A ModelVersion about to be saved.

    Attributes
    ----------
    metrics
        Pooled over all Sites' held-out rows.
    training_round, last_round
        Number of the Round whose weights these are, and of the last Round made.
    details
        JSON: per institution, and the champion on the same rows.
    lineage
        JSON: see `fl.lineage`.
    promote
        Whether the rule makes it champion; `reason` says why or why not.
    """

    weights: Weights
    preprocessing: Preprocessing
    training_round: int
    last_round: int
    num_examples: int
    metrics: Metrics
    details: dict[str, Any]
    lineage: dict[str, Any]
    promote: bool
    reason: str


class RunRecorder:
    """The one writer of a Run's rounds, site results and outcome.

    While the database does not answer, a method waits and tries again for `patience` seconds. `DiskFull` is raised at
    once by all but those that end the Run.
    """

    def __init__(self, database_url: str, run_id: int, patience: float = PATIENCE_SECONDS) -> None:
        self._sessions = sessions_for(database_url)
        self._run_id = run_id
        self._patience = patience

    def plan(self) -> RunPlan:
        """Read the Run, the institutions, the champion, and what the Run starts from."""
        return self.transact(lambda session: read_plan(session, self._run_id))

    def check_cancelled(self) -> None:
        """Raise `RunCancelled` or `RunAlreadyEnded` if the Run must not go on."""
        query = select(TrainingRun.status, TrainingRun.cancel_requested_at).where(
            TrainingRun.id == self._run_id
        )
        status, cancel_requested_at = self.transact(lambda session: session.execute(query).one())
        if status in ENDED_STATUSES:
            raise RunAlreadyEnded
        if cancel_requested_at is not None:
            raise RunCancelled

    def enter(self, status: RunStatus) -> None:
        """Move the Run to a later running status."""
        self._write(lambda session: self._set(session, status=status))

    def save_preprocessing(self, preprocessing: Preprocessing) -> None:
        """Keep the scaler of the Run: receipts hash it, and a Run that goes on with this one uses it."""
        self._write(lambda session: self._set(session, preprocessing=preprocessing.to_json()))

    def start_round(self, number: int) -> None:
        """Record that a Round began."""

        def write(session: Session) -> None:
            run = session.get_one(TrainingRun, self._run_id)
            run.current_round = number
            session.execute(
                insert(TrainingRound)
                .values(run_id=self._run_id, round_number=number, aggregation_method=run.strategy)
                .on_conflict_do_nothing()
            )

        self._write(write)
        self._log("round %d starts", number, round_number=number)

    def commit_round(
        self,
        number: int,
        *,
        weights: Weights,
        server_state: bytes | None,
        sites: int,
        previous_receipt: str,
        receipt_sha256: str,
        details: Mapping[str, Any],
    ) -> None:
        """Save what a Round made, so that another Run can go on from it.

        Parameters
        ----------
        sites
            How many the weights were aggregated over.
        details
            JSON for `training_rounds.metrics`: the receipt and the learning rate.
        """
        values = {
            "clients_participated": sites,
            "weights": weights_to_bytes(weights),
            "weights_sha256": weights_sha256(weights),
            "server_state": server_state,
            "previous_receipt_sha256": previous_receipt,
            "receipt_sha256": receipt_sha256,
            "metrics": dict(details),
        }
        self._write(lambda session: self._set_round(session, number, **values))
        self._log("round %d: the updates of %d sites are aggregated", number, sites, round_number=number)

    def evaluated(self, number: int, metrics: Metrics | None) -> None:
        """Record the metrics of a Round's model, or that too few Sites told of it; the Round is then complete."""
        told = asdict(metrics) if metrics else {}
        values = {"status": RoundStatus.COMPLETED, "completed_at": func.clock_timestamp(), **told}
        self._write(lambda session: self._set_round(session, number, **values))
        self._log("round %d ends: R2 %s", number, metrics and f"{metrics.r2:.3f}", round_number=number)

    def keep_updates_of(self, rounds: Collection[int]) -> None:
        """Forget the Sites' arrays of all other Rounds, and the states of the strategy that they do not need."""
        self._write(lambda session: self._keep_updates_of(session, set(rounds)))

    def _keep_updates_of(self, session: Session, rounds: set[int]) -> None:
        session.execute(
            update(SiteResult)
            .where(
                SiteResult.run_id == self._run_id,
                SiteResult.update.is_not(None),
                SiteResult.round_number.not_in(rounds),
            )
            .values(update=None)
        )
        session.execute(
            update(TrainingRound)
            .where(
                TrainingRound.run_id == self._run_id,
                TrainingRound.server_state.is_not(None),
                TrainingRound.round_number.not_in(rounds | {number - 1 for number in rounds}),
            )
            .values(server_state=None)
        )

    def adopt_rounds(self, progress: Progress) -> None:
        """Take over the saved Rounds of the earlier Run that this one goes on with."""
        self._write(lambda session: adopt_rounds(session, self._run_id, progress))

    def site_result(
        self,
        number: int,
        phase: Phase,
        institution_id: int,
        outcome: SiteOutcome,
        **values: Any,
    ) -> None:
        """Record what one Site sent, or why it sent nothing; said twice, the first stands."""
        row = {
            "run_id": self._run_id,
            "round_number": number,
            "phase": phase,
            "institution_id": institution_id,
            "outcome": outcome,
            **values,
        }
        statement = insert(SiteResult).values(row).on_conflict_do_nothing()
        self._write(lambda session: session.execute(statement))

    def reject_update(self, number: int, institution_id: int, reason: str) -> None:
        """Turn an accepted update into a failure; what is known of it stays, the array does not."""
        statement = (
            update(SiteResult)
            .where(
                SiteResult.run_id == self._run_id,
                SiteResult.round_number == number,
                SiteResult.phase == Phase.TRAIN,
                SiteResult.institution_id == institution_id,
            )
            .values(outcome=SiteOutcome.FAILED, reason=reason, update=None)
        )
        self._write(lambda session: session.execute(statement))

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

        def write(session: Session) -> None:
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
                lineage=version.lineage,
            )
            session.add(row)
            session.flush()
            self._keep_updates_of(session, {version.training_round, version.last_round})
            if version.promote:
                promote(session, row, version.reason)
            outcome = "is now in use" if version.promote else "waits as a candidate"
            self._add_event(session, f"Model version {name} {outcome}. {version.reason}")
            self._set(session, status=RunStatus.COMPLETED, finished_at=func.clock_timestamp())

        self._write(write)
        self._log("completed with version %s", name)
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
        self._write(lambda session: self._add_event(session, message, severity, round_number, institution_id))

    def save_result(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep what the Run found out besides its Rounds, under `name` in `training_runs.results`."""

        def write(session: Session) -> None:
            run = session.get_one(TrainingRun, self._run_id)
            run.results = {**run.results, name: dict(data)}

        self._write(write)

    def describe_import(self, version: str, metrics: Metrics, details: Mapping[str, Any]) -> None:
        """Give an imported version its metrics; one that has some already keeps them.

        Parameters
        ----------
        details
            JSON for `model_versions.metrics`.
        """
        statement = (
            update(ModelVersion)
            .where(
                ModelVersion.version == version,
                ModelVersion.origin == VersionOrigin.IMPORT,
                ModelVersion.rmse.is_(None),
            )
            .values(
                r2=metrics.r2,
                mse=metrics.rmse**2,
                rmse=metrics.rmse,
                mae=metrics.mae,
                metrics=dict(details),
            )
        )
        self._write(lambda session: session.execute(statement))

    def finish(self) -> None:
        """End a Run that makes no version as completed."""
        self._write(
            lambda session: self._set(session, status=RunStatus.COMPLETED, finished_at=func.clock_timestamp())
        )

    def fail(self, reason: str) -> None:
        """End the Run as failed with a reason that a person can act on; nothing happens if it has ended."""
        self._end(RunStatus.FAILED, reason)

    def cancelled(self) -> None:
        """End the Run as cancelled; nothing happens if it has ended."""
        self._end(RunStatus.CANCELLED, None)

    def _end(self, status: RunStatus, reason: str | None) -> None:
        """End the Run, even if the disk is full for a while; after that the supervisor ends it."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self.transact(lambda session: end_run(session, self._run_id, status, reason))
                self._log("the run is %s: %s", status, reason)
                return
            except DiskFull:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(PAUSE_SECONDS)

    def transact(self, work: Callable[[Session], Result]) -> Result:
        """Do `work` with the central database in one transaction, as `fl.transactions.transact` does."""
        return transact(self._sessions, work, self._patience)

    def _write(self, work: Callable[[Session], object]) -> None:
        """Do `work` in a transaction in which the Run's row is locked and known to be running."""

        def if_running(session: Session) -> None:
            status = session.scalar(
                select(TrainingRun.status).where(TrainingRun.id == self._run_id).with_for_update()
            )
            if status in ENDED_STATUSES:
                raise RunAlreadyEnded
            work(session)

        self.transact(if_running)

    def _log(self, message: str, *values: object, round_number: int | None = None) -> None:
        extra = {"run_id": self._run_id, **({"round": round_number} if round_number else {})}
        log.info(message, *values, extra=extra)

    def _add_event(
        self,
        session: Session,
        message: str,
        severity: EventSeverity = EventSeverity.INFO,
        round_number: int | None = None,
        institution_id: int | None = None,
    ) -> None:
        event = RunEvent(run_id=self._run_id, severity=severity, message=message)
        event.round_number, event.institution_id = round_number, institution_id
        session.add(event)

    def _set(self, session: Session, **values: Any) -> None:
        session.execute(update(TrainingRun).where(TrainingRun.id == self._run_id).values(**values))

    def _set_round(self, session: Session, number: int, **values: Any) -> None:
        session.execute(
            update(TrainingRound)
            .where(TrainingRound.run_id == self._run_id, TrainingRound.round_number == number)
            .values(**values)
        )
