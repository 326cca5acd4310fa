"""One Run as people see it: steps, figures of the last Round, charts, and who took part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from app.components import charts
from app.components.formats import count, duration, number, plain, usd, when
from app.components.navigation import page
from app.components.participation import shares
from app.components.stepper import show_steps, steps_of
from app.services.monitoring import RoundPoint, RunProgress
from db.states import ENDED_STATUSES, RunStatus

FEWEST_ROUNDS_TO_CHOOSE = 5
AXIS_STEP = 20  # rounds
CHART_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}


def is_active(status: str) -> bool:
    """Tell whether a Run of that status may still change."""
    return status not in ENDED_STATUSES


def evaluated_rounds(progress: RunProgress) -> list[RoundPoint]:
    """Return the Rounds whose model was evaluated; the one at work, and one that failed, have no metrics."""
    return [point for point in progress.rounds if point.loss is not None]


def show_run(progress: RunProgress, names: Mapping[str, str]) -> None:
    """Draw a Run, live or ended.

    Parameters
    ----------
    names
        Institution code -> name of the whole consortium, so that colours do not depend on who takes part.
    """
    run = progress.run
    show_steps(
        steps_of(
            run.status,
            reached=_reached(progress),
            current_round=run.current_round,
            num_rounds=run.num_rounds,
        )
    )
    _show_state(progress)
    if progress.rounds or is_active(run.status):
        _show_last_round(progress)
        _show_charts(progress, names)
    _show_participation(progress)


def _reached(progress: RunProgress) -> str:
    if progress.rounds:
        all_evaluated = len(evaluated_rounds(progress)) >= progress.run.num_rounds
        return RunStatus.EVALUATING if all_evaluated else RunStatus.TRAINING
    if progress.participation:
        return RunStatus.STATISTICS
    return RunStatus.STARTING if progress.run.started_at else RunStatus.QUEUED


def _show_state(progress: RunProgress) -> None:
    run = progress.run
    if is_active(run.status):
        words = (
            "Cancelling; the present round is still being ended" if run.cancel_requested else progress.stage
        )
        st.progress(min(len(evaluated_rounds(progress)) / run.num_rounds, 1.0), text=plain(words))
    elif run.status == RunStatus.FAILED:
        st.error(plain(run.error or "The run failed."), icon=":material/error:")
        st.markdown("The model in use was not touched. An administrator can start another run.")
    elif run.status == RunStatus.CANCELLED:
        st.warning(
            "This run was cancelled. The model in use was not touched.", icon=":material/do_not_disturb_on:"
        )
    elif progress.model_version:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.success(
                f"This run made model version **{plain(progress.model_version)}**.",
                icon=":material/check_circle:",
                width="stretch",
            )
            st.page_link(page("models"), label="See the model", icon=":material/arrow_forward:")
    _show_facts(progress)


def _show_facts(progress: RunProgress) -> None:
    run = progress.run
    facts = [f"Requested by {plain(run.requested_by_name or 'a rule')} on {plain(when(run.requested_at))}"]
    if run.started_at:
        until = run.finished_at or datetime.now(UTC)
        verb = "took" if run.finished_at else "running for"
        facts.append(f"{verb} {duration((until - run.started_at).total_seconds())}")
    facts.append(f"strategy {plain(run.strategy)}")
    st.caption(" · ".join(facts))


def _show_last_round(progress: RunProgress) -> None:
    rounds = evaluated_rounds(progress)
    last = rounds[-1] if rounds else None
    after = f"after round {last.round_number}" if last else "after the first round"
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            (
                "R²",
                number(last.r2) if last else "–",
                "Share of the variation in cost that the model explains.",
            ),
            (
                "MAE (USD a year)",
                usd(last.mae if last else None),
                "Mean absolute error, in US dollars a year.",
            ),
            (
                "RMSE (USD a year)",
                usd(last.rmse if last else None),
                "Root mean squared error, in US dollars a year; large errors weigh more than in the MAE.",
            ),
            (
                "Hospitals",
                count(last.clients_participated) if last else "–",
                "Hospitals whose training was used in that round.",
            ),
        ):
            st.metric(label, plain(value), help=meaning, width=150)
    st.caption(f"On held-out patients of all hospitals, {after}. Held-out patients are never trained on.")


def _show_charts(progress: RunProgress, names: Mapping[str, str]) -> None:
    known = dict(names)
    known.update({site.code: site.name for site in progress.sites})
    known.update({answer.code: answer.name for answer in progress.participation})
    lines = charts.lines_for(known)
    labels = {line.code: f"![]({charts.swatch(line)}) {plain(line.name)}" for line in lines}
    shown = st.pills(
        "Lines shown",
        list(labels),
        selection_mode="multi",
        default=list(labels),
        format_func=labels.__getitem__,
        key="training_lines",
        label_visibility="collapsed",
        wrap=True,
    )
    rounds = _rounds_shown(progress)
    points: dict[str, list[charts.Point]] = {site.code: list(site.points) for site in progress.sites}
    points[charts.ALL] = list(evaluated_rounds(progress))
    for metric, column in zip(charts.METRICS, st.columns(len(charts.METRICS), gap="medium"), strict=True):
        with column, st.container(gap="xxsmall"):
            st.markdown(f"**{metric.heading}**  \n:small[:gray[{metric.note}]]")
            st.plotly_chart(
                charts.metric_figure(
                    metric,
                    lines=lines,
                    points=points,
                    shown=shown,
                    rounds=rounds,
                    live=is_active(progress.run.status),
                ),
                key=f"training_{metric.field}",
                config=CHART_CONFIG,
                alt=chart_in_words(metric, progress),
            )


def _rounds_shown(progress: RunProgress) -> tuple[int, int]:
    """Let the reader look closer at some Rounds of a long Run; unlike a zoom, it survives every redraw."""
    planned = progress.run.num_rounds
    if planned < FEWEST_ROUNDS_TO_CHOOSE:
        return 1, planned
    first, last = st.slider(
        "Rounds shown", 1, planned, (1, planned), key=f"training_rounds_{progress.run.id}", width=420
    )
    return first, _axis_end(progress) if last == planned else last


def _axis_end(progress: RunProgress) -> int:
    """Return the last Round of the axis: ahead of a live Run in steps, so that it neither jumps nor stands empty."""
    done = max((point.round_number for point in evaluated_rounds(progress)), default=1)
    if not is_active(progress.run.status):
        return done
    return min(progress.run.num_rounds, -(-done // AXIS_STEP) * AXIS_STEP)


def chart_in_words(metric: charts.ChartMetric, progress: RunProgress) -> str:
    """Say what a chart shows to those who do not see it: how the metric was at first and at last."""
    rounds = evaluated_rounds(progress)
    if not rounds:
        return f"{metric.heading} by round; no round has ended yet."
    first, last = rounds[0], rounds[-1]
    start, end = getattr(first, metric.field), getattr(last, metric.field)
    if start is None or end is None:
        return f"{metric.heading} by round."
    return (
        f"{metric.heading} by round, all hospitals together: {start:,.3f} after round {first.round_number}, "
        f"{end:,.3f} after round {last.round_number}."
    )


def _show_participation(progress: RunProgress) -> None:
    lines = shares(progress.participation)
    if not lines:
        return
    st.header("Who took part", anchor=False)
    rows = [
        {
            "Hospital": plain(line.name),
            "Took part": line.took_part,
            "Rows trained on": count(line.training_rows),
            "Rows held out": count(line.held_out_rows),
            "Remark": plain(line.reason),
        }
        for line in lines
    ]
    table = pd.DataFrame(rows)
    if not any(line.reason for line in lines):
        table = table.drop(columns="Remark")
    st.table(table, border="horizontal", hide_index=True)
