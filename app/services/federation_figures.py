"""The consortium in numbers as a monitor wants them: Rounds, the last one's metrics, Sites, queue, model in use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import monitoring
from app.services.metrics import finite
from db.audit_trail import AuditUnsealed
from db.central import Institution, ModelVersion, Promotion, TrainingRound, TrainingRun
from db.data_life import Backup
from db.states import PromotionAction, RoundStatus, RunStatus, VersionStatus

_RUNS = select(TrainingRun.status, func.count()).group_by(TrainingRun.status)


@dataclass(frozen=True)
class LastRound:
    """The newest Round whose model was evaluated: MAE in USD a year, loss of the standardised cost."""

    sites: int
    loss: float | None
    mae: float | None
    r2: float | None


@dataclass(frozen=True)
class FederationFigures:
    """The consortium at one moment.

    Attributes
    ----------
    rounds
        Completed Rounds of all Runs.
    runs
        Status -> number of Runs.
    heartbeat_age
        Seconds since the supervisor was heard of; None if it never was.
    champion_since
        When the version in use came into use; None without one.
    unsealed
        Audit events that wait for their seal.
    backup_at
        When the last backup succeeded; None if none ever did.
    """

    up: bool
    heartbeat_age: float | None
    sites: int
    sites_connected: int
    rounds: int
    runs: dict[str, int]
    last_round: LastRound | None
    champion_since: datetime | None
    unsealed: int
    backup_at: datetime | None
    now: datetime

    @property
    def queue_length(self) -> int:
        """Runs that wait to be started."""
        return self.runs.get(RunStatus.QUEUED, 0)

    @property
    def champion_age(self) -> float | None:
        """Seconds since the version in use came into use."""
        return None if self.champion_since is None else (self.now - self.champion_since).total_seconds()

    @property
    def backup_age(self) -> float | None:
        """Seconds since the last backup that succeeded."""
        return None if self.backup_at is None else (self.now - self.backup_at).total_seconds()


def federation_figures(*, central: Session) -> FederationFigures:
    """Read all of it in a few short queries; nothing of one institution's patients is among it."""
    now = central.execute(select(func.clock_timestamp())).scalar_one()
    federation = monitoring.federation(central=central)
    beat = federation.heartbeat_at
    return FederationFigures(
        up=federation.state == "up",
        heartbeat_age=None if beat is None else max((now - beat).total_seconds(), 0.0),
        sites=central.scalar(select(func.count()).where(Institution.is_active)) or 0,
        sites_connected=sum(site.state == "connected" for site in federation.sites),
        rounds=central.scalar(select(func.count()).where(TrainingRound.status == RoundStatus.COMPLETED)) or 0,
        runs={str(status): int(number) for status, number in central.execute(_RUNS)},
        last_round=_last_round(central),
        champion_since=champion_since(central),
        unsealed=central.scalar(select(func.count()).select_from(AuditUnsealed)) or 0,
        backup_at=central.scalar(select(func.max(Backup.finished_at)).where(Backup.status == "completed")),
        now=now,
    )


def champion_since(central: Session) -> datetime | None:
    """Return when the version in use came into use, by whichever way it did."""
    return central.scalar(
        select(func.coalesce(func.max(Promotion.created_at), func.max(ModelVersion.trained_at)))
        .select_from(ModelVersion)
        .outerjoin(
            Promotion,
            (Promotion.model_version_id == ModelVersion.id)
            & Promotion.action.in_((PromotionAction.PROMOTE, PromotionAction.ROLLBACK)),
        )
        .where(ModelVersion.status == VersionStatus.CHAMPION)
    )


def _last_round(central: Session) -> LastRound | None:
    row = central.execute(
        select(TrainingRound.clients_participated, TrainingRound.loss, TrainingRound.mae, TrainingRound.r2)
        .where(TrainingRound.status == RoundStatus.COMPLETED, TrainingRound.loss.is_not(None))
        .order_by(TrainingRound.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else LastRound(row[0], finite(row[1]), finite(row[2]), finite(row[3]))
