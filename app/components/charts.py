"""Training charts: loss, mean absolute error and R² per Round, each Site and all of them; and small ones of all."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import plotly.graph_objects as go

from app.components.browser import is_telephone, theme_colour

# Okabe and Ito (2008), "Color universal design": told apart with every common colour blindness. Their yellow is
# left out (too faint on white) and their black is the line of all institutions.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Shape says the same as colour, for print and for those who see no colour.
SHAPES = ("circle", "square", "diamond", "triangle-up", "x", "pentagon")
_RUN_COLOURS = (*COLOURS, "#8C6D31", "#7B4FA3")
MANY_POINTS = 25
ALL = "all"
ALL_NAME = "All hospitals"


ChartSpec = dict[str, Any]  # data and layout as Plotly.js wants them


class Point(Protocol):
    """Metrics after one Round, of one Site's held-out rows or of all."""

    @property
    def round_number(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def mae(self) -> float | None: ...
    @property
    def r2(self) -> float | None: ...
    @property
    def num_examples(self) -> int | None: ...


class Band(Protocol):
    """The lowest and highest value of any Site after one Round; the metrics are pairs, under their names."""

    @property
    def round_number(self) -> int: ...


@dataclass(frozen=True)
class Line:
    """One line of every chart."""

    code: str
    name: str
    colour: str
    shape: str
    width: float


@dataclass(frozen=True)
class ChartMetric:
    """What one chart shows: the field, its heading with the direction of better, axis title and number format."""

    field: str
    heading: str
    note: str
    axis: str
    format: str


METRICS: tuple[ChartMetric, ...] = (
    ChartMetric("loss", "Loss", "Lower is better", "Mean squared error (standardised cost)", ".3f"),
    ChartMetric("mae", "Mean absolute error (MAE)", "Lower is better", "USD a year", "$,.0f"),
    ChartMetric("r2", "R²", "Higher is better", "Share of variation explained", ".3f"),
)
# Of a Site's training; there is no such value of all Sites together.
WORK_METRICS: tuple[ChartMetric, ...] = (
    ChartMetric("seconds", "Time at each hospital", "For its training in that round", "Seconds", ".2f"),
    ChartMetric(
        "update_norm",
        "Size of each hospital's update",
        "How far its training moved the model; one far above the others is suspect",
        "L2 norm of the change in weights",
        ".3f",
    ),
)


def lines_for(names: Mapping[str, str]) -> list[Line]:
    """Give every institution its line; the same set of institutions has the same colours in every Run.

    Parameters
    ----------
    names
        Institution code -> name, of all institutions of the consortium and of the Run.

    Returns
    -------
    list
        The thicker line of all, then one an institution in the order of their codes.
    """
    lines = [
        Line(code, names[code], COLOURS[index % len(COLOURS)], _shape(index), 1.8)
        for index, code in enumerate(sorted(names))
    ]
    return [Line(ALL, ALL_NAME, theme_colour("textColor"), "circle", 4.0), *lines]


def metric_spec(
    metric: ChartMetric,
    *,
    lines: Sequence[Line],
    points: Mapping[str, Sequence[Any]],
    shown: Collection[str],
    rounds: tuple[int, int],
    band: Sequence[Band] = (),
    baseline: float | None = None,
) -> ChartSpec:
    """Draw one metric over the Rounds of a Run, or of several.

    Parameters
    ----------
    points
        Line code -> its points in the order of the Rounds; a Round without the value is a gap.
    shown
        Codes of the lines that the reader wants to see.
    rounds
        First and last Round of the axis. It has its full length from the start, so that nothing jumps.
    band
        The lowest and highest value of any Site by Round, as an area behind the lines.
    baseline
        The same metric of the least squares baseline, as a line across.
    """
    first, last = rounds
    data = _band(metric, [each for each in band if first <= each.round_number <= last])
    for line in reversed(lines):  # drawn last, the line of all lies on top
        series = [point for point in points.get(line.code, ()) if first <= point.round_number <= last]
        if line.code in shown and any(getattr(point, metric.field) is not None for point in series):
            data.append(_trace(metric, line, series))
    layout = _layout(metric, first, last, numbers=bool(data) or baseline is not None)
    if baseline is not None:
        layout["shapes"] = [_baseline(baseline)]
    return {"data": data, "layout": layout}


def _trace(metric: ChartMetric, line: Line, series: Sequence[Any]) -> dict[str, Any]:
    patients = [getattr(point, "num_examples", None) for point in series]
    return {
        "type": "scatter",
        "x": [point.round_number for point in series],
        "y": [getattr(point, metric.field) for point in series],
        "customdata": [
            f"<br>{number:,} held-out patients" if number is not None and metric in METRICS else ""
            for number in patients
        ],
        "name": line.name,
        "uid": line.code,
        "mode": "lines+markers",
        "line": {"color": line.colour, "width": line.width},
        "marker": {
            "color": line.colour,
            "symbol": line.shape,
            "size": 4 if len(series) > MANY_POINTS else 5 if line.code == ALL else 7,
        },
        "hovertemplate": (
            f"<b>%{{fullData.name}}</b><br>Round %{{x}}: <b>%{{y:{metric.format}}}</b>"
            "%{customdata}<extra></extra>"
        ),
    }


def _band(metric: ChartMetric, ranges: Sequence[Band]) -> list[dict[str, Any]]:
    known = [(each.round_number, pair) for each in ranges if (pair := getattr(each, metric.field, None))]
    colour = theme_colour("grayColor")
    edge = {"type": "scatter", "mode": "lines", "line": {"color": colour, "width": 0.6, "dash": "dot"}}
    return [
        {
            **edge,
            "x": [number for number, _ in known],
            "y": [pair[at] for _, pair in known],
            "name": name,
            "uid": name,
            "hovertemplate": f"<b>{name}</b><br>Round %{{x}}: <b>%{{y:{metric.format}}}</b><extra></extra>",
            **({"fill": "tonexty", "fillcolor": f"{colour}22"} if at else {}),
        }
        for at, name in enumerate(("Lowest hospital", "Highest hospital"))
        if known
    ]


def _baseline(value: float) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": theme_colour("grayTextColor"), "width": 2, "dash": "dash"},
    }


