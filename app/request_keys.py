"""The key under which a request changes something once: its mark is committed together with the change."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import RequestUnderWay
from db.idempotency import IDEMPOTENCY_KEYS
from db.privileges import DatabaseKind

KEPT_FOR = timedelta(hours=24)


@dataclass
class RequestKey:
    """A request that came with a key.

    Attributes
    ----------
    database
        In which the request makes its change.
    route
        The address without ids.
    request_sha256
        Of everything that makes two requests the same.
    attempt
        Tells this request from another one with the same key.
    marked
        The mark was written; it counts once its transaction is committed.
    """

    database: DatabaseKind
    worker_id: int
    key: str
    route: str
    request_sha256: str
    attempt: uuid.UUID = field(default_factory=uuid.uuid4)
    marked: bool = False


_current: ContextVar[RequestKey | None] = ContextVar("request_key", default=None)


@contextmanager
def changing_once(key: RequestKey) -> Iterator[None]:
    """Have the change that is made within marked with `key`."""
    token = _current.set(key)
    try:
        yield
    finally:
        _current.reset(token)


def has_key(database: DatabaseKind) -> bool:
    """Tell whether the change that the request in hand makes in `database` is to be marked."""
    key = _current.get()
    return key is not None and key.database == database


def mark(session: Session, database: DatabaseKind) -> None:
    """Add the mark of the request in hand, if it has a key, to a transaction that is about to be committed.

    A transaction with the same mark is waited for.

    Raises
    ------
    RequestUnderWay
        If another request with the key was faster; what this one did must be rolled back.
    """
    key = _current.get()
    if key is None or key.database != database:
        return
    session.flush()  # the change first, so that two requests wait for each other in the same order
    row = IDEMPOTENCY_KEYS[database]
    own = (row.worker_id == key.worker_id) & (row.key == key.key)
    session.execute(delete(row).where(own, row.created_at < func.now() - KEPT_FOR))
    session.execute(
        insert(row)
        .values(
            worker_id=key.worker_id,
            key=key.key,
            attempt=key.attempt,
            route=key.route,
            request_sha256=key.request_sha256,
        )
        .on_conflict_do_nothing()
    )
    # The same attempt comes again if its commit arrived and the connection was lost.
    if session.scalar(select(row.attempt).where(own)) != key.attempt:
        raise RequestUnderWay("A request with this Idempotency-Key was faster. Send it again in a moment.")
    key.marked = True
