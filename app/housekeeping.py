"""What the web process does by itself: it seals the audit trails every second, and deletes what is old every day."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

from sqlalchemy.orm import Session

from app.databases import central_session, housekeeping_session, served_institutions
from app.errors import FedcostError
from app.services import audit, audit_chain, idempotency, retention
from app.services.access import record_access
from app.settings import get_settings

EVERY = 1.0  # seconds
RETENTION_EVERY = 600.0  # seconds between two looks whether a daily job is due

logger = logging.getLogger(__name__)


@asynccontextmanager
async def housekeeping_running() -> AsyncIterator[None]:
    """Keep house for as long as the context lasts; of several processes whichever is first does the work."""
    keeper = asyncio.create_task(_keep_house())
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def _keep_house() -> None:
    silent: set[str] = set()
    deleting: asyncio.Task[None] | None = None
    looked = -RETENTION_EVERY
    while True:
        # Threads of their own: a database that hangs must hold up neither the pages nor the seals of another.
        await asyncio.to_thread(seal_trails, silent)
        if time.monotonic() - looked >= RETENTION_EVERY and (deleting is None or deleting.done()):
            looked = time.monotonic()
            deleting = asyncio.create_task(asyncio.to_thread(delete_what_is_old))
        await asyncio.sleep(EVERY)


def seal_trails(silent: set[str]) -> None:
    """Seal the trail of the central database and of every Site that this process serves.

    `silent` holds those that did not answer the last time: the log says so once and not every second.
    """
    _seal("the consortium", central_session, silent)
    for code in served_institutions():
        _seal(code, lambda code=code: housekeeping_session(code), silent)  # type: ignore[misc]


def delete_what_is_old() -> None:
    """Run the daily retention job of the consortium and of every Site that this process serves, where it is due.

    Answers that are kept for requests sent twice are deleted each time.
    """
    settings = get_settings()
    # A Site's own process has no say in the consortium's database.
    if not settings.site_database_urls or settings.federation or settings.demo_mode:
        _delete("central", "central", central_session)
    for code in served_institutions():
        _delete(code, "site", lambda code=code: housekeeping_session(code))  # type: ignore[misc]


def _delete(
    owner: str, trail: audit_chain.Trail, opened: Callable[[], AbstractContextManager[Session]]
) -> None:
    try:
        with opened() as session:
            idempotency.forget_old(session, trail)
            session.commit()
            if not retention.is_due(session, trail):
                return
            session.commit()
            job = retention.run_job(session, trail, owner, actor=None)
            if job is None:
                return
            details = {"rows": dict(job.deleted), "job": job.id}
            outcome: audit.Outcome = "failed" if job.status == "failed" else "ok"
            if trail == "central":
                audit.record(
                    central=session, actor=None, action="retention_ran", details=details, outcome=outcome
                )
            else:
                record_access(session, None, "retention_ran", details=details, outcome=outcome)
    except FedcostError as error:
        logger.warning("what is old at %s is not deleted for now: %s", owner, error)
    except Exception as error:
        logger.error("what is old at %s cannot be deleted: %s", owner, type(error).__name__)


def _seal(whose: str, opened: Callable[[], AbstractContextManager[Session]], silent: set[str]) -> None:
    try:
        sealed: int | None = audit_chain.BATCH
        while sealed == audit_chain.BATCH:
            with opened() as session:
                sealed = audit_chain.seal(session)
        silent.discard(whose)
    except FedcostError as error:
        if whose not in silent:
            logger.warning("the audit trail of %s is not sealed for now: %s", whose, error)
        silent.add(whose)
    except Exception as error:
        # The loop must outlive every mistake of one database; the text may quote a row, so only its class is told.
        if whose not in silent:
            logger.error("the audit trail of %s cannot be sealed: %s", whose, type(error).__name__)
        silent.add(whose)
