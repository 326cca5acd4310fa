"""Draws what `make simulate` printed as a picture: `make simulate | .venv/bin/python -m bench.scaling_chart`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from urllib.parse import unquote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from app.settings import PROJECT_ROOT
from tests.browser.conftest import started_browser

PICTURE = PROJECT_ROOT / "docs" / "scaling.svg"
WIDTH, HEIGHT = 960, 300  # pixels
SITES, SERVER, PLAIN = "#9CC4CC", "#0B5563", "#44545B"


def figure(measured: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Return three panels over the number of institutions: seconds a Round, memory and R².

    Parameters
    ----------
    measured
        Number of institutions -> `seconds_per_round`, `seconds_server`, `memory_mb` and `r2`.
    """
    numbers = [f"{int(number):,}" for number in measured]
    rows = list(measured.values())
    drawn = make_subplots(
        rows=1, cols=3, subplot_titles=("A round, seconds", "Memory, MB", "R² after the last round")
    )
    server = [row["seconds_server"] for row in rows]
    sites = [row["seconds_per_round"] - row["seconds_server"] for row in rows]
    totals = [f"{row['seconds_per_round']:.3g}" for row in rows]
    drawn.add_bar(x=numbers, y=server, name="server", marker_color=SERVER, row=1, col=1)
    drawn.add_bar(
        x=numbers,
        y=sites,
        name="institutions, on this machine's cores",
        marker_color=SITES,
        text=totals,
        textposition="outside",
        row=1,
        col=1,
    )
    memory = [row["memory_mb"] for row in rows]
    drawn.add_bar(
        x=numbers,
        y=memory,
        text=[f"{value:,.0f}" for value in memory],
        textposition="outside",
        marker_color=PLAIN,
        showlegend=False,
        row=1,
        col=2,
    )
    r2 = [row["r2"] for row in rows]
    drawn.add_scatter(
        x=numbers,
        y=r2,
        text=[f"{value:.3f}" for value in r2],
        textposition="top center",
        mode="lines+markers+text",
        marker_color=PLAIN,
        showlegend=False,
        row=1,
        col=3,
    )
    drawn.update_layout(
        barmode="stack",
        width=WIDTH,
        height=HEIGHT,
        template="plotly_white",
        font={"family": "sans-serif", "size": 12, "color": "#1B2A30"},
        margin={"l": 40, "r": 16, "t": 36, "b": 64},
        legend={"orientation": "h", "x": 0, "y": -0.28},
        bargap=0.45,
    )
    drawn.update_xaxes(title_text="institutions", type="category", title_standoff=4)
    drawn.update_yaxes(range=[0, 1.18 * max(row["seconds_per_round"] for row in rows)], row=1, col=1)
    drawn.update_yaxes(range=[0, 1.18 * max(memory)], row=1, col=2)
    drawn.update_yaxes(range=[0.75, 0.95], row=1, col=3)
    return drawn


def as_svg(drawn: go.Figure) -> str:
    """Have a browser draw a figure, and return it as SVG."""
    with started_browser() as browser:
        page = browser.new_page()
        page.set_content("<div id='place'></div>")
        page.add_script_tag(content=get_plotlyjs())
        address: str = page.evaluate(
            "async figure => Plotly.toImage(figure, {format: 'svg', width: figure.layout.width, "
            "height: figure.layout.height})",
            json.loads(drawn.to_json()),
        )
    return unquote(address.partition(",")[2])


def main() -> None:
    """Read the last line, which is JSON, and write the picture."""
    printed = sys.stdin.read()
    sys.stderr.write(printed)
    PICTURE.write_text(as_svg(figure(json.loads(printed.strip().splitlines()[-1]))), encoding="utf-8")


if __name__ == "__main__":
    main()
