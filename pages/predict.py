"""Predict: one patient's yearly insurance cost from the model in use."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.amount import show_amount
from app.components.empty import show_empty
from app.components.formats import describe_inputs, plain, usd
from app.components.forms import feature_inputs, fill_inputs, show_problems
from app.components.guard import acting, show_error
from app.components.navigation import page
from app.databases import central_session, site_session
from app.errors import InvalidInput, NoModelYet
from app.permissions import Permission
from app.services import models, patients, predictions
from app.services.predictions import CostPrediction
from db.site import Patient
from fl.features import FEATURES

FORM_WIDTH = 760  # pixels
_RESULT = "predict_result"
_SAVED = "predict_saved"
_PATIENT = "predict_patient"


def chosen_patient(actor: Actor) -> Patient | None:
    """Return the patient that the address names, and fill the form with their values when they change."""
    asked = st.query_params.get("patient")
    if asked is None:
        if st.session_state.pop(_PATIENT, None):
            forget_result()
        return None
    try:
        patient_id = uuid.UUID(asked)
    except ValueError:
        del st.query_params["patient"]
        return None
    with site_session(actor) as site:
        patient = patients.get_patient(site=site, actor=actor, patient_id=patient_id)
    if st.session_state.get(_PATIENT) != asked:
        forget_result()
        fill_inputs("predict", {feature.name: getattr(patient, feature.name) for feature in FEATURES})
        st.session_state[_PATIENT] = asked
    return patient


def forget_result() -> None:
    """Take away the last prediction: it belongs to other values."""
    st.session_state.pop(_RESULT, None)
    st.session_state.pop(_SAVED, None)


@acting(Permission.PREDICT)
def let_go_of_patient(actor: Actor) -> None:
    """Empty the form and the address for another patient."""
    forget_result()
    fill_inputs("predict", {})
    st.session_state.pop(_PATIENT, None)
    st.query_params.pop("patient", None)


@acting(Permission.PREDICT)
def show_form(actor: Actor, patient: Patient | None) -> None:
    """Take the inputs and predict."""
    with st.form("predict_form", border=True):
        raw, places = feature_inputs("predict")
        submitted = st.form_submit_button(
            "Predict cost", type="primary", icon=":material/calculate:", key="predict_submit"
        )
    if not submitted:
        return
    forget_result()
    try:
        with central_session() as central:
            st.session_state[_RESULT] = predictions.predict(central=central, actor=actor, inputs=raw)
    except InvalidInput as error:
        rest = show_problems(places, error.problems)
        if rest:
            show_error(InvalidInput(rest))
        else:
            st.error("Please correct the fields marked above.", icon=":material/error:")


@acting(Permission.PREDICT)
def show_result(actor: Actor, result: CostPrediction, patient: Patient | None) -> None:
    """Show the predicted cost with what it was made from, and offer to keep it."""
    with st.container(border=True, key="predict_answer"):
        st.markdown("Predicted insurance cost, USD a year")
        show_amount(usd(result.predicted_cost))
        st.caption(
            f"Model version {plain(result.model_version)} · for: {plain(describe_inputs(result.inputs))}"
        )
        for caution in result.cautions:
            st.warning(plain(caution), icon=":material/warning:")
        st.caption(
            "An estimate from six facts about a person. It is not a quote, and no ground for a medical decision."
        )
        if not st.session_state.get(_SAVED) and st.button(
            "Save to history", icon=":material/save:", key="predict_save"
        ):
            with site_session(actor) as site:
                predictions.save(
                    site=site, actor=actor, prediction=result, patient_id=patient.id if patient else None
                )
            st.session_state[_SAVED] = True
            st.rerun()
        if st.session_state.get(_SAVED):
            st.success("Saved. You find it under History.", icon=":material/check_circle:")
            st.page_link(page("history"), label="Open History", icon=":material/history:")


@acting(Permission.PREDICT)
def show_page(actor: Actor) -> None:
    """Lay out the form and, below it, the answer."""
    st.title("Predict", anchor=False)
    with central_session() as central:
        status = models.model_status(central=central, actor=actor)
    if not status.has_model:
        show_empty("No model exists yet", plain(str(NoModelYet())), icon="model_training")
        return
    # Streamlit drops a page's fields when it is left; the answer to them must not stay behind.
    if f"predict_{FEATURES[0].name}" not in st.session_state:
        forget_result()
    with st.container(width=FORM_WIDTH):
        patient = chosen_patient(actor)
        if patient is not None:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.info(
                    f"For **{plain(f'{patient.last_name}, {patient.first_name}')}**, "
                    "with the values on record.",
                    icon=":material/person:",
                    width="stretch",
                )
                st.button("Another patient", key="predict_clear", on_click=let_go_of_patient)
        else:
            st.markdown("Enter the patient's values. All six are needed.")
        show_form(patient)
        result = st.session_state.get(_RESULT)
        if isinstance(result, CostPrediction):
            show_result(result, patient)


show_page()
