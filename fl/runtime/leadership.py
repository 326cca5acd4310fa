"""Which supervisor leads: the one whose connection holds an advisory lock of the central database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from db.federation import FederationStatus

log = logging.getLogger(__name__)
ADVISORY_LOCK = 0x0FEDC057
PATIENCE_SECONDS = 20.0  # a restarted PostgreSQL answers within a few
PAUSE_SECONDS = (
    0.1  # shorter than the pauses of those who wait to lead: whoever led is the first to ask again
)

_TAKE = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=ADVISORY_LOCK)
_GIVE_UP = text("SELECT pg_advisory_unlock(:key)").bindparams(key=ADVISORY_LOCK)


class LeadershipLost(Exception):
    """The lock is gone and was not to be had again; another supervisor may lead now."""


class Leadership:
    """The lock, on a connection of its own.

    Parameters
    ----------
    name
        By which `federation_status` knows this supervisor.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Try to take the lock; False while another holds it. Raises `SQLAlchemyError`."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            return bool(self._connection.scalar(_TAKE))
        except SQLAlchemyError:
            self.let_go()
            raise

    def keep(self) -> None:
        """Find out whether the lock is still held; raises `SQLAlchemyError` if its connection is gone."""
        if self._connection is None:
            raise LeadershipLost
        self._connection.execute(text("SELECT 1"))

    def take_again(self, pause: Callable[[float], bool]) -> None:
        """Wait for a database that went away, and take the lock before anybody else does.

        Parameters
        ----------
        pause
            Waits so many seconds; answers True if the process is to stop.

        Raises
        ------
        LeadershipLost
            If another supervisor leads by now, the database stays away, or the process is to stop.
        """
        self.let_go()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and not pause(PAUSE_SECONDS):
            try:
                if self.take():
                    return
                if self._another_leads():
                    break
            except SQLAlchemyError:
                continue
        raise LeadershipLost

    def let_go(self) -> None:
        """Give up the lock, if it is held, and close the connection."""
        if self._connection is not None:
            # Said, because the server notices a closed connection only after a moment in which nobody could lead.
            with suppress(SQLAlchemyError):
                self._connection.execute(_GIVE_UP)
            # Closed for good: the pool must not hand out a connection that holds the lock.
            with suppress(SQLAlchemyError):
                self._connection.detach()
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None

    def _another_leads(self) -> bool:
        assert self._connection is not None
        return self._connection.scalar(select(FederationStatus.leader)) != self._name
