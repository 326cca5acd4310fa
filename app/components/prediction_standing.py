"""Where a predicted cost lies among the known costs of the hospital's own patients."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.formats import count, percent, plain, usd
from app.components.prediction_charts import CHART_CONFIG, standing_figure
from app.databases import site_session
from app.services import patients
from app.services.cost_histogram import CostDistribution
from app.services.predictions import CostPrediction

FEWEST_PATIENTS = 20  # of fewer, a histogram shows persons and not a shape
FRESH_FOR = 60  # seconds


def show_standing(actor: Actor, prediction: CostPrediction) -> None:
    """Show the histogram of known costs with the prediction in it, or that too few costs are known."""
    st.header("Among your hospital's patients", anchor=False)
    assert actor.institution_code is not None
    distribution = _cost_distribution(actor.institution_code, actor)
    if distribution.count < FEWEST_PATIENTS:
        st.markdown(
            f"{count(distribution.count, 'patient')} of your hospital with a known cost: too few to compare with. "
            f"The comparison appears from {FEWEST_PATIENTS} on."
        )
        return
    cost = float(prediction.predicted_cost)
    words = f"{usd(cost)} is {_rank(distribution, cost)} with a known cost had."
    st.caption(plain(words))
    interval = None
    if prediction.interval is not None:
        low, high = prediction.interval
        interval = (float(low), float(high))
    st.plotly_chart(
        standing_figure(distribution, cost, interval), key="predict_standing", config=CHART_CONFIG, alt=words
    )


def _rank(distribution: CostDistribution, cost: float) -> str:
    of_whom = count(distribution.count, "patient")
    share = share_below(distribution, cost)
    if share > 0.995:
        return f"more than nearly all of the {of_whom}"
    if share < 0.005:
        return f"less than nearly all of the {of_whom}"
    return f"more than {percent(share)} of the {of_whom}"


def share_below(distribution: CostDistribution, cost: float) -> float:
    """Return which share (0 to 1) of the known costs lies below `cost` (USD), even within each bar."""
    below = 0.0
    for low, high, patients_in_bar in zip(
        distribution.edges, distribution.edges[1:], distribution.counts, strict=False
    ):
        if cost >= high:
            below += patients_in_bar
        elif cost > low:
            below += patients_in_bar * (cost - low) / (high - low)
    return below / distribution.count


@st.cache_data(ttl=FRESH_FOR, show_spinner=False)
def _cost_distribution(institution_code: str, _actor: Actor) -> CostDistribution:
    """Read the histogram, once a minute for each institution; who may see it was asked before."""
    with site_session(_actor) as site:
        return patients.cost_distribution(site=site, actor=_actor)
