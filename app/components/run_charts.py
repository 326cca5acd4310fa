"""The charts of one Run: loss, error and R² by Round, and what each hospital's training took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from sqlalchemy.orm import Session

from app.actor import Actor
from app.components import charts
from app.components.formats import plain
from app.components.live_chart import show_live_chart
from app.services.monitoring import RoundPoint, RunProgress
from app.services.run_results import baseline_of
from app.services.run_sites import (
    RangePoint,
    SiteLines,
    SiteRange,
    is_drawn,
    site_lines,
    site_range,
    step_for,
)
from db.states import ENDED_STATUSES

FEWEST_ROUNDS_TO_CHOOSE = 5
AXIS_STEP = 20  # rounds
MANY_HOSPITALS = 12  # more than a chart can show as lines that are told apart
_KNOWN, _KNOWN_RANGE = "training_lines_known", "training_range_known"  # what was read a moment ago


def is_active(status: str) -> bool:
    """Tell whether a Run of that status may still change."""
    return status not in ENDED_STATUSES


def evaluated_rounds(progress: RunProgress) -> list[RoundPoint]:
    """Return the Rounds whose model was evaluated; the one at work, and one that failed, have no metrics."""
    return [point for point in progress.rounds if point.loss is not None]


def show_charts(central: Session, actor: Actor, progress: RunProgress, names: Mapping[str, str]) -> None:
    """Draw the charts of a Run, live or ended.

    Parameters
    ----------
    names
        Institution code -> name of the whole consortium and of the Run, so that colours do not depend on who takes
        part.
    """
    run = progress.run
    lines = charts.lines_for(names)
    shown = _lines_shown(lines)
    chosen, rounds = _rounds_shown(progress)
    many = len(names) > MANY_HOSPITALS
    known = st.session_state.get(_KNOWN)
    sites = site_lines(
        central=central,
        actor=actor,
        run_id=run.id,
        codes=[code for code in shown if code != charts.ALL],
        rounds=rounds,
        current_round=run.current_round,
        known=known if isinstance(known, SiteLines) else None,
    )
    st.session_state[_KNOWN] = sites
    band: Sequence[RangePoint] = ()
    if many:
        known_range = st.session_state.get(_KNOWN_RANGE)
        read = site_range(
            central=central,
            actor=actor,
            run_id=run.id,
            rounds=rounds,
            current_round=run.current_round,
            known=known_range if isinstance(known_range, SiteRange) else None,
        )
        st.session_state[_KNOWN_RANGE] = read
        band = read.points
    step = step_for(rounds)
    newest = max((point.round_number for point in evaluated_rounds(progress)), default=0)
    points: dict[str, Sequence[object]] = dict(sites.lines)
    points[charts.ALL] = [
        point for point in evaluated_rounds(progress) if is_drawn(point.round_number, rounds, step, newest)
    ]
    view = f"run {run.id}, rounds {chosen[0]} to {chosen[1]}"
    baseline = baseline_of(run.results)
    for metric, column in zip(charts.METRICS, st.columns(len(charts.METRICS), gap="medium"), strict=True):
        value = getattr(baseline.overall, metric.field) if baseline else None
        # Beside the line its name would hide points of the others.
        dashed = "" if value is None else f" · dashed: least squares {charts.written(metric, value)}"
        with column, st.container(gap="xxsmall"):
            st.markdown(f"**{metric.heading}**  \n:small[:gray[{metric.note}{dashed}]]")
            show_live_chart(
                charts.metric_spec(
                    metric,
                    lines=lines,
                    points=points,
                    shown=shown,
                    rounds=rounds,
                    band=band,
                    baseline=value,
                ),
                key=f"training_{metric.field}",
                view=view,
                alt=chart_in_words(metric, progress),
            )
    _say_what_is_drawn(step, many=many)
    _show_work(sites, lines, shown, rounds, view, many=many)


def chart_in_words(metric: charts.ChartMetric, progress: RunProgress) -> str:
    """Say what a chart shows to those who do not see it: how the metric was at first and at last."""
    rounds = evaluated_rounds(progress)
    if not rounds:
        return f"{metric.heading} by round; no round has ended yet."
    first, last = rounds[0], rounds[-1]
    start, end = getattr(first, metric.field), getattr(last, metric.field)
    if start is None or end is None:
        return f"{metric.heading} by round."
    words = (
        f"{metric.heading} by round, all hospitals together: {start:,.3f} after round {first.round_number}, "
        f"{end:,.3f} after round {last.round_number}."
    )
    baseline = baseline_of(progress.run.results)
    value = getattr(baseline.overall, metric.field) if baseline else None
    return words if value is None else f"{words} The least squares baseline has {value:,.3f}."


def _lines_shown(lines: Sequence[charts.Line]) -> list[str]:
    if len(lines) - 1 > MANY_HOSPITALS:
        names = {line.code: line.name for line in lines if line.code != charts.ALL}
        chosen = st.multiselect(
            "Hospitals shown",
            list(names),
            format_func=names.__getitem__,
            key="training_hospitals",
            max_selections=MANY_HOSPITALS,
            placeholder="Choose hospitals to see their lines",
            width=560,
        )
        return [charts.ALL, *chosen]
    labels = {line.code: f"![]({charts.swatch(line)}) {plain(line.name)}" for line in lines}
    return st.pills(
        "Lines shown",
        list(labels),
        selection_mode="multi",
        default=list(labels),
        format_func=labels.__getitem__,
        key="training_lines",
        label_visibility="collapsed",
        wrap=True,
    )


def _rounds_shown(progress: RunProgress) -> tuple[tuple[int, int], tuple[int, int]]:
    """Let the reader look closer at some Rounds of a long Run; returns what was chosen, and the axis to draw."""
    planned = progress.run.num_rounds
    if planned < FEWEST_ROUNDS_TO_CHOOSE:
        return (1, planned), (1, planned)
    first, last = st.slider(
        "Rounds shown", 1, planned, (1, planned), key=f"training_rounds_{progress.run.id}", width=420
    )
    end = _axis_end(progress) if last == planned else last
    return (first, last), (min(first, end), end)


def _axis_end(progress: RunProgress) -> int:
    """Return the last Round of the axis: ahead of a live Run in steps, so that it neither jumps nor stands empty."""
    done = max((point.round_number for point in evaluated_rounds(progress)), default=1)
    if not is_active(progress.run.status):
        return done
    return min(progress.run.num_rounds, -(-done // AXIS_STEP) * AXIS_STEP)


def _say_what_is_drawn(step: int, *, many: bool) -> None:
    said = []
    if many:
        said.append("The grey area lies between the lowest and the highest hospital.")
    if step > 1:
        said.append(f"One round in {step} is drawn; choose fewer rounds above to see each.")
    if said:
        st.caption(" ".join(said))


def _show_work(
    sites: SiteLines,
    lines: Sequence[charts.Line],
    shown: Sequence[str],
    rounds: tuple[int, int],
    view: str,
    *,
    many: bool,
) -> None:
    st.header("The work of each hospital", anchor=False)
    drawn = [code for code in shown if sites.lines.get(code)]
    if not drawn:
        st.caption(
            "Choose hospitals above to see what their training took."
            if many
            else "Appears with the first round."
        )
        return
    for metric, column in zip(
        charts.WORK_METRICS, st.columns(len(charts.WORK_METRICS), gap="medium"), strict=True
    ):
        with column, st.container(gap="xxsmall"):
            st.markdown(f"**{metric.heading}**  \n:small[:gray[{metric.note}]]")
            show_live_chart(
                charts.metric_spec(metric, lines=lines, points=sites.lines, shown=drawn, rounds=rounds),
                key=f"training_{metric.field}",
                view=view,
                alt=f"{metric.heading} by round, a line for each hospital, in {metric.axis.lower()}.",
            )
