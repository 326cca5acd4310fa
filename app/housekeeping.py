"""What the web process does by itself beside the server: it seals the audit trails every second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

from sqlalchemy.orm import Session

from app.databases import central_session, housekeeping_session, served_institutions
from app.errors import FedcostError
from app.services import audit_chain

EVERY = 1.0  # seconds

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
    while True:
        # A thread of its own: a database that hangs must not hold up the pages.
        await asyncio.to_thread(seal_trails, silent)
        await asyncio.sleep(EVERY)


def seal_trails(silent: set[str]) -> None:
    """Seal the trail of the central database and of every Site that this process serves.

    `silent` holds those that did not answer the last time: the log says so once and not every second.
    """
    _seal("the consortium", central_session, silent)
    for code in served_institutions():
        _seal(code, lambda code=code: housekeeping_session(code), silent)  # type: ignore[misc]


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
