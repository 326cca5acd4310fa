"""A chart that stands still while its data change: the reader's zoom and choice of lines survive every redraw.

Streamlit's own mounts a new chart when the data change, which forgets both. This one gives Plotly the new data of
the same chart.
"""

from __future__ import annotations

import streamlit as st

from app.components.charts import ChartSpec
from app.plotly_library import PLOTLY_PATH
from app.settings import PROJECT_ROOT

_ASSETS = PROJECT_ROOT / "app" / "components" / "assets"
_CHART = st.components.v2.component(
    "fedcost_live_chart",
    html='<div class="live-chart" role="group"></div>',
    css=(_ASSETS / "live_chart.css").read_text(),
    js=(_ASSETS / "live_chart.js").read_text(),
    isolate_styles=False,
)


def show_live_chart(spec: ChartSpec, *, key: str, view: str, alt: str) -> None:
    """Draw a chart, or give a chart of the same key its new data.

    Parameters
    ----------
    spec
        Data and layout; the layout has `height` in pixels and `xaxis.range`.
    view
        What the chart is of, such as one Run and a span of its Rounds; a zoom ends when another comes.
    alt
        For those who do not see it.
    """
    _CHART(key=key, data={"figure": spec, "view": view, "alt": alt, "library": PLOTLY_PATH})
