"""Outlasting a restart of PostgreSQL: connections that wait for it, and work that is begun again where that is safe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg2
from sqlalchemy import Engine, event

from app.errors import DatabaseUnavailable
from db.pools import beginning_again

PATIENCE = 15.0  # seconds in all; a server that is restarted answers within a few
PAUSE = 0.1  # seconds
# What libpq says of a server that is going down, away, or coming up; of a wrong password it says something else.
_RESTARTING = (
    "Connection refused",
    "the database system is",
    "server closed the connection",
    "terminating connection",
)

Result = TypeVar("Result")
# Databases whose commit was asked for since the work in hand began.
_commits: ContextVar[list[str] | None] = ContextVar("commits", default=None)

logger = logging.getLogger(__name__)


class _Patience:
    """Waits for a server that has answered this process before; one that stays away is soon not waited for."""

    def __init__(self) -> None:
        self._answered = False
        self._away_since: float | None = None

    def connect(self, dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Connect, and while the server restarts, again (the engine's `do_connect`)."""
        while True:
            try:
                connection = psycopg2.connect(*arguments, **options)
            except psycopg2.OperationalError as error:
                if not self._answered or not any(words in str(error) for words in _RESTARTING):
                    raise
                now = time.monotonic()
                if self._away_since is None:
                    self._away_since = now
                    logger.warning("a database does not answer; it is waited for")
                if now - self._away_since > PATIENCE:
                    raise
                time.sleep(PAUSE)
            else:
                self._answered, self._away_since = True, None
                return connection


def wait_on_connecting(engine: Engine) -> None:
    """Let every new connection of an engine wait while its server restarts, `PATIENCE` seconds at most."""
    event.listen(engine, "do_connect", _Patience().connect)


def note_commit(database: str) -> None:
    """Remember that a commit is sent now: from here on its fate may stay unknown."""
    sent = _commits.get()
    if sent is not None:
        sent.append(database)


def outlasting(work: Callable[[], Result], *, repeatable: bool = False) -> Result:
    """Do `work`; if a database went away in the middle, do it again from the start, for `PATIENCE` seconds.

    Parameters
    ----------
    repeatable
        Doing it twice leaves what doing it once leaves. Otherwise it is not done again once a commit was sent: the
        commit may have arrived.

    Raises
    ------
    DatabaseUnavailable
        The last one.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        with _noting() as sent, beginning_again():
            try:
                return work()
            except DatabaseUnavailable as error:
                if not error.connection_lost or (sent and not repeatable) or time.monotonic() > deadline:
                    raise
        time.sleep(PAUSE)


async def outlasting_async(work: Callable[[], Awaitable[Result]], *, repeatable: bool = False) -> Result:
    """Do the same with work that is awaited."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with _noting() as sent, beginning_again():
            try:
                return await work()
            except DatabaseUnavailable as error:
                if not error.connection_lost or (sent and not repeatable) or time.monotonic() > deadline:
                    raise
        await asyncio.sleep(PAUSE)


@contextmanager
def _noting() -> Iterator[list[str]]:
    """Give the list of commits that are sent within; those of work around it count there, too."""
    around = _commits.get()
    sent: list[str] = []
    token = _commits.set(sent)
    try:
        yield sent
    finally:
        _commits.reset(token)
        if around is not None:
            around += sent
