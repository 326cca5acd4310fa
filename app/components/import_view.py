"""The steps of an import as a person reads them: what a file must look like, and what was found in it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.column_choice import field_label
from app.components.formats import COST_NOT_KNOWN, count, feature_heading, feature_value, plain
from app.services.import_mapping import FIELDS
from app.services.imports import ImportCheck, ImportComparison, ImportResult, PatientRow
from app.services.tabular import write_csv, write_excel
from fl.features import FEATURES

PREVIEWED = 10  # rows
ROWS_NAMED = 10
_TEMPLATE = tuple(field.name for field in FIELDS if field.name != "full_name")


def show_import_guide() -> None:
    """Say which columns a file needs, and offer an empty one."""
    with st.expander("What the file must look like"):
        lines = [
            f"- **{plain(field.label)}**: {plain(field.expectation)}" for field in FIELDS if field.required
        ]
        st.markdown(
            "An Excel workbook (.xlsx) or a CSV file, with headings in the first row and a patient in each row "
            "below. Needed are:\n\n" + "\n".join(lines)
        )
        lines = [
            f"- **{field_label(field)}**: {plain(field.expectation)}"
            for field in FIELDS
            if not field.required
        ]
        st.markdown("Welcome, but not needed:\n\n" + "\n".join(lines))
        st.markdown(
            "The headings may be called anything and stand in any order: you say which column is which. Decimal "
            "commas, dollar signs, Y and N, or M and F are understood."
        )
        with st.container(horizontal=True):
            st.download_button(
                "Empty Excel file",
                data=lambda: write_excel(_TEMPLATE, [], sheet="Patients"),
                file_name="patients.xlsx",
                icon=":material/download:",
                on_click="ignore",
                key="import_template_excel",
            )
            st.download_button(
                "Empty CSV file",
                data=lambda: write_csv(_TEMPLATE, []),
                file_name="patients.csv",
                mime="text/csv",
                icon=":material/download:",
                on_click="ignore",
                key="import_template_csv",
            )


def show_preview(rows: Sequence[PatientRow]) -> None:
    """Show the first patients as they will stand on record."""
    named = bool(rows and rows[0].last_name)
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "Row": row.row,
                    "Name": f"{row.last_name}, {row.first_name}" if named else "Imported, with a code",
                    **{
                        feature_heading(feature): f"{round(float(row.inputs[feature.name]), 3):g}"
                        if feature.kind == "number"
                        else feature_value(feature, row.inputs[feature.name])
                        for feature in FEATURES
                    },
                    "Cost (USD a year)": COST_NOT_KNOWN
                    if row.insurance_cost is None
                    else f"${row.insurance_cost:,.2f}",
                }
                for row in rows[:PREVIEWED]
            ]
        ),
        hide_index=True,
        key="import_preview",
        column_config={
            "Row": st.column_config.NumberColumn(width="small", format="%d"),
            **{
                heading: st.column_config.TextColumn(alignment="right")
                for heading in (
                    "Cost (USD a year)",
                    *(feature_heading(feature) for feature in FEATURES if feature.kind != "category"),
                )
            },
        },
        alt="The first patients of the file as they will be kept",
    )
    if len(rows) > PREVIEWED:
        st.caption(f"The first {PREVIEWED} of {count(len(rows), 'patient')}, as they will be kept.")


def show_comparison(check: ImportCheck, found: ImportComparison) -> None:
    """Say that the file is in order, and what importing it would do."""
    known = sum(row.insurance_cost is not None for row in check.rows)
    st.success(
        f"The file is in order: {count(len(check.rows), 'patient')}, {known:,} of them with a known cost.",
        icon=":material/check_circle:",
    )
    with st.container(horizontal=True, key="import_counts"):
        st.metric("New patients", count(found.new), width=180)
        st.metric("On record already", count(found.already_there), width=180)
        st.metric("Costs to fill in", count(found.costs_to_fill), width=180)
    notes: list[str] = []
    if found.already_there:
        notes.append(
            "Patients with the same name and the same values are on record already; they are not added again."
        )
    if found.costs_different:
        notes.append(
            f"{_patients(found.costs_different)} on record with another cost than in the file; the cost on record "
            "stays."
        )
    if notes:
        st.info(plain(" ".join(notes)), icon=":material/info:")
    warnings: list[str] = []
    if found.known_names:
        rows = ", ".join(f"{row}" for row in found.known_names[:ROWS_NAMED])
        more = " and more" if len(found.known_names) > ROWS_NAMED else ""
        warnings.append(
            f"{count(len(found.known_names), 'new patient has', 'new patients have')} the name of somebody on record, "
            f"but other values: row {rows}{more}. If it is the same person, edit the record instead."
        )
    if found.repeated:
        warnings.append(
            f"{count(found.repeated, 'row repeats', 'rows repeat')} another row of the file word for word; each "
            "becomes a patient of its own."
        )
    for warning in warnings:
        st.warning(plain(warning), icon=":material/warning:")


def result_sentence(result: ImportResult) -> str:
    """Say in one line what an import did."""
    parts = [f"{count(result.added, 'patient')} added"]
    if result.already_there:
        parts.append(f"{_patients(result.already_there)} on record already")
    if result.costs_filled:
        parts.append(f"{count(result.costs_filled, 'unknown cost was', 'unknown costs were')} filled in")
    return "; ".join(parts) + "."


def _patients(number: int) -> str:
    return count(number, "patient is", "patients are")
