"""Batch: the predicted costs of many patients at once, from a file or of a selection of the own patients."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import count, plain
from app.components.guard import acting
from app.components.patient_filters import show_active, show_filters
from app.components.patient_list_state import current_view
from app.components.prediction_batch import show_result
from app.components.prediction_mapping import (
    columns_missing,
    show_file_guide,
    show_mapping,
)
from app.components.row_problems import show_row_problems
from app.databases import central_session, site_session
from app.errors import NoModelYet
from app.permissions import Permission
from app.services import batch, models, patients
from app.services.batch import BatchCheck, BatchResult
from app.services.patient_query import PatientFilter
from app.services.tabular import FILE_TYPES, Table, read_table

FILE, PATIENTS = "file", "patients"
SOURCES = {FILE: "A file", PATIENTS: "Patients of your hospital"}
_SOURCE = "batch_source"
_TABLE, _CHECK, _RESULT = "batch_table", "batch_check", "batch_result"  # each with what it was made from


def remembered(name: str, made_from: object) -> Any:
    """Return what was kept under `name` if it was made from the same; a rerun reads and predicts nothing twice."""
    kept = st.session_state.get(name)
    return kept[1] if kept is not None and kept[0] == made_from else None


def keep(name: str, made_from: object, value: object) -> None:
    """Keep a value with what it was made from, instead of what was kept before."""
    st.session_state[name] = (made_from, value)


@acting(Permission.PREDICT_BATCH)
def predict_file(actor: Actor, made_from: object, check: BatchCheck) -> None:
    """Predict every row of a checked file under a progress bar."""
    bar = st.progress(0.0, text="Predicting")
    with central_session() as central:
        result = batch.predict_batch(
            central=central,
            actor=actor,
            check=check,
            progress=lambda done: bar.progress(done, text="Predicting"),
        )
    bar.empty()
    keep(_RESULT, made_from, result)


@acting(Permission.PREDICT_BATCH)
def predict_selection(actor: Actor, made_from: object, chosen: PatientFilter) -> None:
    """Predict every patient of the filter under a progress bar; each prediction is saved."""
    bar = st.progress(0.0, text="Predicting and saving")
    with central_session() as central, site_session(actor) as site:
        result = batch.predict_patients(
            central=central,
            site=site,
            actor=actor,
            filter=chosen,
            progress=lambda done: bar.progress(done, text="Predicting and saving"),
        )
    bar.empty()
    keep(_RESULT, made_from, result)


@acting(Permission.PREDICT_BATCH)
def show_file(actor: Actor) -> None:
    """Take a file, its columns, and predict it if nothing in it is wrong."""
    show_file_guide()
    file = st.file_uploader("CSV or Excel file of patients", type=list(FILE_TYPES), key="batch_file")
    if file is None:
        return
    table: Table | None = remembered(_TABLE, file.file_id)
    if table is None:
        table = read_table(file.getvalue(), file.name)
        keep(_TABLE, file.file_id, table)
    mapping = show_mapping(table, key=f"batch_column_{file.file_id}")
    missing = columns_missing(mapping)
    if missing:
        st.info(f"Choose the column of: {plain(', '.join(missing))}.", icon=":material/info:")
        return
    made_from = (FILE, file.file_id, tuple(mapping.items()))
    check: BatchCheck | None = remembered(_CHECK, made_from)
    if check is None:
        check = batch.check_batch(table, mapping)
        keep(_CHECK, made_from, check)
    if check.problems:
        show_row_problems(
            check.problems, rows=len(table.rows), outcome="Nothing was predicted", key="batch_problems"
        )
        return
    if remembered(_RESULT, made_from) is None:
        waiting = st.empty()
        if not waiting.button(
            f"Predict {count(len(check.rows), 'patient')}",
            type="primary",
            icon=":material/calculate:",
            key="batch_predict_file",
        ):
            return
        waiting.empty()
        predict_file(made_from, check)
    result: BatchResult | None = remembered(_RESULT, made_from)
    if result is not None:
        show_result(actor, result)


@acting(Permission.PREDICT_BATCH)
def show_selection(actor: Actor) -> None:
    """Choose patients as in their list, and predict them all."""
    view, problems = current_view()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        show_filters(view, problems, with_order=False)
    show_active(view, problems)
    with site_session(actor) as site:
        total = patients.count_patients(site=site, actor=actor, filter=view.filter)
    if total == 0:
        show_empty("No patients fit", "Take a filter away, or search for another name.", icon="person_search")
        return
    made_from = (PATIENTS, view.filter)
    if remembered(_RESULT, made_from) is None:
        waiting = st.empty()
        with waiting.container():
            st.markdown(
                f"**{count(total, 'patient')}** will be predicted with the values on record, and each prediction is "
                "saved to the history."
            )
            asked = st.button(
                f"Predict and save {count(total, 'patient')}",
                type="primary",
                icon=":material/calculate:",
                key="batch_predict_patients",
            )
        if not asked:
            return
        waiting.empty()
        predict_selection(made_from, view.filter)
    result: BatchResult | None = remembered(_RESULT, made_from)
    if result is not None:
        show_result(actor, result)
        st.button("Predict again", icon=":material/refresh:", key="batch_again", on_click=predict_again)


@acting(Permission.PREDICT_BATCH)
def predict_again(actor: Actor) -> None:
    """Let go of the result, so that the same patients can be predicted anew."""
    st.session_state.pop(_RESULT, None)


@acting(Permission.PREDICT_BATCH)
def show_page(actor: Actor) -> None:
    """Ask where the patients come from, and go on from there."""
    st.title("Batch", anchor=False)
    with central_session() as central:
        status = models.model_status(central=central, actor=actor)
    if not status.has_model:
        show_empty("No model exists yet", plain(str(NoModelYet())), icon="model_training")
        return
    st.markdown("Predict the yearly insurance cost of many patients at once.")
    # An address with a selection of patients, such as the patients page links to, means those patients.
    if _SOURCE not in st.session_state:
        st.session_state[_SOURCE] = PATIENTS if st.query_params.to_dict() else FILE
    source = st.segmented_control(
        "Which patients", list(SOURCES), format_func=SOURCES.__getitem__, key=_SOURCE, required=True
    )
    if source == PATIENTS:
        show_selection()
    else:
        show_file()


show_page()
