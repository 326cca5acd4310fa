"""Triggers: rules that ask for a Run without a person, by schedule or by the number of new patients."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from db.central import Institution, ModelVersion, TrainingRun, TrainingTrigger
from db.federation import RunEvent, SitePresence, TriggerEvent
from db.states import ENDED_STATUSES, Consent, EventSeverity, RunKind, RunStatus, VersionStatus
from fl.cron import next_firings, written
from fl.settings import DEFAULT_ROUNDS, settings_for

log = logging.getLogger(__name__)
SCHEDULE, NEW_RECORDS, MANUAL = "schedule", "new_records", "manual"
FIRED, SKIPPED, FAILED = "fired", "skipped", "failed"
MISSED_AFTER = timedelta(minutes=1)  # so late nothing was running at the scheduled time
AGAIN_AFTER = timedelta(hours=1)  # a Run for new records that failed is asked for again
NOTED_EVERY = timedelta(seconds=30)  # that a trigger was looked at; it is looked at far more often
LARGEST_SEED = 2**31 - 1

NO_NEW_DATA = "No hospital has told of new patients with a known cost since the last training."
NOBODY_TOLD = "No hospital has told yet how many patients are new since the last training."
NO_CHAMPION = "Training is to start from the model in use, and none is in use."
UNREADABLE = "The trigger's settings cannot be carried out, so it was paused. Edit it to have it go on."


@dataclass(frozen=True)
class RunToAskFor:
    """The Run that a trigger asks for; `settings` are those that differ from the strategy's defaults."""

    kind: RunKind = RunKind.FEDERATED
    num_rounds: int = DEFAULT_ROUNDS
    strategy: str = "fedavg"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TriggerSettings:
    """When a trigger fires, and the Run that it asks for; stored in `training_triggers.settings`.

    Attributes
    ----------
    cron, timezone
        Of a schedule: five parts of cron, read in this IANA time zone.
    records
        Of a trigger by new records: how many new patients with a known cost there must be, all hospitals together.
    only_if_new_data
        Whether it fires only if a hospital has told of new patients since the last training.
    """

    cron: str = ""
    timezone: str = "UTC"
    records: int = 0
    only_if_new_data: bool = False
    run: RunToAskFor = field(default_factory=RunToAskFor)

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TriggerSettings:
        """Read what `to_json` wrote; raises KeyError, TypeError or ValueError if it is something else."""
        run = dict(data["run"])
        return cls(
            cron=str(data["cron"]),
            timezone=str(data["timezone"]),
            records=int(data["records"]),
            only_if_new_data=bool(data["only_if_new_data"]),
            run=RunToAskFor(
                kind=RunKind(run["kind"]),
                num_rounds=int(run["num_rounds"]),
                strategy=str(run["strategy"]),
                settings=dict(run["settings"]),
            ),
        )


@dataclass(frozen=True)
class NewData:
    """How many patients with a known cost are new since the last completed training began.

    Attributes
    ----------
    records
        The sum of what the hospitals told, each rounded down to tens.
    sites
        How many hospitals have told since that training ended; those that paused taking part are not counted.
    """

    records: int
    sites: int


