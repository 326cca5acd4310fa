"""What the live training page shows: one Run as it stands, and whether the hospitals are connected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NotFound
from app.permissions import Permission
from app.services.metrics import finite
from app.services.paging import LARGEST_ID
from db.central import Institution, MedicalWorker, ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.federation import FederationStatus
from db.states import Phase, RunStatus

HEARTBEAT_LIMIT = timedelta(seconds=10)

FederationState = Literal["up", "starting", "down"]


@dataclass(frozen=True)
class RunView:
    """A Run as the page shows it."""

    id: int
    status: str
    num_rounds: int
    current_round: int
    strategy: str
    seed: int
    error: str | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    requested_by_name: str | None
    cancel_requested: bool


@dataclass(frozen=True)
class RoundPoint:
    """One point of a chart: MAE and RMSE in USD, loss of the standardised cost, `seconds` of the Round.

    `clients_participated` is None in a Site's own series.
    """

    round_number: int
    loss: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    num_examples: int | None
    clients_participated: int | None
    seconds: float | None


@dataclass(frozen=True)
class SiteSeries:
    """One institution's evaluation of every Round's model on its own held-out patients."""

    code: str
    name: str
    points: list[RoundPoint]


@dataclass(frozen=True)
class Participation:
    """What one institution did in one Round and phase, or why it did not take part."""

    code: str
    name: str
    phase: str
    round_number: int
    outcome: str
    reason: str | None
    num_examples: int | None
    seconds: float | None


@dataclass(frozen=True)
class RunProgress:
    """Everything that the live page draws of one Run.

    Attributes
    ----------
    rounds
        The aggregated model on all held-out patients, by Round.
    model_version
        Version that this Run made, if it has.
    stage
        One short sentence on where the Run is.
    """

    run: RunView
    rounds: list[RoundPoint]
    sites: list[SiteSeries]
    participation: list[Participation]
    model_version: str | None
    stage: str


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


def run_progress(*, central: Session, actor: Actor, run_id: int) -> RunProgress:
    """Read one Run with its Rounds and what every institution sent, in two round trips.

    Raises
    ------
    NotFound
        If there is no such Run.
    """
    actor.require(Permission.TRAINING_READ)
    missing = NotFound(f"There is no Run {run_id}.")
    if not 0 < run_id <= LARGEST_ID:
        raise missing
    version = (
        select(ModelVersion.version)
        .where(ModelVersion.run_id == TrainingRun.id)
        .order_by(ModelVersion.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = central.execute(
        select(TrainingRun, MedicalWorker.name, version, TrainingRound)
        .outerjoin(MedicalWorker, MedicalWorker.id == TrainingRun.requested_by)
        .outerjoin(TrainingRound, TrainingRound.run_id == TrainingRun.id)
        .where(TrainingRun.id == run_id)
        .order_by(TrainingRound.round_number)
        # A fragment of the page may hold this Run from a moment ago.
        .execution_options(populate_existing=True)
    ).all()
    if not rows:
        raise missing
    run, requester, model_version, _ = rows[0]
    results = central.execute(
        select(SiteResult, Institution.code, Institution.name)
        .join(Institution, Institution.id == SiteResult.institution_id)
        .where(SiteResult.run_id == run_id)
        .order_by(Institution.code, SiteResult.round_number, SiteResult.id)
        .execution_options(populate_existing=True)
    ).all()
    series: dict[str, SiteSeries] = {}
    participation: list[Participation] = []
    for result, code, name in results:
        participation.append(
            Participation(
                code,
                name,
                result.phase,
                result.round_number,
                result.outcome,
                result.reason,
                result.num_examples,
                finite(result.seconds),
            )
        )
        if result.phase == Phase.EVALUATE:
            series.setdefault(code, SiteSeries(code, name, [])).points.append(_site_point(result))
    rounds = [_round_point(round_) for *_, round_ in rows if round_ is not None]
    return RunProgress(
        _run_view(run, requester), rounds, list(series.values()), participation, model_version, stage_of(run)
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
    if run.status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
        return {
            RunStatus.COMPLETED: f"Completed after {_rounds(run.current_round)}",
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
        RunStatus.EVALUATING: "Evaluating the new model",
    }[RunStatus(run.status)]


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _run_view(run: TrainingRun, requested_by_name: str | None) -> RunView:
    return RunView(
        id=run.id,
        status=run.status,
        num_rounds=run.num_rounds,
        current_round=run.current_round,
        strategy=run.strategy,
        seed=run.seed,
        error=run.error,
        requested_at=run.requested_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        requested_by_name=requested_by_name,
        cancel_requested=run.cancel_requested_at is not None,
    )


def _round_point(round_: TrainingRound) -> RoundPoint:
    seconds = (round_.completed_at - round_.started_at).total_seconds() if round_.completed_at else None
    return RoundPoint(
        round_.round_number,
        finite(round_.loss),
        finite(round_.mae),
        finite(round_.rmse),
        finite(round_.r2),
        round_.num_examples,
        round_.clients_participated,
        seconds,
    )


def _site_point(result: SiteResult) -> RoundPoint:
    return RoundPoint(
        result.round_number,
        finite(result.loss),
        finite(result.mae),
        finite(result.rmse),
        finite(result.r2),
        result.num_examples,
        None,
        finite(result.seconds),
    )
