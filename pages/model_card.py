"""Model card: what the model in use is, how good it is, and what it must not be used for."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import count, plain, when
from app.components.guard import acting
from app.components.model_view import show_figures, show_hospitals
from app.databases import central_session
from app.permissions import Permission
from app.services import models, monitoring
from app.settings import get_settings

CARD_WIDTH = 820  # pixels

WHAT_IT_IS = (
    "A small neural network that estimates what a person's health insurance costs in one year, in US dollars, "
    "from six facts: age, sex, body mass index, number of children, smoking, and region. Several hospitals "
    "trained it together by federated learning: each trained on its own patients, and only weights, counts, sums "
    "and metrics left a hospital."
)
MUST_NOT = """
- to decide whether, when or how a person is treated
- to set a premium, or to grant or refuse insurance
- to compare people by sex or region
- for people under 18 or over 64 or with a BMI outside 15.5–54, of whom the model has seen hardly any
"""
GENERATED = (
    "This is a demonstration. The patients are generated, not real, and the figures say nothing about real people: "
    "on real survey data these six facts explain only a small part of the cost."
)


@acting(Permission.MODEL_CARD)
def show_page(actor: Actor) -> None:
    """Lay out the card."""
    st.title("Model card", anchor=False)
    with st.container(width=CARD_WIDTH):
        if get_settings().demo_mode:
            st.warning(GENERATED, icon=":material/science:")
        with central_session() as central:
            status = models.model_status(central=central, actor=actor)
            metrics = models.model_metrics(central=central, actor=actor) if status.has_model else None
            federation = monitoring.federation(central=central)
        st.subheader("What it is", anchor=False)
        st.markdown(WHAT_IT_IS)
        if metrics is None or status.training_round is None:
            show_empty("No model exists yet", plain(status.message), icon="model_training")
        else:
            hospitals = metrics.metrics.get("institutions") or {}
            st.markdown(
                f"**Version {plain(metrics.version)}**, trained on {plain(when(status.trained_at))} by "
                f"{count(len(hospitals), 'hospital')} on {count(status.num_examples, 'patient')} "
                f"(round {status.training_round} of run {status.run_id})."
            )
            st.subheader("How good it is", anchor=False)
            show_figures(r2=metrics.r2, mae=metrics.mae, rmse=metrics.rmse, num_examples=metrics.num_examples)
            show_hospitals(metrics.metrics, {site.code: site.name for site in federation.sites})
        st.subheader("What it must not be used for", anchor=False)
        st.markdown(MUST_NOT)
        st.markdown(
            "Every saved prediction names the version that made it, so it can be traced to its training."
        )


show_page()
