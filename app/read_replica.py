"""Whether a replica of the consortium's database may answer a dashboard: it is there, and not behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker

from db.engines import engine_for

LAG_LIMIT = timedelta(seconds=5)  # more than this behind, and dashboards read the primary
CHECKED_EVERY = 1.0  # seconds
TRIED_AGAIN_AFTER = 15.0  # seconds without asking a replica that did not answer
CONNECTING = 2  # seconds; nobody waits long for what another server can answer, too
UNANSWERED = 3000  # milliseconds until a connection to a machine that is gone counts as lost

_PRIMARY = text("SELECT pg_current_wal_lsn() - '0/0', clock_timestamp()")
_REPLICA = text(
    "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() - '0/0', pg_last_xact_replay_timestamp()"
)
_WROTE = "wrote"  # of a session

logger = logging.getLogger(__name__)


class ReadReplica:
    """A replica as this process knows it; what the process has written itself, it must have replayed."""

    def __init__(self, url: str, primary_url: str) -> None:
        self.url = url
        self._primary_url = primary_url
        self._checking = threading.Lock()
        self._usable = False
        self._wrote = True  # something may have been, before this object was
        self._needed = 0  # bytes of the primary's log that must have been replayed
        self._checked_at = self._away_until = -float("inf")
        self._said = ""

    def note_write(self) -> None:
        """Remember that a write was committed to the primary: whoever did it may look at once."""
        self._wrote = True

    def may_answer(self) -> bool:
        """Tell whether the replica may be read now; asks both servers once in `CHECKED_EVERY`, and after a write."""
        now = time.monotonic()
        if self._usable and not self._wrote and now - self._checked_at <= CHECKED_EVERY:
            return True
        # While somebody else asks, or waits for a machine that is gone, the primary answers.
        if now < self._away_until or not self._checking.acquire(blocking=False):
            return False
        try:
            self._usable = self._check()
            self._checked_at = time.monotonic()
            return self._usable
        finally:
            self._checking.release()

    def set_aside(self) -> None:
        """Read the primary for a while: the replica did not answer."""
        self._usable = False
        self._away_until = time.monotonic() + TRIED_AGAIN_AFTER
        self._say("the read replica does not answer; dashboards read the primary")

    def _check(self) -> bool:
        # In this order: whoever sees no write any more must not see what was known before it.
        self._usable = False
        wrote, self._wrote = self._wrote, False
        try:
            with engine_for(self._primary_url).connect() as primary:
                written, now = primary.execute(_PRIMARY).one()
        except (DBAPIError, PoolTimeout):
            self._wrote = True
            return False
        if wrote:
            self._needed = int(written)
        try:
            with replica_engine(self.url).connect() as replica:
                replays, replayed, last_at = replica.execute(_REPLICA).one()
        except (DBAPIError, PoolTimeout):
            self.set_aside()
            return False
        if not replays:
            self._away_until = time.monotonic() + TRIED_AGAIN_AFTER
            self._say("CENTRAL_READ_DATABASE_URL names no replica; dashboards read the primary")
            return False
        # All of it replayed is no lag, however long ago the last transaction was.
        if replayed < written and (last_at is None or now - last_at > LAG_LIMIT):
            # What people see in the meantime must not be gone when the replica is read again.
            self._needed = int(written)
            self._say("the read replica is behind; dashboards read the primary")
            return False
        if replayed < self._needed:
            return False
        if self._said:
            logger.info("the read replica answers again")
            self._said = ""
        return True

    def _say(self, words: str) -> None:
        if words != self._said:
            logger.warning(words)
            self._said = words


_prepared: set[str] = set()


def replica_engine(url: str) -> Engine:
    """Return the engine of a replica: it only begins what a replica accepts, and its new connections give up soon."""
    engine = engine_for(url)
    if url not in _prepared:
        _prepared.add(url)
        event.listen(engine, "do_connect", _give_up_soon)
    return engine.execution_options(postgresql_readonly=True)


def _give_up_soon(dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    options |= {"connect_timeout": CONNECTING, "tcp_user_timeout": UNANSWERED}


def call_after_writes(sessions: sessionmaker[Session], tell: Callable[[], None]) -> None:
    """Have `tell` called after each commit of a session that did more than read."""

    def flushed(session: Session, context: Any) -> None:
        session.info[_WROTE] = True

    def executed(state: ORMExecuteState) -> None:
        if not state.is_select:
            state.session.info[_WROTE] = True

    def committed(session: Session) -> None:
        if _WROTE in session.info:
            tell()

    event.listen(sessions, "after_flush", flushed)
    event.listen(sessions, "do_orm_execute", executed)
    event.listen(sessions, "after_commit", committed)