def written(metric: ChartMetric, value: float) -> str:
    """Return a value of a metric as a reader sees it."""
    return f"${value:,.0f}" if metric.field == "mae" else f"{value:.3f}"


def _layout(metric: ChartMetric, first: int, last: int, *, numbers: bool) -> dict[str, Any]:
    few = last - first < 10
    return {
        "height": 290,
        "margin": {"l": 4, "r": 8, "t": 8, "b": 4},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"namelength": -1},
        # A finger that scrolls the page over a chart must not draw a zoom box.
        "dragmode": False if is_telephone() else "zoom",
        "xaxis": {
            "title": {"text": "Round", "standoff": 6},
            "range": [first - 0.5, max(last, first + 1) + 0.5],
            "tickmode": "linear" if few else "auto",
            "dtick": 1 if few else None,
            "tickformat": "d",
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
        },
        "yaxis": {
            "title": {"text": metric.axis, "standoff": 8},
            "tickformat": "$,~s" if metric.field == "mae" else None,
            "automargin": True,
            "nticks": 6,
            # Without a point the axis would invent numbers.
            "showticklabels": numbers,
            "zeroline": False,
        },
    }


def sparkline(metric: ChartMetric, points: Sequence[Point]) -> go.Figure:
    """Draw one metric of all institutions over the Rounds, small and without axes; the values are in the hover."""
    known = [
        (point.round_number, value) for point in points if (value := getattr(point, metric.field)) is not None
    ]
    colour = theme_colour("primaryColor")
    figure = go.Figure(
        go.Scatter(
            x=[number for number, _ in known],
            y=[value for _, value in known],
            name=ALL_NAME,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"color": colour, "size": 4 if len(known) > MANY_POINTS else 6},
            hovertemplate=f"Round %{{x}}: <b>%{{y:{metric.format}}}</b><extra></extra>",
        )
    )
    figure.update_layout(
        height=72,
        margin={"l": 6, "r": 6, "t": 6, "b": 6},
        showlegend=False,
        dragmode=False,
        xaxis={"visible": False, "fixedrange": True},
        yaxis={"visible": False, "fixedrange": True},
    )
    return figure


def _shape(index: int) -> str:
    """Return another shape when a colour comes round again."""
    return SHAPES[(index + index // len(COLOURS)) % len(SHAPES)]


def lines_of_runs(names: Mapping[str, str]) -> list[Line]:
    """Give every one of up to eight Runs that are compared its line, by its id as a text."""
    return [
        Line(code, name, _RUN_COLOURS[at % len(_RUN_COLOURS)], SHAPES[at % len(SHAPES)], 2.4)
        for at, (code, name) in enumerate(names.items())
    ]


def swatch(line: Line) -> str:
    """Return the line's sample as an image for a Markdown label."""
    marker = {
        "circle": '<circle cx="14" cy="8" r="4.2"/>',
        "square": '<rect x="10" y="4" width="8" height="8"/>',
        "diamond": '<path d="M14 2.5 19.5 8 14 13.5 8.5 8z"/>',
        "triangle-up": '<path d="M14 2.8 19 12.4H9z"/>',
        "x": '<path d="M10 4l8 8M18 4l-8 8" stroke-width="3"/>',
        "pentagon": '<path d="M14 3l5.2 3.8-2 6.1h-6.4l-2-6.1z"/>',
    }[line.shape]
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="28" height="16" viewBox="0 0 28 16">'
        f'<g fill="{line.colour}" stroke="{line.colour}" stroke-width="{line.width}">'
        f'<path d="M0 8h28"/></g><g fill="{line.colour}" stroke="{line.colour}">{marker}</g></svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"
