"""Two charts about one prediction: what makes the cost, and where it lies among the hospital's patients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from app.components.browser import is_dark, is_telephone, theme_colour
from app.components.charts import COLOURS
from app.components.formats import feature_heading, feature_value, signed_usd, usd
from app.services.cost_histogram import CostDistribution
from app.services.explanations import Explanation
from fl.features import FEATURES

CHART_CONFIG: dict[str, Any] = {"displayModeBar": False, "scrollZoom": False}
_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE, _SKY = COLOURS
ROW_HEIGHT = 40  # pixels a bar
STANDING_HEIGHT = 300  # pixels
AVERAGE, PREDICTED = "Average", "This patient"  # the ends of the stair


def raising_colour() -> str:
    """Return the colour of what makes a cost higher, strong enough on the reader's background."""
    return _ORANGE if is_dark() else _VERMILION


def lowering_colour() -> str:
    """Return the colour of what makes a cost lower."""
    return _SKY if is_dark() else _BLUE


def legible(figure: go.Figure) -> go.Figure:
    """Write axes in the theme's grey, which stands out enough; Streamlit's own for charts does not."""
    grey = theme_colour("grayTextColor")
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(tickfont_color=grey, title_font_color=grey)
    return figure


def by_weight(contributions: Mapping[str, float]) -> list[tuple[str, float]]:
    """Order contributions (feature name -> USD), the weightiest first."""
    return sorted(contributions.items(), key=lambda entry: -abs(entry[1]))


