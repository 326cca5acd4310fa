"""The queue of Runs: hands the oldest to Flower and sees that each ends in a recorded state."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from db.central import ENDED_STATUSES, RUNNING_STATUSES, RunStatus, TrainingRun
from fl.recorder import end_run
from fl.runtime.federation import Federation
from fl.runtime.flower_private import Bundle

log = logging.getLogger(__name__)
CANCEL_GRACE_SECONDS = 3.0  # the ServerApp ends by itself within this; then SuperLink stops it
SILENT_GRACE_SECONDS = 2.0  # Flower's run is over, and the Run's last commit may still be on its way
LAUNCH_SECONDS = 20.0  # from the request to a running ServerApp, on a busy machine
LONGEST_START_SECONDS = 120.0
LOOK_SECONDS = 0.5

RESTARTED = (
    "The training service was restarted during this Run. Nothing else is affected; start the Run again."
)
SUPERLINK_DIED = (
    "SuperLink, which connects the hospitals, stopped during this Run. It is started again by itself; "
    "start the Run again."
)
SERVERAPP_DIED = (
    "The training process stopped unexpectedly. The model in use is unchanged; start the Run again."
)
NOT_UP = (
    "The hospitals' training processes did not start. An administrator finds the reason in the server's logs."
)


@dataclass
class CurrentRun:
    """The Run that Flower executes at the moment."""

    run_id: int
    flwr_run_id: str
    submitted_at: float
    serverapp_seen: bool = False
    cancel_seen_at: float | None = None
    over_since: float | None = None  # Flower or the Run itself says that it is over
    look_again_at: float = 0.0


class RunQueue:
    """Executes queued Runs one after the other, oldest first."""

    def __init__(self, sessions: sessionmaker[Session], bundle: Bundle) -> None:
        self._sessions = sessions
        self._bundle = bundle
        self._current: CurrentRun | None = None

    def end_abandoned(self, reason: str = RESTARTED) -> None:
        """End every Run that a former leader or SuperLink left running."""
        self._current = None
        with self._sessions() as session, session.begin():
            running = session.scalars(select(TrainingRun.id).where(TrainingRun.status.in_(RUNNING_STATUSES)))
            for run_id in running.all():
                log.warning("run %s is ended: %s", run_id, reason)
                end_run(session, run_id, RunStatus.FAILED, reason)

    def poll(self, federation: Federation) -> None:
        """Watch the current Run, or start the next one."""
        if self._current is not None:
            self._watch(self._current, federation)
        else:
            self._start_next(federation)

    def _start_next(self, federation: Federation) -> None:
        with self._sessions() as session, session.begin():
            run = session.scalars(
                select(TrainingRun)
                .where(TrainingRun.status == RunStatus.QUEUED)
                .order_by(TrainingRun.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).first()
            if run is None:
                return
            if not federation.up:
                waited = (datetime.now(UTC) - run.requested_at).total_seconds()
                if federation.control is None or waited < LONGEST_START_SECONDS / 4:
                    if waited > LONGEST_START_SECONDS:
                        end_run(session, run.id, RunStatus.FAILED, NOT_UP)
                    return
            run_id = run.id
            run.status = RunStatus.STARTING
            run.started_at = func.clock_timestamp()
        assert federation.control is not None
        try:
            flwr_run_id = federation.control.start_run(self._bundle, {"training-run-id": run_id})
        except (httpx.HTTPError, RuntimeError):
            log.exception("SuperLink did not take the run")
            self._end(run_id, SUPERLINK_DIED)
            return
        with self._sessions() as session, session.begin():
            session.execute(
                update(TrainingRun).where(TrainingRun.id == run_id).values(flwr_run_id=flwr_run_id)
            )
        self._current = CurrentRun(run_id, flwr_run_id, submitted_at=time.monotonic())

    def _watch(self, current: CurrentRun, federation: Federation) -> None:
        now = time.monotonic()
        if now < current.look_again_at:
            return
        current.look_again_at = now + LOOK_SECONDS
        with self._sessions() as session:
            status, cancel_requested_at = session.execute(
                select(TrainingRun.status, TrainingRun.cancel_requested_at).where(
                    TrainingRun.id == current.run_id
                )
            ).one()
        assert federation.control is not None
        flower_over = federation.control.run_ended(current.flwr_run_id)
        serverapp_runs = federation.serverapp_runs()
        current.serverapp_seen = current.serverapp_seen or serverapp_runs
        launched = current.serverapp_seen or now - current.submitted_at > LAUNCH_SECONDS
        if status in ENDED_STATUSES:
            if not flower_over:
                # The Run is recorded as ended; whatever Flower still does for it is stopped, and the next may start.
                current.over_since = current.over_since or now
                if now - current.over_since < SILENT_GRACE_SECONDS:
                    return
                federation.control.stop_run(current.flwr_run_id)
            self._current = None
        elif flower_over or (launched and not serverapp_runs):
            current.over_since = current.over_since or now
            if now - current.over_since >= SILENT_GRACE_SECONDS:
                self._end(current.run_id, SERVERAPP_DIED)
        elif cancel_requested_at is not None:
            current.cancel_seen_at = current.cancel_seen_at or now
            if now - current.cancel_seen_at >= CANCEL_GRACE_SECONDS:
                federation.control.stop_run(current.flwr_run_id)
                with self._sessions() as session, session.begin():
                    end_run(session, current.run_id, RunStatus.CANCELLED, None)

    def _end(self, run_id: int, reason: str) -> None:
        with self._sessions() as session, session.begin():
            end_run(session, run_id, RunStatus.FAILED, reason)
