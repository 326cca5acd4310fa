"""The queue of Runs: hands the oldest to a waiting ServerApp and sees that each ends in a recorded state.

A ServerApp needs a second and a half to start, so one is always started ahead: Flower runs it, and it waits until a
Run's row bears its Flower run id (`fl.plan.wait_for_run`). The press of a button then finds it ready.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db.central import TrainingRun
from db.states import ENDED_STATUSES, RUNNING_STATUSES, RunStatus
from fl.run_queue import next_waiting
from fl.runtime.federation import Federation
from fl.runtime.flower_private import Bundle
from fl.transactions import end_run, is_disk_full

log = logging.getLogger(__name__)
CANCEL_GRACE_SECONDS = 3.0  # the ServerApp ends by itself within this; then SuperLink stops it
SILENT_GRACE_SECONDS = 2.0  # Flower's run is over, and the Run's last commit may still be on its way
LAUNCH_SECONDS = 20.0  # from the request to a running ServerApp, on a busy machine
LONGEST_START_SECONDS = 120.0
SITES_GRACE_SECONDS = 30.0  # then a Run starts with the Sites that are connected
LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0  # before another ServerApp is started in place of one that died

RESTARTED = (
    "The training service was restarted during this Run. Nothing else is affected. "
    "Resume it after its last saved round, or start the Run again."
)
SUPERLINK_DIED = (
    "SuperLink, which connects the hospitals, stopped during this Run. It is started again by itself. "
    "Resume the run then, or start the Run again."
)
SERVERAPP_DIED = (
    "The training process stopped unexpectedly. The model in use is unchanged. "
    "Resume it after its last saved round, or start the Run again."
)
NOT_UP = (
    "The hospitals' training processes did not start. An administrator finds the reason in the server's logs."
)


@dataclass
class StartedServerApp:
    """A Flower run that was asked for, and the Run that it conducts once it was given one."""

    flwr_run_id: str
    asked_at: float
    run_id: int | None = None
    seen: bool = False  # its process has been running
    cancel_seen_at: float | None = None
    over_since: float | None = None  # Flower, the process table or the Run itself says that it is over


class RunQueue:
    """Executes queued Runs one after the other: the one that was moved to the front, then oldest first."""

    def __init__(self, sessions: sessionmaker[Session], bundle: Bundle) -> None:
        self._sessions = sessions
        self._bundle = bundle
        self._server_app: StartedServerApp | None = None
        self._start_at = 0.0
        self._look_at = 0.0
        self._down_since: float | None = None

    def end_abandoned(self, reason: str = RESTARTED) -> None:
        """End every Run that a former leader or SuperLink left running."""
        self._server_app, self._start_at = None, 0.0
        with self._sessions() as session, session.begin():
            running = session.scalars(select(TrainingRun.id).where(TrainingRun.status.in_(RUNNING_STATUSES)))
            for run_id in running.all():
                log.warning("run %s is ended: %s", run_id, reason, extra={"run_id": run_id})
                end_run(session, run_id, RunStatus.FAILED, reason)

    def find_given(self) -> None:
        """Find out which Run the waiting ServerApp was given, if a commit arrived and nobody was told."""
        server_app = self._server_app
        if server_app is not None and server_app.run_id is None:
            with self._sessions() as session:
                server_app.run_id = session.scalar(
                    select(TrainingRun.id).where(TrainingRun.flwr_run_id == server_app.flwr_run_id)
                )

    def poll(self, federation: Federation) -> None:
        """Start a ServerApp ahead, give it the next Run, or watch the one at work."""
        if federation.control is None:
            self._give_up_waiting()
            return
        self._down_since = None
        if self._server_app is None:
            self._start_ahead(federation)
        elif self._server_app.run_id is None:
            self._give_next(self._server_app, federation)
        if self._server_app is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._watch(self._server_app, federation)

    def _give_up_waiting(self) -> None:
        now = time.monotonic()
        self._down_since = self._down_since or now
        if now - self._down_since < LONGEST_START_SECONDS:
            return  # a Run may have waited long for others, or because the queue was paused
        with self._sessions() as session, session.begin():
            run = next_waiting(session)
            if run is not None and _seconds_waited(run) > LONGEST_START_SECONDS:
                end_run(session, run.id, RunStatus.FAILED, NOT_UP)

    def _start_ahead(self, federation: Federation) -> None:
        if time.monotonic() < self._start_at:
            return
        assert federation.control is not None
        self._start_at = time.monotonic() + RETRY_SECONDS
        self._server_app = StartedServerApp(federation.control.start_run(self._bundle), time.monotonic())

    def _give_next(self, server_app: StartedServerApp, federation: Federation) -> None:
        with self._sessions() as session, session.begin():
            run = next_waiting(session)
            if run is None or not (federation.up or _seconds_waited(run) > SITES_GRACE_SECONDS):
                return
            run.status = RunStatus.STARTING
            run.started_at = func.clock_timestamp()
            run.flwr_run_id = server_app.flwr_run_id
            run_id = run.id
        server_app.run_id = run_id
        log.info("run %s begins", server_app.run_id, extra={"run_id": server_app.run_id})
        federation.wake_sites()

    def _watch(self, server_app: StartedServerApp, federation: Federation) -> None:
        now = time.monotonic()
        assert federation.control is not None
        runs = federation.serverapp_runs()
        server_app.seen = server_app.seen or runs
        launched = server_app.seen or now - server_app.asked_at > LAUNCH_SECONDS
        gone = federation.control.run_ended(server_app.flwr_run_id) or (launched and not runs)
        if server_app.run_id is None:
            if gone:
                log.error("the waiting ServerApp ended; another is started")
                self._server_app = None
            return
        with self._sessions() as session:
            status, cancel_requested_at = session.execute(
                select(TrainingRun.status, TrainingRun.cancel_requested_at).where(
                    TrainingRun.id == server_app.run_id
                )
            ).one()
        ended = status in ENDED_STATUSES
        if gone or ended:
            server_app.over_since = server_app.over_since or now
        silent_for = now - server_app.over_since if server_app.over_since else 0.0
        if ended and (gone or silent_for >= SILENT_GRACE_SECONDS):
            # Whatever Flower still does for an ended Run is stopped, and the next may start.
            federation.control.stop_run(server_app.flwr_run_id)
            self._server_app, self._start_at = None, 0.0
        elif gone and silent_for >= SILENT_GRACE_SECONDS:
            self._end(server_app.run_id, RunStatus.FAILED, SERVERAPP_DIED)
        elif cancel_requested_at is not None and not ended:
            server_app.cancel_seen_at = server_app.cancel_seen_at or now
            if now - server_app.cancel_seen_at >= CANCEL_GRACE_SECONDS:
                federation.control.stop_run(server_app.flwr_run_id)
                self._end(server_app.run_id, RunStatus.CANCELLED, None)

    def _end(self, run_id: int, status: RunStatus, reason: str | None) -> None:
        """End a Run; on a full disk it is tried again at the next look, and the federation stays up meanwhile."""
        try:
            with self._sessions() as session, session.begin():
                end_run(session, run_id, status, reason)
        except OperationalError as error:
            if not is_disk_full(error):
                raise
            log.error(
                "run %s cannot be ended while the disk of the central database is full",
                run_id,
                extra={"run_id": run_id},
            )


def _seconds_waited(run: TrainingRun) -> float:
    return (datetime.now(UTC) - run.requested_at).total_seconds()
