"""A prediction in words: the cost, how far off it may be, what to be careful about, and what would change it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.components.amount import show_amount
from app.components.formats import describe_inputs, plain, signed_usd, usd
from app.services.explanations import Explanation
from app.services.predictions import CostPrediction


def interval_in_words(prediction: CostPrediction) -> str:
    """Say where the costs of such patients lie; or that this version of the model does not know."""
    if prediction.interval is None:
        return (
            f"How far off this may be is not known: model version {prediction.model_version} came without a "
            "measured interval."
        )
    low, high = prediction.interval
    return f"Nine in ten such patients cost between {usd(low)} and {usd(high)} a year."


def show_answer(prediction: CostPrediction) -> None:
    """Show the cost, large, with its interval and every caution right below it."""
    st.markdown("Predicted insurance cost, USD a year")
    show_amount(usd(prediction.predicted_cost))
    words = plain(interval_in_words(prediction))
    st.markdown(f"**{words}**" if prediction.interval else words)
    for caution in prediction.cautions:
        st.warning(plain(caution), icon=":material/warning:")


def show_origin(prediction: CostPrediction) -> None:
    """Say for which values and by which model the answer holds, and what it is not."""
    st.caption(
        f"For: {plain(describe_inputs(prediction.inputs))} · model version {plain(prediction.model_version)}"
    )
    st.caption(
        "An estimate from six facts about a person. It is not a quote, and no ground for a medical decision."
    )


def show_what_ifs(explanation: Explanation) -> None:
    """Show the same patient with something changed: what the model predicts then, and the difference."""
    st.header("What would change it", anchor=False)
    if not explanation.what_ifs:
        st.markdown("Neither smoking nor a body mass index above 25 adds to the cost of this patient.")
        return
    rows = [
        {
            "If the patient": plain(f"{what_if.label[:1].lower()}{what_if.label[1:]}"),
            "Predicted": plain(usd(what_if.cost)),
            "Difference": plain(signed_usd(what_if.difference)),
        }
        for what_if in explanation.what_ifs
    ]
    with st.container(key="figures_predict_what_ifs"):
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption(
        "USD a year. This is what the model predicts for a patient who differs only in this; it is not a promise that "
        "this patient's cost will change so."
    )


def waiting_words(empty: list[str], *, wrong: bool) -> str:
    """Say what is still needed before there is an answer."""
    if wrong:
        return "Please correct the marked field; the answer then appears here by itself."
    return f"Still to fill in: {', '.join(empty)}."
