"""How right the model was: error and interval by month and version, of predictions made before the cost was known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import plotly.graph_objects as go
import streamlit as st

from app.components.browser import theme_colour
from app.components.charts import COLOURS, SHAPES
from app.components.empty import NextStep, show_empty
from app.components.formats import count, percent, plain, usd
from app.components.prediction_charts import CHART_CONFIG, legible
from app.services.prediction_history import MonthAccuracy

PROMISED = 0.9  # share of actual costs that the interval is made to hold
FEW = 30  # predictions; below, a share is mostly chance
_MONTHS_EACH_NAMED = 12
_HALF_MONTH = timedelta(days=16)


def show_accuracy(months: Sequence[MonthAccuracy]) -> None:
    """Show both charts with a sentence on what they mean, or what is needed before there is one."""
    if not months:
        show_empty(
            "No prediction can be checked yet",
            "A prediction is checked once the patient's actual cost is entered **after** it was made. Save a "
            "prediction for a patient whose cost is not known, and enter the cost when it is.",
            icon="query_stats",
            links=[NextStep("patients", "Patients whose cost is not known", {"cost": "unknown"})],
        )
        return
    st.markdown(plain(accuracy_in_words(months)))
    error, coverage = st.columns(2, gap="medium")
    with error:
        st.markdown(
            "**Mean absolute error (MAE)**  \n:small[:gray[USD a year by month of prediction; lower is better]]"
        )
        st.plotly_chart(
            error_figure(months), key="history_error", config=CHART_CONFIG, alt=_months_in_words(months)
        )
    with coverage:
        st.markdown(
            "**Actual costs inside the interval**  \n"
            f":small[:gray[by month of prediction; {percent(PROMISED)} was promised]]"
        )
        if any(month.coverage is not None for month in months):
            st.plotly_chart(
                coverage_figure(months),
                key="history_coverage",
                config=CHART_CONFIG,
                alt=_months_in_words(months),
            )
        else:
            st.markdown("None of these predictions had an interval.")
    st.caption(
        "Counted are only predictions whose patient's cost was entered after they were made: a cost that was already "
        "on record proves nothing. The figure at each point is the number of predictions behind it."
    )


def accuracy_in_words(months: Sequence[MonthAccuracy]) -> str:
    """Say in two sentences how far off the checked predictions were and whether the interval kept its promise."""
    checked = sum(month.count for month in months)
    mae = sum(month.mae * month.count for month in months) / checked
    bias = sum(month.mean_error * month.count for month in months) / checked
    side = "high" if bias > 0 else "low"
    words = (
        f"{count(checked, 'prediction')} could be checked against a cost that came in later. On average they were off "
        f"by {usd(mae)} a year; taken together they were {usd(abs(bias))} too {side}."
    )
    with_interval = sum(month.covered_of for month in months)
    if with_interval:
        inside = round(sum((month.coverage or 0.0) * month.covered_of for month in months))
        words += (
            f" {inside:,} of {with_interval:,} actual costs ({percent(inside / with_interval)}) lay inside the "
            f"interval that promises {percent(PROMISED)}."
        )
    if checked < FEW:
        words += " With so few predictions, chance plays a large part."
    return words


def error_figure(months: Sequence[MonthAccuracy]) -> go.Figure:
    """Draw the mean absolute error by month, one line a model version."""
    figure = _figure(months, lambda month: month.mae, lambda month: month.count, "$,.0f", "off on average")
    figure.update_yaxes(title_text="USD a year", tickformat="$,~s", rangemode="tozero")
    return figure


def coverage_figure(months: Sequence[MonthAccuracy]) -> go.Figure:
    """Draw which share of actual costs lay inside the interval, beside the promised one."""
    figure = _figure(
        months, lambda month: month.coverage, lambda month: month.covered_of, ".0%", "inside the interval"
    )
    first, last = figure.layout.xaxis.range
    figure.add_trace(
        go.Scatter(
            x=[first, last],
            y=[PROMISED, PROMISED],
            mode="lines",
            line={"color": theme_colour("textColor"), "width": 1.5, "dash": "dash"},
            name=f"promised {percent(PROMISED)}",
            hoverinfo="skip",
        )
    )
    figure.update_traces(textposition="bottom center")
    figure.update_yaxes(
        title_text="Share of actual costs", tickformat=".0%", range=[-0.12, 1.06], dtick=0.2, tick0=0
    )
    return figure


def _figure(
    months: Sequence[MonthAccuracy],
    value: Callable[[MonthAccuracy], float | None],
    behind: Callable[[MonthAccuracy], int],
    form: str,
    words: str,
) -> go.Figure:
    figure = go.Figure()
    versions = sorted({month.model_version for month in months}, key=lambda version: _first(months, version))
    for index, version in enumerate(versions):
        points = [month for month in months if month.model_version == version and value(month) is not None]
        if not points:
            continue
        colour = COLOURS[index % len(COLOURS)]
        figure.add_trace(
            go.Scatter(
                x=[month.month for month in points],
                y=[value(month) for month in points],
                name=f"version {version}",
                mode="lines+markers+text",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": SHAPES[index % len(SHAPES)], "size": 10},
                text=[f"{behind(month):,}" for month in points],
                textposition="top center",
                textfont={"color": theme_colour("textColor"), "size": 12},
                cliponaxis=False,
                customdata=[[count(behind(month), "prediction")] for month in points],
                hovertemplate=(
                    f"<b>%{{fullData.name}}</b>, %{{x|%B %Y}}<br><b>%{{y:{form}}}</b> {words}"
                    "<br>%{customdata[0]}<extra></extra>"
                ),
            )
        )
    first, last = min(month.month for month in months), max(month.month for month in months)
    figure.update_layout(
        height=300,
        margin={"l": 4, "r": 12, "t": 8, "b": 4},
        dragmode=False,
        hoverlabel={"namelength": -1},
        showlegend=True,
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
        },
        xaxis={
            "title": {"text": "Month of prediction", "standoff": 6},
            "type": "date",
            "range": [first - _HALF_MONTH, last + _HALF_MONTH],
            "dtick": "M1" if _months_between(first, last) < _MONTHS_EACH_NAMED else None,
            "tickformat": "%b %Y",
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={
            "automargin": True,
            "nticks": 6,
            "zeroline": False,
            "fixedrange": True,
            "title": {"standoff": 8},
        },
    )
    return legible(figure)


def _first(months: Sequence[MonthAccuracy], version: str) -> tuple[date, str]:
    return min(month.month for month in months if month.model_version == version), version


def _months_between(first: date, last: date) -> int:
    return (last.year - first.year) * 12 + last.month - first.month


def _months_in_words(months: Sequence[MonthAccuracy]) -> str:
    return "By month and model version: " + "; ".join(
        f"{month.month:%B %Y}, {month.model_version}, {count(month.count, 'prediction')}: off by "
        f"{usd(month.mae)} on average, {percent(month.coverage)} inside the interval"
        for month in months
    )
