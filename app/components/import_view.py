"""The import of a file of patients: what the file must look like, and what was found in it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.components.formats import count, plain
from app.services.imports import ImportCheck
from fl.features import FEATURES, TARGET_NAME

PROBLEMS_SHOWN = 1000


def show_import_guide() -> None:
    """Say which columns a file needs, and offer an empty one."""
    st.markdown(
        "Every row of the file becomes a patient of your hospital. The file is checked first; if anything in it "
        "is wrong, every problem is listed and nothing is imported."
    )
    with st.expander("What the file must look like"):
        lines = [f"- `{feature.name}`: {plain(feature.expectation)}" for feature in FEATURES]
        lines.append(f"- `{TARGET_NAME}` (or `charges`): USD a year; may be missing or empty")
        lines.append("- `first_name` and `last_name`: both, or neither")
        st.markdown("\n".join(lines))
        header = ",".join(["first_name", "last_name", *(feature.name for feature in FEATURES), TARGET_NAME])
        st.download_button(
            "Download an empty file",
            data=f"{header}\n".encode(),
            file_name="patients.csv",
            mime="text/csv",
            icon=":material/download:",
            key="patients_import_template",
        )


def show_import_check(check: ImportCheck) -> None:
    """Show that the file is in order, or every problem by row and column."""
    if check.ignored:
        names = ", ".join(f"`{plain(name)}`" for name in check.ignored)
        st.info(f"These columns have no place here and are left out: {names}.", icon=":material/info:")
    if not check.problems:
        known = sum(row.insurance_cost is not None for row in check.rows)
        st.success(
            f"The file is in order: {count(len(check.rows), 'patient')}, {known:,} of them with a known cost.",
            icon=":material/check_circle:",
        )
        return
    st.error(
        f"Nothing was imported: {count(len(check.problems), 'problem')} found. Correct the file and choose it "
        "again.",
        icon=":material/error:",
    )
    shown = check.problems[:PROBLEMS_SHOWN]
    st.dataframe(
        pd.DataFrame(
            [
                {"Row": problem.row, "Column": problem.column or "", "Problem": problem.message}
                for problem in shown
            ]
        ),
        hide_index=True,
        key="patients_import_problems",
        column_config={
            "Row": st.column_config.NumberColumn(width="small", format="%d"),
            "Column": st.column_config.TextColumn(width="small"),
            "Problem": st.column_config.TextColumn(width="large"),
        },
        alt="Problems in the file, by row and column",
    )
    if len(shown) < len(check.problems):
        st.caption(f"The first {len(shown):,} of {len(check.problems):,} problems.")
