"""Import: the patients of a file become patients of the own institution, all of them or none."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.column_choice import choose_columns
from app.components.formats import count, plain
from app.components.guard import acting, show_error
from app.components.import_state import (
    FileInWork,
    ImportDone,
    begin_anew,
    column_key,
    file_in_work,
    keep_result,
    last_import,
    put_file_away,
    take_file,
    upload_key,
)
from app.components.import_view import (
    result_sentence,
    show_comparison,
    show_import_guide,
    show_preview,
)
from app.components.navigation import page
from app.components.row_problems import show_row_problems
from app.databases import site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import imports
from app.services.import_check import mapping_problems
from app.services.import_mapping import FIELDS
from app.services.imports import ImportComparison
from app.services.tabular import FILE_TYPES, read_table


@acting(Permission.PATIENTS_IMPORT)
def show_result(actor: Actor, done: ImportDone) -> None:
    """Say what the import did, and where to go from here."""
    with st.container(border=True):
        st.header(f":material/check_circle: {plain(done.file_name)} is imported", anchor=False)
        st.markdown(plain(result_sentence(done.result)))
        with st.container(horizontal=True):
            st.page_link(page("patients"), label="Open the patients", icon=":material/groups:")
            if actor.may(Permission.PREDICT_BATCH):
                st.page_link(page("batch"), label="Predict many at once", icon=":material/table_rows:")
    st.button("Import another file", icon=":material/upload_file:", key="import_another", on_click=begin_anew)


@acting(Permission.PATIENTS_IMPORT)
def show_choice_of_file(actor: Actor) -> None:
    """Take a file and read it; one that cannot be read says why and leaves room for another."""
    st.header("1. Choose a file", anchor=False)
    show_import_guide()
    uploaded = st.file_uploader("Excel or CSV file of patients", type=list(FILE_TYPES), key=upload_key())
    if uploaded is None:
        return
    with st.spinner(f"Reading {plain(uploaded.name)}"):
        try:
            table = read_table(uploaded.getvalue(), uploaded.name)
        except InvalidInput as error:
            show_error(error)
            return
    take_file(actor, uploaded.name, table)
    st.rerun()


@acting(Permission.PATIENTS_IMPORT)
def show_file(actor: Actor, file: FileInWork) -> None:
    """Go through the steps of a file that was read: columns, problems, import."""
    with st.container(horizontal=True, vertical_alignment="center"):
        size = f"{count(len(file.table.rows), 'row')}, {count(len(file.table.header), 'column')}"
        st.markdown(f":material/description: **{plain(file.name)}** · {size}", width="stretch")
        st.button(
            "Choose another file", icon=":material/undo:", key="import_put_away", on_click=put_file_away
        )
    for note in file.table.notes:
        st.info(plain(note), icon=":material/info:")
    st.header("2. Which column is which", anchor=False)
    file.choose(choose_columns(file.table, FIELDS, file.columns, key_of=column_key))
    wrong = mapping_problems(file.table.header, file.columns)
    if wrong:
        lines = "\n".join(f"- {plain(problem.message)}" for problem in wrong)
        st.warning(f"The columns are not complete yet:\n\n{lines}", icon=":material/warning:")
        return
    st.header("3. Check", anchor=False)
    if file.check is None:
        check_rows(file)
    if file.check is None:
        return
    if file.check.ignored:
        names = ", ".join(f"“{plain(name)}”" for name in file.check.ignored)
        st.caption(f"Left out, because they have no place in a patient's record: {names}")
    if file.check.rows:
        show_preview(file.check.rows)
    if file.check.problems:
        show_row_problems(
            file.check.problems,
            rows=len(file.table.rows),
            outcome="Nothing can be imported yet",
            key="import_problems",
        )
        return
    if file.comparison is None:
        compare(file)
    if file.comparison is not None:
        show_comparison(file.check, file.comparison)
        st.header("4. Import", anchor=False)
        show_import(file, file.comparison)


@acting(Permission.PATIENTS_IMPORT)
def check_rows(actor: Actor, file: FileInWork) -> None:
    """Check every row, once for each choice of columns."""
    text = f"Checking {count(len(file.table.rows), 'row')}"
    bar = st.progress(0.0, text=text)
    file.check = imports.check_table(
        file.table, file.columns, progress=lambda share: bar.progress(share, text=text)
    )
    bar.empty()


@acting(Permission.PATIENTS_IMPORT)
def compare(actor: Actor, file: FileInWork) -> None:
    """Find out who is on record already, once for each choice of columns."""
    assert file.check is not None
    with st.spinner("Looking who is on record already"), site_session(actor) as site:
        file.comparison = imports.compare_with_record(site=site, actor=actor, check=file.check)


@acting(Permission.PATIENTS_IMPORT)
def show_import(actor: Actor, file: FileInWork, found: ImportComparison) -> None:
    """Import on a press of the button, under a progress bar."""
    if not found.new and not found.costs_to_fill:
        st.markdown("Everybody in this file is on record already; there is nothing to import.")
        return
    says = f"Import {count(found.new, 'patient')}"
    if found.costs_to_fill:
        costs = f"{count(found.costs_to_fill, 'cost')}"
        says = f"{says} and fill in {costs}" if found.new else f"Fill in {costs}"
    place = st.empty()
    if not place.button(says, type="primary", icon=":material/upload:", key="import_confirmed"):
        return
    assert file.check is not None
    text = "Importing. Please stay on this page: leaving it stops the import, and nothing is imported."
    bar = place.progress(0.0, text=text)
    with site_session(actor) as site:
        result = imports.import_patients(
            site=site, actor=actor, check=file.check, progress=lambda share: bar.progress(share, text=text)
        )
    keep_result(ImportDone(file.name, actor.worker_id, result))
    st.rerun()


@acting(Permission.PATIENTS_IMPORT)
def show_page(actor: Actor) -> None:
    """Show the result of the last import, the file in work, or the choice of one."""
    st.title("Import", anchor=False)
    st.markdown(
        f"Every row of a file becomes a patient of {plain(actor.institution_name or 'your hospital')}. The file is "
        "checked first; if anything in it is wrong, every problem is listed and nothing is imported."
    )
    done, file = last_import(actor), file_in_work(actor)
    if done is not None:
        show_result(done)
    elif file is not None:
        show_file(file)
    else:
        show_choice_of_file()


show_page()
