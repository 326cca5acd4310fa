"""What the live training page shows: one Run as it stands, and whether the hospitals are connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session, aliased

from app.actor import Actor
from app.errors import NotFound
from app.permissions import Permission
from app.services.metrics import finite
from app.services.paging import LARGEST_ID
from db.central import (
    Institution,
    MedicalWorker,
    ModelVersion,
    SiteResult,
    TrainingRound,
    TrainingRun,
    TrainingTrigger,
)
from db.federation import FederationStatus
from db.states import RunKind, RunStatus

HEARTBEAT_LIMIT = timedelta(seconds=10)

_start = aliased(ModelVersion)
# A fragment of the page may hold this Run from a moment ago, hence populate_existing.
_RUN = (
    select(
        TrainingRun,
        MedicalWorker.name,
        TrainingTrigger.name,
        select(ModelVersion.version)
        .where(ModelVersion.run_id == TrainingRun.id)
        .order_by(ModelVersion.id.desc())
        .limit(1)
        .scalar_subquery(),
        select(_start.version).where(_start.id == TrainingRun.start_version_id).scalar_subquery(),
        select(func.max(TrainingRound.round_number))
        .where(TrainingRound.run_id == TrainingRun.id, TrainingRound.weights.is_not(None))
        .scalar_subquery(),
        select(SiteResult.id).where(SiteResult.run_id == TrainingRun.id).exists(),
    )
    .outerjoin(MedicalWorker, MedicalWorker.id == TrainingRun.requested_by)
    .outerjoin(TrainingTrigger, TrainingTrigger.id == TrainingRun.trigger_id)
    .where(TrainingRun.id == bindparam("run_id"))
    .execution_options(populate_existing=True)
)
_ROUNDS = (
    select(
        TrainingRound.round_number,
        TrainingRound.loss,
        TrainingRound.mae,
        TrainingRound.rmse,
        TrainingRound.r2,
        TrainingRound.num_examples,
        TrainingRound.clients_participated,
        TrainingRound.started_at,
        TrainingRound.completed_at,
    )
    .where(TrainingRound.run_id == bindparam("run_id"), TrainingRound.round_number > bindparam("settled"))
    .order_by(TrainingRound.round_number)
)

FederationState = Literal["up", "starting", "down"]


@dataclass(frozen=True)
class RunView:
    """A Run as the page shows it.

    Attributes
    ----------
    trigger_name
        Of the trigger that asked for it; None if a person did.
    start_version
        Name of the version that training started from, or that an evaluation is of.
    results
        What the Run found out besides its Rounds, by name; see `app.services.run_results`.
    saved_round
        The last Round whose weights were saved, from which another Run can go on; 0 if there is none.
    """

    id: int
    kind: str
    status: str
    num_rounds: int
    current_round: int
    strategy: str
    settings: dict[str, Any]
    seed: int
    error: str | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    requested_by_name: str | None
    trigger_name: str | None
    resumed_from_id: int | None
    start_version: str | None
    cancel_requested: bool
    results: dict[str, Any]
    saved_round: int


@dataclass(frozen=True)
class RoundPoint:
    """One point of a chart: MAE and RMSE in USD, loss of the standardised cost, `seconds` of the Round."""

    round_number: int
    loss: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    num_examples: int | None
    clients_participated: int | None
    seconds: float | None


@dataclass(frozen=True)
class RunProgress:
    """Where one Run is, and its Rounds.

    Attributes
    ----------
    rounds
        The aggregated model on all held-out patients, by Round.
    model_version
        Version that this Run made, if it has.
    stage
        One short sentence on where the Run is.
    asked_sites
        Whether any Site has answered or was found missing.
    """

    run: RunView
    rounds: list[RoundPoint]
    model_version: str | None
    stage: str
    asked_sites: bool

    @property
    def settled(self) -> int:
        """Return the last Round about which nothing more can arrive: its evaluation comes with the next one."""
        return max(self.run.current_round - 2, 0)


@dataclass(frozen=True)
class SiteState:
    """Whether one institution's client is connected: `starting`, `connected` or `down`."""

    code: str
    name: str
    state: str


