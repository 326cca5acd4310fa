"""What was answered lately, as charts: requests and errors, latencies, predictions; and who takes part in Runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.components.browser import browser_zone, theme_colour
from app.components.empty import show_empty
from app.components.formats import count, percent, plain, when
from app.components.prediction_charts import CHART_CONFIG, legible
from app.components.system_cards import latency
from app.services.operations import Interval
from app.services.system import CHART_SPAN, CHART_STEP, DAYS, SystemHistory
from app.services.system_state import Component, Participation, SiteSeen

HEIGHT = 240
Value = Callable[[Interval], float | None]


def show_history(history: SystemHistory, now: datetime) -> None:
    """Draw what was answered in the last 24 hours and the last fourteen days."""
    st.header("The last 24 hours", anchor=False)
    if not history.traffic:
        show_empty(
            "Nothing was counted yet",
            "Requests are counted from now on; the first figures appear here within ten seconds.",
            icon="monitoring",
        )
        return
    st.caption("All web processes of this installation, by half hours.")
    left, right = st.columns(2, gap="medium")
    with left:
        _show(
            "Requests",
            _bars(
                history.traffic,
                {
                    "Answered": ("blueColor", lambda each: _fine(each)),
                    "Refused (4xx)": ("yellowColor", lambda each: each.client_errors),
                    "Failed (5xx)": ("redColor", lambda each: each.server_errors),
                },
                span=(now - CHART_SPAN, now),
                step=CHART_STEP,
            ),
            _requests_in_words(history.traffic),
            key="system_requests",
        )
    with right:
        _show(
            "Time to answer",
            _lines(
                history.traffic,
                {
                    "Half are faster": ("primaryColor", "solid", lambda each: each.request_p50),
                    "95 of 100 are faster": ("orangeColor", "dash", lambda each: each.request_p95),
                },
                span=(now - CHART_SPAN, now),
            ),
            _latency_in_words("A request", history.traffic, lambda each: each.request_p95),
            key="system_latency",
        )
    st.header("Predictions of the last 14 days", anchor=False)
    if not any(each.predictions for each in history.days):
        st.markdown("Nobody has predicted a cost in this time.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        _show(
            "Predictions a day",
            _bars(
                history.days,
                {"Predictions": ("primaryColor", lambda each: each.predictions)},
                span=(now - DAYS, now),
                step=timedelta(days=1),
            ),
            f"{count(sum(each.predictions for each in history.days), 'prediction')} in 14 days.",
            key="system_predictions",
        )
    with right:
        _show(
            "Time of one prediction",
            _lines(
                history.days,
                {
                    "Half are faster": ("primaryColor", "solid", lambda each: each.prediction_p50),
                    "95 of 100 are faster": ("orangeColor", "dash", lambda each: each.prediction_p95),
                },
                span=(now - DAYS, now),
            ),
            _latency_in_words("A prediction", history.days, lambda each: each.prediction_p95),
            key="system_prediction_latency",
        )


def show_participation(rows: Sequence[Participation], sites: Sequence[SiteSeen]) -> None:
    """Tabulate what became of the questions to each hospital."""
    st.header("Who takes part in runs", anchor=False)
    if not any(row.asked for row in rows):
        st.markdown("No run has asked a hospital yet.")
        return
    seen = {site.name: site.last_seen_at for site in sites}
    table = [
        {
            "Hospital": plain(row.name),
            "Runs": count(row.runs),
            "Answers used": f"{count(row.ok)} of {count(row.asked)}"
            + (f" ({percent(row.ok / row.asked)})" if row.asked else ""),
            "Sat out": count(row.excluded),
            "Late": count(row.late),
            "Failed": count(row.failed),
            "Last answered": plain(when(seen.get(row.name))),
        }
        for row in rows
    ]
    st.caption("Every question of the last 20 runs, and what became of it.")
    with st.container(key="figures_system"):
        st.table(pd.DataFrame(table), border="horizontal", hide_index=True)


def show_versions(versions: Sequence[Component]) -> None:
    """List what is installed."""
    st.header("Versions", anchor=False)
    st.markdown(" · ".join(f"{plain(each.name)} **{plain(each.version)}**" for each in versions))


def _fine(each: Interval) -> int:
    return each.requests - each.client_errors - each.server_errors


def _show(title: str, figure: go.Figure, alt: str, *, key: str) -> None:
    with st.container(border=True, gap="xxsmall", key=f"{key}_card"):
        st.markdown(f"**{title}**")
        st.plotly_chart(figure, key=key, config=CHART_CONFIG, alt=alt)


def _bars(
    intervals: Sequence[Interval],
    series: dict[str, tuple[str, Value]],
    *,
    span: tuple[datetime, datetime],
    step: timedelta,
) -> go.Figure:
    figure = go.Figure()
    zone = browser_zone()
    for name, (colour, value) in series.items():
        figure.add_trace(
            go.Bar(
                # A bar stands over its stretch of time, and not around its beginning.
                x=[_local(each.begin + step / 2, zone) for each in intervals],
                y=[value(each) for each in intervals],
                width=0.86 * 1000 * step.total_seconds(),
                name=name,
                marker={"color": theme_colour(colour), "line": {"width": 0}},
                hovertemplate="%{x|%d %b, %H:%M}<br><b>%{y:,}</b> %{fullData.name}<extra></extra>",
            )
        )
    return _laid_out(figure, span, zone, legend=len(series) > 1, title="", stack=True)


def _lines(
    intervals: Sequence[Interval],
    series: dict[str, tuple[str, str, Value]],
    *,
    span: tuple[datetime, datetime],
) -> go.Figure:
    figure = go.Figure()
    zone = browser_zone()
    for name, (colour, dash, value) in series.items():
        figure.add_trace(
            go.Scatter(
                x=[_local(each.begin, zone) for each in intervals],
                y=[None if (found := value(each)) is None else 1000 * found for each in intervals],
                name=name,
                mode="lines+markers",
                line={"color": theme_colour(colour), "width": 2, "dash": dash},
                marker={"size": 5},
                hovertemplate="%{x|%d %b, %H:%M}<br>%{fullData.name} than <b>%{y:,.1f} ms</b><extra></extra>",
            )
        )
    return _laid_out(figure, span, zone, legend=True, title="Milliseconds", stack=False)


def _laid_out(
    figure: go.Figure,
    span: tuple[datetime, datetime],
    zone: tzinfo,
    *,
    legend: bool,
    title: str,
    stack: bool,
) -> go.Figure:
    figure.update_layout(
        height=HEIGHT,
        barmode="stack" if stack else None,
        margin={"l": 4, "r": 8, "t": 8, "b": 4},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        dragmode=False,
        hovermode="closest",
        xaxis={
            "type": "date",
            "range": [_local(moment, zone) for moment in span],
            "nticks": 6,
            "fixedrange": True,
            "showgrid": False,
            "automargin": True,
        },
        yaxis={
            "title": {"text": title, "standoff": 8},
            "rangemode": "tozero",
            "nticks": 5,
            "automargin": True,
            "fixedrange": True,
        },
    )
    return legible(figure)


def _local(moment: datetime, zone: tzinfo) -> str:
    # Plotly knows no zones: it is given the reader's own time.
    return moment.astimezone(zone).replace(tzinfo=None).isoformat()


def _requests_in_words(intervals: Sequence[Interval]) -> str:
    whole, failed = sum(each.requests for each in intervals), sum(each.server_errors for each in intervals)
    return f"{count(whole, 'request')} in 24 hours, of which {count(failed)} failed."


def _latency_in_words(what: str, intervals: Sequence[Interval], value: Value) -> str:
    known = [found for each in intervals if (found := value(each)) is not None]
    if not known:
        return f"{what}: nothing was timed."
    return f"{what}: 95 of 100 were faster than {latency(min(known))} at best and {latency(max(known))} at worst."