def contributions_figure(explanation: Explanation, inputs: Mapping[str, Any]) -> go.Figure:
    """Draw how each value moves the cost from the average to the predicted one, as a stair of horizontal bars.

    Up and down are told apart by colour, by hatching and by the sign of the amount, so that no colour is needed.
    """
    features = {feature.name: feature for feature in FEATURES}
    names: list[str] = []
    starts: list[float] = []
    moves: list[float] = []
    at = explanation.base_cost
    for name, move in by_weight(explanation.contributions):
        feature = features[name]
        names.append(f"{feature_heading(feature).split(' (')[0]}: {feature_value(feature, inputs[name])}")
        starts.append(at)
        moves.append(move)
        at += move
    low = min(*starts, at)
    high = max(*starts, at)
    room = max(high - low, 1.0) * (0.4 if is_telephone() else 0.22)  # for the amounts beside the bars
    text = theme_colour("textColor")
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=names,
            x=moves,
            base=starts,
            width=0.62,
            marker={
                "color": [raising_colour() if move >= 0 else lowering_colour() for move in moves],
                "pattern": {
                    "shape": ["" if move >= 0 else "/" for move in moves],
                    "fillmode": "overlay",
                    "fgcolor": theme_colour("backgroundColor"),
                    "size": 6,
                    "solidity": 0.25,
                },
            },
            text=[signed_usd(move) for move in moves],
            textposition="outside",
            textfont={"color": text, "size": 13},
            cliponaxis=False,
            customdata=[
                [signed_usd(move), "raises" if move >= 0 else "lowers", usd(start), usd(start + move)]
                for move, start in zip(moves, starts, strict=True)
            ],
            hovertemplate=(
                "<b>%{y}</b><br>%{customdata[1]} the predicted cost: <b>%{customdata[0]}</b>"
                "<br>from %{customdata[2]} to %{customdata[3]}<extra></extra>"
            ),
            showlegend=False,
        )
    )
    ends = (explanation.base_cost, at)
    figure.add_trace(
        go.Scatter(
            y=[AVERAGE, PREDICTED],
            x=ends,
            mode="markers+text",
            marker={"symbol": "diamond", "size": 11, "color": text},
            text=[f"<b>{usd(amount)}</b>" for amount in ends],
            textposition=["middle right" if amount < (low + high) / 2 else "middle left" for amount in ends],
            textfont={"color": text, "size": 13},
            cliponaxis=False,
            hovertemplate="%{y}: %{text}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_vline(x=explanation.base_cost, line={"color": text, "width": 1, "dash": "dot"})
    rows = [AVERAGE, *names, PREDICTED]
    figure.update_layout(
        height=ROW_HEIGHT * len(rows) + 60,
        margin={"l": 4, "r": 12, "t": 4, "b": 4},
        dragmode=False,
        xaxis={
            "title": {"text": "USD a year", "standoff": 6},
            "tickformat": "$,~s",
            "range": [low - room, high + room],
            "nticks": 5,
            "automargin": True,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": rows[::-1],
            "automargin": True,
            "fixedrange": True,
            "ticklabelstandoff": 6,
            "tickfont": {"size": 13},
        },
    )
    return legible(figure).update_yaxes(tickfont_color=text)


def contributions_in_words(explanation: Explanation) -> str:
    """Say what the chart of contributions shows, for those who do not see it."""
    headings = {feature.name: feature_heading(feature) for feature in FEATURES}
    parts = ", ".join(
        f"{headings[name]} {signed_usd(move)}" for name, move in by_weight(explanation.contributions)
    )
    return f"Contributions to the predicted cost, from the average of {usd(explanation.base_cost)}: {parts}."


def standing_figure(
    distribution: CostDistribution, cost: float, interval: tuple[float, float] | None
) -> go.Figure:
    """Draw the known costs of the hospital's patients with the predicted cost and its interval among them.

    Parameters
    ----------
    cost, interval
        USD a year.
    """
    edges = list(distribution.edges)
    counts = list(distribution.counts)
    step = edges[1] - edges[0]
    starts = edges[:-1]
    # The last bin has no end: it is drawn as wide as the others, and the axis goes on as far as the prediction does.
    end = 1.03 * max(starts[-1] + step, cost, interval[1] if interval else 0.0)
    upper = ["and more" if math.isinf(edge) else f"to {usd(edge)}" for edge in edges[1:]]
    tallest = max(counts)
    accent = theme_colour("primaryColor")
    mark = raising_colour()
    figure = go.Figure()
    if interval is not None:
        low, high = interval
        figure.add_trace(
            go.Scatter(
                x=[low, low, high, high],
                y=[0, tallest * 1.12, tallest * 1.12, 0],
                fill="toself",
                mode="lines",
                line={"width": 0},
                fillcolor=_see_through(mark, 0.2),
                name="Nine in ten such patients",
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        go.Bar(
            x=[start + step / 2 for start in starts],
            y=counts,
            width=step * 0.92,
            marker={"color": accent},
            name="Your patients",
            customdata=[[usd(start), until] for start, until in zip(starts, upper, strict=True)],
            hovertemplate="%{customdata[0]} %{customdata[1]}: <b>%{y:,} patients</b><extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[cost, cost],
            y=[0, tallest * 1.12],
            mode="lines+markers",
            line={"color": mark, "width": 3},
            marker={"symbol": ["line-ew", "triangle-down"], "size": [0, 12], "color": mark},
            name="Predicted cost",
            hovertemplate=f"Predicted: <b>{usd(cost)}</b><extra></extra>",
        )
    )
    figure.update_layout(
        height=STANDING_HEIGHT,
        margin={"l": 4, "r": 12, "t": 8, "b": 4},
        bargap=0.04,
        dragmode=False,
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "itemclick": False,
            "font": {"color": theme_colour("textColor")},
        },
        xaxis={
            "title": {"text": "Insurance cost, USD a year", "standoff": 6},
            "tickformat": "$,~s",
            "nticks": 6,
            "automargin": True,
            "range": [0, end],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={
            "title": {"text": "Patients", "standoff": 8},
            "automargin": True,
            "nticks": 5,
            "rangemode": "tozero",
            "fixedrange": True,
        },
    )
    return legible(figure)


def _see_through(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
