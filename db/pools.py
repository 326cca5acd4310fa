"""A pool of database connections that counts how often somebody had to wait, and when to ask whether one is alive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Dialect, Engine, PoolProxiedConnection, QueuePool, event
from sqlalchemy.exc import InvalidatePoolError

KEPT = 5  # connections that stay open
MORE = 10  # that are opened when those are in use

_begun_again: ContextVar[bool] = ContextVar("begun_again", default=False)


class CountingPool(QueuePool):
    """SQLAlchemy's own pool; `waits` is how often all connections were in use when one was asked for."""

    waits = 0

    def connect(self) -> PoolProxiedConnection:
        """Return a connection, after a wait if all are in use."""
        if self.checkedout() >= KEPT + MORE:
            self.waits += 1
        return super().connect()


@contextmanager
def beginning_again() -> Iterator[None]:
    """Promise that what is done within is begun again if a connection turns out to be dead: none is asked first."""
    token = _begun_again.set(True)
    try:
        yield
    finally:
        _begun_again.reset(token)


def ask_before_use(engine: Engine) -> None:
    """Have each connection asked whether it is alive before it is used again, and all replaced if one is not.

    SQLAlchemy's `pool_pre_ping` does the same for everybody; here it is left out within `beginning_again`, where it
    would be a third of what a prediction asks of the database.
    """
    dialect = engine.dialect

    def checkout(connection: Any, record: Any, _: object) -> None:
        if record.info.setdefault("used", False) and not _begun_again.get():
            _ask(dialect, connection)
        record.info["used"] = True

    event.listen(engine, "checkout", checkout)


def _ask(dialect: Dialect, connection: Any) -> None:
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        if dialect.is_disconnect(error, connection, None):
            raise InvalidatePoolError from error
        raise
