"""Keeps the supervisor of SuperLink and SuperNodes running as a child of the web process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.settings import PROJECT_ROOT, Settings

COMMAND = (sys.executable, "-m", "fl.runtime.supervisor")
RESTART_AFTER = 1.0  # seconds
STOP_WITHIN = 10.0  # seconds
NOT_FOR_TRAINING = ("SITE_DATABASE_URLS", "JWT_SECRET", "STREAMLIT_SERVER_COOKIE_SECRET")

logger = logging.getLogger(__name__)


@asynccontextmanager
async def supervisor_running(settings: Settings) -> AsyncIterator[None]:
    """Run the supervisor for as long as the context lasts, and start it again if it dies."""
    keeper = asyncio.create_task(_keep_running(settings))
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def _keep_running(settings: Settings) -> None:
    while True:
        supervisor = await _start(settings)
        try:
            code = await supervisor.wait()
        finally:
            # Ends with the web process, and leaves nothing behind when it died by itself.
            await _stop(supervisor)
        logger.warning("the supervisor ended with code %s; it is started again", code)
        await asyncio.sleep(RESTART_AFTER)


async def _start(settings: Settings) -> Process:
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "supervisor.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            cwd=PROJECT_ROOT,
            env=_environment(settings),
            # The supervisor reads its end: end of file says that this process is gone, however it went.
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _environment(settings: Settings) -> dict[str, str]:
    """Everything but the URLs by which this process reads patients: SuperNodes have a role of their own."""
    own = {name: value for name, value in os.environ.items() if name not in NOT_FOR_TRAINING}
    return {**own, "DATA_DIR": str(settings.data_dir)}


async def _stop(supervisor: Process) -> None:
    if supervisor.stdin is not None:
        supervisor.stdin.close()
    try:
        await asyncio.wait_for(supervisor.wait(), STOP_WITHIN)
    except TimeoutError:
        logger.warning("the supervisor did not stop within %.0f s; it is killed", STOP_WITHIN)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(supervisor.pid, signal.SIGKILL)
    await supervisor.wait()
