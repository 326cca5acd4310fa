"""Transactions that outlast a moment without the database, and the end of a Run, recorded even on a full disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db.central import TrainingRound, TrainingRun
from db.federation import RunEvent
from db.states import ENDED_STATUSES, EventSeverity, RoundStatus, RunStatus

log = logging.getLogger(__name__)
Result = TypeVar("Result")

PATIENCE_SECONDS = 20.0  # a restarted PostgreSQL answers within a few
PAUSE_SECONDS = 0.25
DISK_FULL_STATE = "53100"  # SQLSTATE disk_full
DISK_FULL = (
    "The disk of the central database is full, so the training could not be saved. The model in use is unchanged. "
    "Free some disk space on the server, then resume the run or start it again."
)


class DiskFull(Exception):
    """The central database has no disk space left for what was to be written."""


def is_disk_full(error: DBAPIError) -> bool:
    """Tell whether PostgreSQL refused because its disk is full."""
    return getattr(error.orig, "pgcode", None) == DISK_FULL_STATE


def transact(
    sessions: sessionmaker[Session],
    work: Callable[[Session], Result],
    patience: float = PATIENCE_SECONDS,
) -> Result:
    """Do `work` in one transaction; while the database does not answer, try again.

    `work` may be done twice if the connection was lost during the commit, so it must bear that.

    Parameters
    ----------
    patience
        Seconds after which the last error is raised.

    Raises
    ------
    DiskFull
        At once: waiting frees no space.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            with sessions() as session, session.begin():
                return work(session)
        except (OperationalError, InterfaceError) as error:
            if is_disk_full(error):
                raise DiskFull from error
            if time.monotonic() >= deadline:
                raise
            log.warning("a database does not answer (%s); trying again", type(error.orig).__name__)
        time.sleep(PAUSE_SECONDS)


def end_run(session: Session, run_id: int, status: RunStatus, reason: str | None) -> bool:
    """End a Run that has not ended, with the Rounds it had begun; answer whether it was still open.

    What is said of its Rounds and in its log needs disk space; if there is none, the Run ends without it.
    """
    ended = session.execute(
        update(TrainingRun)
        .where(TrainingRun.id == run_id, TrainingRun.status.not_in(ENDED_STATUSES))
        .values(status=status, error=reason, finished_at=func.clock_timestamp())
        .returning(TrainingRun.id)
    ).first()
    if ended is None:
        return False
    try:
        with session.begin_nested():
            _end_rounds(session, run_id)
            cancelled = status == RunStatus.CANCELLED
            session.add(
                RunEvent(
                    run_id=run_id,
                    severity=EventSeverity.WARNING if cancelled else EventSeverity.ERROR,
                    message=reason or ("The run was cancelled." if cancelled else f"The run is {status}."),
                )
            )
    except OperationalError as error:
        if not is_disk_full(error):
            raise
        log.error("run %s ended as %s; a full disk kept the rest from being recorded", run_id, status)
    return True


def _end_rounds(session: Session, run_id: int) -> None:
    """A Round whose weights were saved is complete, though its model may not have been evaluated."""
    begun = session.scalars(
        select(TrainingRound).where(
            TrainingRound.run_id == run_id, TrainingRound.status == RoundStatus.STARTED
        )
    )
    for row in begun:
        row.status = RoundStatus.FAILED if row.weights_sha256 is None else RoundStatus.COMPLETED
        row.completed_at = func.clock_timestamp()