@dataclass(frozen=True)
class FederationView:
    """What the supervisor last said; a heartbeat older than ten seconds counts as down."""

    state: FederationState
    runtime: str | None
    sites: list[SiteState]
    heartbeat_at: datetime | None


def run_progress(
    *, central: Session, actor: Actor, run_id: int, known: RunProgress | None = None
) -> RunProgress:
    """Read one Run with its Rounds, in two round trips.

    Parameters
    ----------
    known
        What was read of it before: only the Rounds that may have changed since are read again.

    Raises
    ------
    NotFound
        If there is no such Run.
    """
    actor.require(Permission.TRAINING_READ)
    row = central.execute(_RUN, {"run_id": run_id}).one_or_none() if 0 < run_id <= LARGEST_ID else None
    if row is None:
        raise NotFound(f"There is no Run {run_id}.")
    run, requester, trigger, version, start_version, saved_round, asked_sites = row
    settled = known.settled if known is not None and known.run.id == run_id else 0
    before = [point for point in known.rounds if point.round_number <= settled] if known and settled else []
    newer = central.execute(_ROUNDS, {"run_id": run_id, "settled": settled})
    view = RunView(
        id=run.id,
        kind=run.kind,
        status=run.status,
        num_rounds=run.num_rounds,
        current_round=run.current_round,
        strategy=run.strategy,
        settings=run.settings,
        seed=run.seed,
        error=run.error,
        requested_at=run.requested_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        requested_by_name=requester,
        trigger_name=trigger,
        resumed_from_id=run.resumed_from_id,
        start_version=start_version,
        cancel_requested=run.cancel_requested_at is not None,
        results=run.results,
        saved_round=saved_round or 0,
    )
    return RunProgress(
        view, before + [_round_point(round_) for round_ in newer], version, stage_of(run), asked_sites
    )


def federation(*, central: Session) -> FederationView:
    """Say whether SuperLink and the institutions' SuperNodes are up."""
    names = dict(central.execute(select(Institution.code, Institution.name)).all())
    status = central.scalars(select(FederationStatus).execution_options(populate_existing=True)).one_or_none()
    if status is None:
        return FederationView("down", None, [], None)
    alive = datetime.now(UTC) - status.heartbeat_at < HEARTBEAT_LIMIT
    state: FederationState = "down"
    if alive and status.state in ("up", "starting"):
        state = "up" if status.state == "up" else "starting"
    sites = [
        SiteState(code, names.get(code, code), str(said.get("state", "down")) if alive else "down")
        for code, said in sorted(status.sites.items())
    ]
    return FederationView(state, status.runtime, sites, status.heartbeat_at)


def stage_of(run: TrainingRun) -> str:
    """Say in one short sentence where a Run is."""
    trains = run.kind == RunKind.FEDERATED
    if run.status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
        return {
            RunStatus.COMPLETED: f"Completed after {_rounds(run.current_round)}" if trains else "Completed",
            RunStatus.FAILED: "Failed",
            RunStatus.CANCELLED: "Cancelled",
        }[RunStatus(run.status)]
    if run.cancel_requested_at is not None:
        return "Stopping"
    return {
        RunStatus.QUEUED: "Waiting to start",
        RunStatus.STARTING: "Starting",
        RunStatus.STATISTICS: "Collecting statistics from the hospitals",
        RunStatus.TRAINING: f"Round {max(run.current_round, 1)} of {run.num_rounds}",
        RunStatus.EVALUATING: "Evaluating the new model" if trains else "Evaluating the model",
    }[RunStatus(run.status)]


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _round_point(row: Sequence[Any]) -> RoundPoint:
    number, loss, mae, rmse, r2, num_examples, clients, started_at, completed_at = row
    seconds = (completed_at - started_at).total_seconds() if completed_at else None
    return RoundPoint(
        number, finite(loss), finite(mae), finite(rmse), finite(r2), num_examples, clients, seconds
    )
