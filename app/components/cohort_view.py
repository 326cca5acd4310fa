"""What the hospitals' patients are like: warnings, histograms beside each other, and a table of means."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.components import charts
from app.components.browser import is_telephone, theme_colour
from app.components.charts import Line
from app.components.formats import NOT_KNOWN, count, number, plain, usd, when
from app.components.prediction_charts import legible
from app.services.cohort import CohortPicture, InstitutionCohort, Measure
from fl.features import TARGET_NAME

CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False}
COLUMNS = 2
HEIGHT = 280  # pixels
TOO_FEW = "fewer than 10"
MANY_LINES = 6  # hospitals; of more, only some are drawn at first
_BY_MEANING = {"sex": "female", "smoker": "yes"}  # the category that the table tells the share of
_SHARE_HEADINGS = {"sex": "Women", "smoker": "Smokers"}


def show_cohort(picture: CohortPicture) -> None:
    """Show warnings, charts and table of one count."""
    show_warnings(picture)
    st.caption(
        f"Counted on {plain(when(picture.counted_at))} (run {picture.run_id}): "
        f"{count(picture.pooled.count, 'patient')} of {count(len(picture.institutions), 'hospital')}, "
        "with a known cost or without."
    )
    for absent in picture.absent:
        st.caption(f":material/info: {plain(absent.name)} is not counted. {plain(absent.reason)}")
    show_histograms(picture)
    show_table(picture)


def show_warnings(picture: CohortPicture) -> None:
    """Say what to look at before training, or that nothing stands out."""
    if not picture.warnings:
        st.success(
            "Nothing stands out: units, spreads and categories of the hospitals fit each other.",
            icon=":material/check_circle:",
        )
        return
    lines = "\n".join(
        f"- **{plain(warning.name)}**: {plain(warning.message)}" for warning in picture.warnings
    )
    st.warning(f"Please look at this before a training:\n\n{lines}", icon=":material/warning:")


def show_histograms(picture: CohortPicture) -> None:
    """Draw every feature and the cost: bars of all hospitals, and a line of each hospital that is chosen."""
    st.header("How the patients are spread", anchor=False)
    names = {here.code: here.name for here in picture.institutions}
    lines = [line for line in charts.lines_for(names) if line.code != charts.ALL]
    labels = {line.code: f"![]({charts.swatch(line)}) {plain(line.name)}" for line in lines}
    shown = st.pills(
        "Hospitals shown beside all of them",
        list(labels),
        selection_mode="multi",
        default=list(labels)[:MANY_LINES],
        format_func=labels.__getitem__,
        key="cohort_lines",
        wrap=True,
    )
    st.caption(
        "Bars: all hospitals together. A bin of fewer than ten patients is withheld by its hospital, and one more with "
        "it, so that nobody can be told apart: a line then has a gap."
    )
    for first in range(0, len(picture.pooled.features), COLUMNS):
        row = picture.pooled.features[first : first + COLUMNS]
        for column, measure in zip(st.columns(COLUMNS, gap="medium"), row, strict=False):
            with column, st.container(gap="xxsmall"):
                unit = f" ({plain(measure.unit)})" if measure.unit else ""
                st.markdown(f"**{plain(measure.label)}**{unit}")
                st.plotly_chart(
                    histogram(picture, measure, lines=lines, shown=shown),
                    key=f"cohort_{measure.name}",
                    config=CHART_CONFIG,
                    alt=histogram_in_words(measure, picture.pooled),
                )


def histogram(
    picture: CohortPicture, measure: Measure, *, lines: Sequence[Line], shown: Collection[str]
) -> go.Figure:
    """Draw one feature, or the cost: shares of the patients by bin, in percent.

    Parameters
    ----------
    measure
        Of all hospitals.
    shown
        Codes of the institutions that get a line.
    """
    figure = go.Figure(
        go.Bar(
            x=[one.label for one in measure.bins],
            y=_shares(measure, picture.pooled.count),
            customdata=_hover(measure, picture.pooled),
            name=picture.pooled.name,
            marker={"color": theme_colour("grayTextColor"), "opacity": 0.45},
            hovertemplate="<b>%{fullData.name}</b><br>%{customdata[0]}: <b>%{customdata[1]}</b><extra></extra>",
        )
    )
    by_code = {here.code: here for here in picture.institutions}
    for line in lines:
        here = by_code.get(line.code)
        own = _measure_of(here, measure.name) if here and line.code in shown else None
        if here is None or own is None:
            continue
        figure.add_trace(
            go.Scatter(
                x=[one.label for one in own.bins],
                y=_shares(own, here.count),
                customdata=_hover(own, here),
                name=line.name,
                mode="markers" if measure.kind == "category" else "lines+markers",
                line={"color": line.colour, "width": 1.8},
                marker={"color": line.colour, "symbol": line.shape, "size": 8},
                connectgaps=False,
                hovertemplate=(
                    "<b>%{fullData.name}</b><br>%{customdata[0]}: <b>%{customdata[1]}</b><extra></extra>"
                ),
            )
        )
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 4, "r": 8, "t": 8, "b": 4},
        bargap=0.06,
        showlegend=False,
        dragmode=False,
        hovermode="closest",
        hoverlabel={"namelength": -1},
        xaxis={
            # Categories name themselves.
            "title": {"text": "" if measure.kind == "category" else _axis_title(measure), "standoff": 6},
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [one.label for one in measure.bins],
            "automargin": True,
            "fixedrange": True,
            "tickangle": None if len(measure.bins) < 8 else -60,
            "nticks": 9 if is_telephone() else None,
        },
        yaxis={
            "title": {"text": "Share of patients (%)", "standoff": 8},
            "rangemode": "tozero",
            "nticks": 5,
            "automargin": True,
            "fixedrange": True,
        },
    )
    return legible(figure)


def histogram_in_words(measure: Measure, pooled: InstitutionCohort) -> str:
    """Say what a chart shows of all hospitals, for those who do not see it."""
    parts = ", ".join(
        f"{one.label}: {TOO_FEW if one.patients is None else count(one.patients)}" for one in measure.bins
    )
    return f"{measure.label} of {count(pooled.count, 'patient')} of all hospitals. {parts}."


def show_table(picture: CohortPicture) -> None:
    """Tabulate counts, means with their spread, and what is not known."""
    st.header("In numbers", anchor=False)
    rows = [_row(here) for here in (picture.pooled, *picture.institutions)]
    with st.container(key="figures_cohort"):
        st.table(
            pd.DataFrame(rows),
            border="horizontal",
            hide_index=True,
            alt="Patients, means and standard deviations by hospital",
        )
    st.caption(
        "Mean ± standard deviation. Age in years, BMI in kg/m², cost in USD a year. "
        f"{TOO_FEW.capitalize()} patients are not told apart."
    )


def _row(here: InstitutionCohort) -> dict[str, str]:
    row = {"Hospital": plain(here.name), "Patients": count(here.count)}
    for measure in here.features:
        if measure.name in _BY_MEANING:
            row[_SHARE_HEADINGS[measure.name]] = _share_of(measure, _BY_MEANING[measure.name], here.count)
        elif measure.kind != "category":
            row[_short(measure)] = plain(_mean(measure))
    gaps = [
        f"{_short(measure)}: {TOO_FEW if measure.missing is None else count(measure.missing)}"
        for measure in here.features
        if measure.missing != 0
    ]
    row["Not known"] = plain("; ".join(gaps)) if gaps else "nothing"
    return row


def _mean(measure: Measure) -> str:
    if measure.mean is None or measure.sd is None:
        return NOT_KNOWN
    if measure.name == TARGET_NAME:
        return f"{usd(measure.mean)} ± {usd(measure.sd)}"
    return f"{number(measure.mean, 1)} ± {number(measure.sd, 1)}"


def _share_of(measure: Measure, code: str, patients: int) -> str:
    here = next((one.patients for one in measure.bins if one.code == code), None)
    return TOO_FEW if here is None else f"{100 * here / patients:.0f} %"


def _short(measure: Measure) -> str:
    return {"bmi": "BMI", TARGET_NAME: "Cost"}.get(measure.name, measure.label)


def _axis_title(measure: Measure) -> str:
    return f"{_short(measure)} ({measure.unit})" if measure.unit else _short(measure)


def _measure_of(here: InstitutionCohort, name: str) -> Measure | None:
    return next((measure for measure in here.features if measure.name == name), None)


def _shares(measure: Measure, patients: int) -> list[float | None]:
    return [None if one.patients is None else 100 * one.patients / patients for one in measure.bins]


def _hover(measure: Measure, here: InstitutionCohort) -> list[list[str]]:
    unit = f" {measure.unit}" if measure.unit else ""
    return [
        [
            f"{one.label}{unit}",
            TOO_FEW
            if one.patients is None
            else f"{count(one.patients, 'patient')} ({100 * one.patients / here.count:.0f} %)",
        ]
        for one in measure.bins
    ]
