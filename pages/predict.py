"""Predict: one patient's yearly insurance cost from the model in use, answered while one types."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import plain
from app.components.guard import acting
from app.components.navigation import page
from app.components.prediction_answer import show_answer, show_origin, show_what_ifs, waiting_words
from app.components.prediction_charts import CHART_CONFIG, contributions_figure, contributions_in_words
from app.components.prediction_fields import fill_live_inputs, live_inputs, show_live_problems
from app.components.prediction_standing import show_standing
from app.databases import central_session, site_session
from app.errors import InvalidInput, NoModelYet
from app.permissions import Permission
from app.services import explanations, models, patients, predictions
from app.services.explanations import Explanation
from app.services.predictions import CostPrediction
from app.waiting import outlasting
from db.site import Patient
from fl.features import FEATURES

_SAVED = "predict_saved"  # the prediction saved last, and for whom
_PATIENT = "predict_patient"  # whose values the form was filled with


def chosen_patient(actor: Actor) -> Patient | None:
    """Return the patient that the address names, and fill the form with their values when they change."""
    asked = st.query_params.get("patient")
    if asked is None:
        if st.session_state.pop(_PATIENT, None):
            fill_live_inputs("predict", {})
        return None
    try:
        patient_id = uuid.UUID(asked)
    except ValueError:
        del st.query_params["patient"]
        return None
    with site_session(actor) as site:
        patient = patients.get_patient(site=site, actor=actor, patient_id=patient_id)
    # Streamlit drops a page's fields when it is left; they are filled anew when it is opened again.
    if st.session_state.get(_PATIENT) != asked or f"predict_{FEATURES[0].name}" not in st.session_state:
        fill_live_inputs("predict", {feature.name: getattr(patient, feature.name) for feature in FEATURES})
        st.session_state[_PATIENT] = asked
    return patient


@acting(Permission.PREDICT)
def let_go_of_patient(actor: Actor) -> None:
    """Empty the form and the address for another patient."""
    fill_live_inputs("predict", {})
    st.session_state.pop(_PATIENT, None)
    st.query_params.pop("patient", None)


@acting(Permission.PREDICT)
def clear_form(actor: Actor) -> None:
    """Empty the form."""
    fill_live_inputs("predict", {})


@acting(Permission.PREDICT)
def keep(actor: Actor, shown: CostPrediction, patient_id: uuid.UUID | None) -> None:
    """Save the prediction that stood on the screen when the button was pressed, not what was typed since."""
    prediction_id = predictions.new_prediction_id()

    def save() -> None:
        with site_session(actor) as site:
            predictions.save(
                site=site, actor=actor, prediction=shown, patient_id=patient_id, prediction_id=prediction_id
            )

    outlasting(save, repeatable=True)
    st.session_state[_SAVED] = (shown, patient_id)


def show_saving(prediction: CostPrediction, patient: Patient | None) -> None:
    """Offer to keep the prediction, or say that it was kept."""
    patient_id = patient.id if patient else None
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.session_state.get(_SAVED) == (prediction, patient_id):
            st.markdown(":green[:material/check_circle: Saved to history.]", width="content")
            st.page_link(page("history"), label="Open History", icon=":material/history:")
        else:
            st.button(
                "Save to history",
                icon=":material/save:",
                key="predict_save",
                on_click=keep,
                args=(prediction, patient_id),
            )


def show_reasons(actor: Actor, prediction: CostPrediction, explanation: Explanation) -> None:
    """Show what makes the cost, what would change it, and where it lies among the hospital's patients."""
    why, beside = st.columns(2, gap="medium")
    with why:
        st.header("What makes this cost", anchor=False)
        st.caption(
            "From the average that the model predicts for a generated population, each value of this patient moves "
            "the cost up or, hatched, down. Together the steps lead to this patient's cost."
        )
        st.plotly_chart(
            contributions_figure(explanation, prediction.inputs),
            key="predict_contributions",
            config=CHART_CONFIG,
            alt=contributions_in_words(explanation),
        )
    with beside:
        show_what_ifs(explanation)
        show_standing(actor, prediction)


@st.fragment
@acting(Permission.PREDICT)
def show_form_and_answer(actor: Actor, patient: Patient | None) -> None:
    """Take the six values and answer at every edit; without all six valid no answer stands."""
    form, answer = st.columns([5, 6], gap="medium")
    with form, st.container(border=True, key="predict_form"):
        raw, places = live_inputs("predict")
        if patient is None and any(value is not None for value in raw.values()):
            st.button("Clear", icon=":material/backspace:", key="predict_clear", on_click=clear_form)
    try:
        with central_session() as central:
            prediction, explanation = explanations.explain(central=central, actor=actor, inputs=raw)
    except InvalidInput as error:
        empty = show_live_problems(places, error.problems, raw)
        with answer, st.container(border=True, key="predict_waiting"):
            st.markdown(":material/calculate: **The cost appears here as you type**")
            st.markdown(waiting_words(empty, wrong=len(empty) < len(error.problems)))
        return
    with answer, st.container(border=True, key="predict_answer"):
        show_answer(prediction)
        show_saving(prediction, patient)
        show_origin(prediction)
    show_reasons(actor, prediction, explanation)


@acting(Permission.PREDICT)
def show_page(actor: Actor) -> None:
    """Say for whom, and lay out the form beside its answer."""
    st.title("Predict", anchor=False)
    with central_session() as central:
        status = models.model_status(central=central, actor=actor)
    if not status.has_model:
        show_empty("No model exists yet", plain(str(NoModelYet())), icon="model_training")
        return
    patient = chosen_patient(actor)
    if patient is None:
        st.markdown("Enter the patient's values; the answer follows as you type.")
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(
                f"For **{plain(f'{patient.last_name}, {patient.first_name}')}**, with the values on record. "
                "Changing them here does not change the record.",
                icon=":material/person:",
                width="stretch",
            )
            st.button("Another patient", key="predict_other", on_click=let_go_of_patient)
    show_form_and_answer(patient)


show_page()
