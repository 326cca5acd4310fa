"""The ServerApp: takes one Run, conducts it by its kind, and sees that it ends in a recorded state."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import httpx
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from sqlalchemy.exc import SQLAlchemyError

from db.logs import belonging_to, configure_logs
from db.states import RunKind
from fl.plan import RunPlan, wait_for_run
from fl.presence import asking_sites
from fl.recorder import RunAlreadyEnded, RunCancelled, RunRecorder
from fl.roster import Roster, RunFailed
from fl.run_cohort import conduct_cohort
from fl.run_evaluation import conduct_evaluation
from fl.run_federated import conduct_federated
from fl.run_least_squares import conduct_least_squares
from fl.runtime.flower_messages import pull_objects_quickly
from fl.runtime.priority import give_way
from fl.site_binding import RegisteredKeys, SiteBinding
from fl.transactions import DISK_FULL, DiskFull

app = ServerApp()
log = logging.getLogger(__name__)

# What a Run of each kind does once enough Sites are connected.
CONDUCTORS: dict[RunKind, Callable[[Roster], None]] = {
    RunKind.FEDERATED: conduct_federated,
    RunKind.LEAST_SQUARES: conduct_least_squares,
    RunKind.COHORT: conduct_cohort,
    RunKind.EVALUATION: conduct_evaluation,
}


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Take one Run, in the process that Flower started for it."""
    give_way()
    configure_logs("serverapp", stream=_log_file())
    take_run(grid, context)


def _log_file() -> TextIO | None:
    """Open the log that the supervisor named: SuperLink starts this process without an output."""
    path = os.environ.get("SERVERAPP_LOG")
    return Path(path).open("a", encoding="utf-8") if path else None


def take_run(grid: Grid, context: Context) -> None:
    """Wait for a Run and conduct it; it ends in a recorded state whatever happens."""
    database_url = os.environ["CENTRAL_DATABASE_URL"]
    pull_objects_quickly()
    binding = RegisteredKeys(database_url)
    with asking_sites(grid, database_url, binding):
        run_id = wait_for_run(database_url, str(context.run_id))
    with belonging_to(run_id=run_id):
        _see_it_end(grid, RunRecorder(database_url, run_id), binding)


def _see_it_end(grid: Grid, recorder: RunRecorder, binding: SiteBinding) -> None:
    try:
        conduct(grid, recorder.plan(), recorder, binding)
    except RunAlreadyEnded:
        log.info("the Run was ended from outside")
    except RunCancelled:
        recorder.cancelled()
    except RunFailed as failure:
        recorder.fail(str(failure))
        raise
    except DiskFull:
        recorder.fail(DISK_FULL)
        raise
    except (SQLAlchemyError, httpx.HTTPError):
        # The central database or SuperLink is away. The supervisor knows which, and ends the Run with that reason.
        log.exception("the central database or SuperLink failed during the Run")
        raise
    except Exception:  # recorded for people, then raised for Flower
        log.exception("the Run ended by a mistake of the program")
        recorder.fail(
            "The training stopped because of a mistake in the program; the server's log has the details."
        )
        raise


def conduct(grid: Grid, plan: RunPlan, recorder: RunRecorder, binding: SiteBinding) -> None:
    """Wait for the Sites, then do what the Run's kind asks for."""
    roster = Roster(grid, plan, recorder, binding)
    roster.wait_for_sites()
    CONDUCTORS[plan.kind](roster)
