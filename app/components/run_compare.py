"""Runs beside each other: their lines in one chart, where their settings differ, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.components import charts
from app.components.formats import NOT_KNOWN, RUN_STATUS_NAMES, count, duration, number, plain, usd, when
from app.components.live_chart import show_live_chart
from app.components.run_fields import FIELD_BY_NAME
from app.components.run_table import asked_by, strategy_name
from app.services.run_compare import ComparedRun, Comparison
from app.services.run_list import RunLine
from fl.settings import STRATEGIES

_LABELS = {
    "strategy": "Strategy",
    "num_rounds": "Rounds asked for",
    "seed": "Seed",
    "split_salt": "Split name",
}


def run_in_words(run: RunLine) -> str:
    """Return what a choice of Runs calls one: `Run 12, FedAvg, Completed, 24 Nov 2026, 14:05 UTC`."""
    return ", ".join(
        (f"Run {run.id}", strategy_name(run), RUN_STATUS_NAMES[run.status], when(run.requested_at))
    )


def show_comparison(comparison: Comparison) -> None:
    """Draw the charts and tables of Runs that are compared."""
    runs = comparison.runs
    lines = charts.lines_of_runs({str(run.line.id): f"Run {run.line.id}" for run in runs})
    st.markdown(
        "  \n".join(
            f"![]({charts.swatch(line)}) **{line.name}** {_in_short(run)}"
            for line, run in zip(lines, runs, strict=True)
        )
    )
    points = {str(run.line.id): run.points for run in runs}
    last = max((run.last.round_number for run in runs if run.last), default=1)
    for metric, column in zip(
        (charts.METRICS[2], charts.METRICS[0], charts.METRICS[1]), st.columns(3, gap="medium"), strict=True
    ):
        with column, st.container(gap="xxsmall"):
            st.markdown(f"**{metric.heading}**  \n:small[:gray[{metric.note}]]")
            show_live_chart(
                charts.metric_spec(metric, lines=lines, points=points, shown=list(points), rounds=(1, last)),
                key=f"compare_{metric.field}",
                view=",".join(points),
                alt=f"{metric.heading} by round, a line for each run. The table below has the last values.",
            )
    st.caption("On held-out patients of all hospitals, all hospitals together.")
    st.header("What came out", anchor=False)
    _show_table({f"Run {run.line.id}": _outcome(run) for run in runs})
    st.header("What was set differently", anchor=False)
    if comparison.differing:
        _show_table(
            {
                f"Run {run.line.id}": {
                    setting_label(name): _value(name, values[at])
                    for name, values in comparison.differing.items()
                }
                for at, run in enumerate(runs)
            }
        )
    elif len(runs) > 1:
        st.markdown("Nothing: these runs have the same settings and the same seed.")
    else:
        st.markdown("Choose a second run to see where their settings differ.")


def setting_label(name: str) -> str:
    """Return what people call a setting, with its unit."""
    return FIELD_BY_NAME[name].label if name in FIELD_BY_NAME else _LABELS[name]


def _in_short(run: ComparedRun) -> str:
    line = run.line
    facts = [strategy_name(line), RUN_STATUS_NAMES[line.status].lower(), f"by {asked_by(line)}"]
    return f"[{plain(', '.join(facts))}](training?run={line.id})"


def _outcome(run: ComparedRun) -> dict[str, str]:
    line, last, best = run.line, run.last, run.best
    took = None
    if line.finished_at and line.started_at:
        took = (line.finished_at - line.started_at).total_seconds()
    return {
        "Status": RUN_STATUS_NAMES[line.status],
        "Model version": line.version or NOT_KNOWN,
        "R² after the last round": number(last.r2 if last else None),
        "MAE after the last round (USD a year)": usd(last.mae if last else None),
        "RMSE after the last round (USD a year)": usd(last.rmse if last else None),
        "Loss after the last round": number(last.loss if last else None),
        "Best round": f"{best.round_number}, R² {number(best.r2)}" if best else NOT_KNOWN,
        "R² of least squares": number(run.baseline.overall.r2 if run.baseline else None),
        "Rounds evaluated": count(last.round_number if last else 0),
        "Took": duration(took),
    }


def _value(name: str, value: Any) -> str:
    if name == "strategy":
        return STRATEGIES[value].label if value in STRATEGIES else value or NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        field = FIELD_BY_NAME.get(name)
        return field.names.get(value, value) if field else value
    return f"{value:,}" if name == "num_rounds" else f"{value:.10g}"


def _show_table(by_run: dict[str, dict[str, str]]) -> None:
    rows: Sequence[str] = list(next(iter(by_run.values())))
    table = pd.DataFrame(
        {
            "": [plain(row) for row in rows],
            **{name: [plain(values[row]) for row in rows] for name, values in by_run.items()},
        }
    )
    st.table(table, border="horizontal", hide_index=True)
