"""Writes the counts and mistakes of this web process into the central database every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from app.databases import central_session
from app.errors import CentralUnavailable
from app.measures import MINUTES, SEEN_FAULTS
from app.services import operations

EVERY = 10.0  # seconds
SWEEP_EVERY = 3600.0  # seconds

logger = logging.getLogger(__name__)


class OperationsRecord:
    """Takes what was counted to the database; what it does not accept is kept a while, then forgotten.

    A hospital's web process may not write there: its role is refused, which is said once and holds up nothing.
    """

    def __init__(self) -> None:
        self._swept_at = time.monotonic()
        self._silent = False

    def write(self) -> bool:
        """Write down what there is; tells whether that worked."""
        minutes, faults = MINUTES.taken(), list(SEEN_FAULTS)
        try:
            with central_session() as central:
                operations.write_minutes(central=central, minutes=minutes)
                operations.write_faults(central=central, faults=faults)
                if time.monotonic() - self._swept_at > SWEEP_EVERY:
                    operations.sweep_minutes(central=central)
                    self._swept_at = time.monotonic()
        except (CentralUnavailable, SQLAlchemyError) as error:
            if not self._silent:
                logger.warning("counts of requests are not written down for now: %s", type(error).__name__)
            self._silent = True
            MINUTES.forget_old()
            return False
        self._silent = False
        MINUTES.written(minutes)
        for fault in faults:
            SEEN_FAULTS.remove(fault)
        return True


@asynccontextmanager
async def operations_recorded() -> AsyncIterator[None]:
    """Write for as long as the context lasts, and once more at its end."""
    record = OperationsRecord()
    keeper = asyncio.create_task(_keep_writing(record))
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        await asyncio.to_thread(record.write)


async def _keep_writing(record: OperationsRecord) -> None:
    while True:
        await asyncio.sleep(EVERY)
        # A thread of its own: a database that hangs must not hold up the pages.
        await asyncio.to_thread(record.write)