@dataclass(frozen=True)
class LastRun:
    """The newest Run that a trigger asked for."""

    id: int
    status: str
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it still waits or runs."""
        return self.status not in ENDED_STATUSES


@dataclass(frozen=True)
class Decision:
    """What a trigger does now.

    Attributes
    ----------
    outcome
        `fired`, `skipped`, or None: nothing is due.
    key
        Idempotency key of the Run that is asked for.
    """

    outcome: str | None
    reason: str = ""
    key: str = ""


def next_fire_at(kind: str, settings: TriggerSettings, after: datetime) -> datetime | None:
    """Return when a schedule comes up next, in UTC; None for a trigger without a schedule."""
    if kind != SCHEDULE:
        return None
    return next_firings(settings.cron, settings.timezone, after, 1)[0].astimezone(UTC)


def decide(
    trigger: TrainingTrigger, settings: TriggerSettings, new: NewData, last: LastRun | None, now: datetime
) -> Decision:
    """Decide what an active trigger does at this moment; reads and writes nothing."""
    if trigger.kind == SCHEDULE:
        return _decide_schedule(trigger, settings, new, last, now)
    if trigger.kind == NEW_RECORDS:
        return _decide_new_records(trigger, settings, new, last, now)
    return Decision(None)


def hindrance(settings: TriggerSettings, new: NewData, last: LastRun | None) -> str | None:
    """Return why a trigger may not ask for a Run whenever it would; None if nothing hinders it."""
    if last is not None and last.is_open:
        return f"Run {last.id}, which this trigger asked for before, has not ended yet."
    if settings.only_if_new_data and new.records == 0:
        return NO_NEW_DATA if new.sites else NOBODY_TOLD
    return None


def _decide_schedule(
    trigger: TrainingTrigger, settings: TriggerSettings, new: NewData, last: LastRun | None, now: datetime
) -> Decision:
    scheduled = trigger.next_fire_at
    if scheduled is None or scheduled > now:
        return Decision(None)
    when = f"Scheduled for {written(scheduled, settings.timezone)}."
    missed = now - scheduled > MISSED_AFTER
    if missed:
        several = next_firings(settings.cron, settings.timezone, scheduled, 1)[0] <= now
        when = f"{when[:-1]}{' and later' if several else ''}, when the training service was not running."
    if reason := hindrance(settings, new, last):
        return Decision(SKIPPED, f"{when} {reason}")
    if missed:
        when += " Made up for once."
    return Decision(FIRED, when, f"trigger-{trigger.id}-{scheduled.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")


def _decide_new_records(
    trigger: TrainingTrigger, settings: TriggerSettings, new: NewData, last: LastRun | None, now: datetime
) -> Decision:
    if reason := hindrance(settings, new, last):
        return Decision(SKIPPED, reason)
    if new.records < settings.records:
        reason = (
            f"Hospitals have told of fewer than {settings.records:,} new patients since the last training."
        )
        return Decision(SKIPPED, reason)
    unsuccessful = last is not None and last.status != RunStatus.COMPLETED
    if last is not None and unsuccessful and last.finished_at and now < last.finished_at + AGAIN_AFTER:
        ended = "failed" if last.status == RunStatus.FAILED else "was cancelled"
        return Decision(SKIPPED, f"Run {last.id} {ended}; another is asked for an hour after that.")
    reason = (
        f"At least {new.records:,} new patients since the last training; {settings.records:,} were awaited."
    )
    return Decision(FIRED, reason, f"trigger-{trigger.id}-after-run-{last.id if last else 0}")


def evaluate_triggers(session: Session, now: datetime) -> list[TriggerEvent]:
    """Ask for the Runs that are due, in the caller's transaction; return what was added to the triggers' histories.

    Each trigger's row is locked, and one that somebody else holds is left to them: two supervisors, or a supervisor
    and a person who edits the trigger, never decide about it at the same time.
    """
    query = (
        select(TrainingTrigger)
        .where(
            TrainingTrigger.is_active,
            TrainingTrigger.deleted_at.is_(None),
            TrainingTrigger.kind.in_((SCHEDULE, NEW_RECORDS)),
        )
        .order_by(TrainingTrigger.id)
        .with_for_update(skip_locked=True)
    )
    events = []
    for trigger in session.scalars(query.execution_options(populate_existing=True)).all():
        try:
            with session.begin_nested():
                event = _evaluate(session, trigger, now)
        except (DataError, IntegrityError, KeyError, TypeError, ValueError):
            log.exception("trigger %s cannot be carried out and was paused", trigger.id)
            trigger.is_active, trigger.next_fire_at = False, None
            event = _add_event(session, trigger, FAILED, UNREADABLE)
        if trigger.last_checked_at is None or now - trigger.last_checked_at >= NOTED_EVERY:
            trigger.last_checked_at = now
        if event is not None:
            events.append(event)
    session.flush()
    return events


def fire_now(
    session: Session, trigger: TrainingTrigger, *, asked_by: int, name: str, key: str
) -> TriggerEvent | None:
    """Fire a trigger whose row is locked because a person asked; its event says why if it does not.

    Returns
    -------
    TriggerEvent or None
        None if a Run was asked for under this key already.
    """
    settings = TriggerSettings.from_json(trigger.settings)
    reason = hindrance(settings, new_data(session), last_run(session, trigger.id))
    if reason:
        return _add_event(session, trigger, SKIPPED, f"{name} asked for it. {reason}")
    return _ask_for_run(session, trigger, settings, f"{name} asked for it.", key, requested_by=asked_by)


def new_data(session: Session) -> NewData:
    """Add up what the hospitals have told since the last completed training ended."""
    told_since = (
        select(func.max(TrainingRun.finished_at))
        .where(TrainingRun.kind == RunKind.FEDERATED, TrainingRun.status == RunStatus.COMPLETED)
        .scalar_subquery()
    )
    query = (
        select(func.coalesce(func.sum(SitePresence.new_rows), 0), func.count())
        .join(Institution, Institution.id == SitePresence.institution_id)
        .where(
            Institution.is_active,
            SitePresence.consent != Consent.PAUSED,
            func.coalesce(SitePresence.last_seen_at >= told_since, True),
        )
    )
    records, sites = session.execute(query).one()
    return NewData(int(records), int(sites))


def last_run(session: Session, trigger_id: int) -> LastRun | None:
    """Return the newest Run that a trigger asked for."""
    query = (
        select(TrainingRun.id, TrainingRun.status, TrainingRun.finished_at)
        .where(TrainingRun.trigger_id == trigger_id)
        .order_by(TrainingRun.id.desc())
        .limit(1)
    )
    found = session.execute(query).first()
    return LastRun(*found) if found else None


def _evaluate(session: Session, trigger: TrainingTrigger, now: datetime) -> TriggerEvent | None:
    settings = TriggerSettings.from_json(trigger.settings)
    if trigger.kind == SCHEDULE and trigger.next_fire_at is None:
        trigger.next_fire_at = next_fire_at(trigger.kind, settings, now)
    decision = decide(trigger, settings, new_data(session), last_run(session, trigger.id), now)
    if decision.outcome is None:
        return None
    trigger.next_fire_at = next_fire_at(trigger.kind, settings, now)
    if decision.outcome == FIRED:
        return _ask_for_run(session, trigger, settings, decision.reason, decision.key)
    if trigger.kind != SCHEDULE and _last_reason(session, trigger.id) == decision.reason:
        return None
    return _add_event(session, trigger, SKIPPED, decision.reason)


def _ask_for_run(
    session: Session,
    trigger: TrainingTrigger,
    settings: TriggerSettings,
    reason: str,
    key: str,
    requested_by: int | None = None,
) -> TriggerEvent | None:
    run = settings.run
    trains = run.kind == RunKind.FEDERATED
    run_settings = settings_for(run.strategy if trains else "", run.settings)
    start_version_id = None
    if trains and run_settings.start_from == "champion":
        in_use = select(ModelVersion.id).where(ModelVersion.status == VersionStatus.CHAMPION)
        start_version_id = session.scalar(in_use)
        if start_version_id is None:
            return _add_event(session, trigger, SKIPPED, f"{reason} {NO_CHAMPION}")
    run_id = session.scalar(
        insert(TrainingRun)
        .values(
            idempotency_key=key,
            requested_by=requested_by,
            trigger_id=trigger.id,
            kind=run.kind,
            num_rounds=run.num_rounds if trains else 0,
            strategy=run.strategy if trains else "",
            settings=run_settings.to_json(),
            seed=secrets.randbelow(LARGEST_SEED),
            start_version_id=start_version_id,
        )
        .on_conflict_do_nothing(index_elements=["idempotency_key"])
        .returning(TrainingRun.id)
    )
    if run_id is None:
        return None
    session.add(
        RunEvent(run_id=run_id, severity=EventSeverity.INFO, message=f"Trigger “{trigger.name}”: {reason}")
    )
    return _add_event(session, trigger, FIRED, reason, run_id)


def _last_reason(session: Session, trigger_id: int) -> str | None:
    query = select(TriggerEvent.reason).where(TriggerEvent.trigger_id == trigger_id)
    return session.scalar(query.order_by(TriggerEvent.id.desc()).limit(1))


def _add_event(
    session: Session, trigger: TrainingTrigger, outcome: str, reason: str, run_id: int | None = None
) -> TriggerEvent:
    event = TriggerEvent(trigger_id=trigger.id, outcome=outcome, reason=reason, run_id=run_id)
    session.add(event)
    session.flush()
    return event
