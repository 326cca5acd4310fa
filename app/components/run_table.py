"""The list of Runs: kind, status, length, R² by round, strategy, and who or which trigger asked."""

from __future__ import annotations

from collections.abc import Sequence

from app.components.browser import browser_zone
from app.components.formats import NOT_KNOWN, RUN_STATUS_NAMES, duration, number, when
from app.components.row_table import Column, Row, show_row_table
from app.services.run_list import RunLine
from db.states import RunKind
from fl.settings import STRATEGIES

KIND_SHORT: dict[str, str] = {
    RunKind.FEDERATED: "Training",
    RunKind.LEAST_SQUARES: "Baseline",
    RunKind.COHORT: "Patients described",
    RunKind.EVALUATION: "Evaluation",
}
_COLUMNS = (
    Column("Run", figure=True),
    Column("Kind"),
    Column("Status"),
    Column("R²", unit="by round, and the last"),
    Column("Rounds", figure=True),
    Column("Took", figure=True),
    Column("Requested"),
    Column("By"),
)


def show_runs(runs: Sequence[RunLine], *, key: str, page: str) -> int | None:
    """Show Runs, newest first; returns the id of the one that the reader just opened.

    Parameters
    ----------
    page
        Which page of the list this is.
    """
    opened = show_row_table(
        _COLUMNS, [_row(run) for run in runs], key=key, caption="Training runs, newest first", page=page
    )
    return int(opened) if opened else None


def strategy_name(run: RunLine) -> str:
    """Return what people call a Run's strategy; a Run that trains nothing has none."""
    known = STRATEGIES.get(run.strategy)
    return known.label if known else run.strategy or NOT_KNOWN


def asked_by(run: RunLine) -> str:
    """Return who asked for a Run: a person, a trigger, or a rule of the software."""
    return run.requested_by or (f"trigger {run.trigger}" if run.trigger else "a rule")


def _row(run: RunLine) -> Row:
    took = None
    if run.finished_at and run.started_at:
        took = (run.finished_at - run.started_at).total_seconds()
    trains = run.kind == RunKind.FEDERATED
    cells = [
        str(run.id),
        f"{KIND_SHORT[run.kind]}, {strategy_name(run)}" if trains else KIND_SHORT[run.kind],
        RUN_STATUS_NAMES[run.status],
        number(run.last_r2),
        f"{run.current_round:,} of {run.num_rounds:,}" if trains else NOT_KNOWN,
        duration(took),
        when(run.requested_at, browser_zone()),
        asked_by(run),
    ]
    return Row(str(run.id), f"?run={run.id}", cells, [], {3: run.r2} if len(run.r2) > 1 else {})
