"""A file for many predictions: what it must look like, which column is which value, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from app.components.formats import count, feature_heading, plain
from app.services.import_mapping import guess_mapping
from app.services.imports import RowProblem
from app.services.tabular import Table
from fl.features import FEATURES

PROBLEMS_SHOWN = 1000
PREVIEW_ROWS = 5
_COLUMNS = 3


def show_file_guide() -> None:
    """Say which columns a file needs."""
    with st.expander("What the file must look like"):
        lines = [f"- **{plain(feature.label)}**: {plain(feature.expectation)}" for feature in FEATURES]
        st.markdown(
            "One row for each patient below one row of headings, as CSV or as an Excel workbook. A column for each of:"
            "\n\n" + "\n".join(lines)
        )
        st.markdown("Other columns are left alone. The file is not kept.")


def show_mapping(table: Table, *, key: str) -> dict[str, str | None]:
    """Show which column was taken for which value, let the reader change it, and return the choice.

    Returns
    -------
    dict
        Feature name -> heading of its column, None where there is none.
    """
    guess = guess_mapping(table.header)
    st.markdown(
        "**Which column is which**  \n:small[Guessed from the headings; please change what is not right.]"
    )
    mapping: dict[str, str | None] = {}
    for start in range(0, len(FEATURES), _COLUMNS):
        for feature, column in zip(FEATURES[start : start + _COLUMNS], st.columns(_COLUMNS), strict=False):
            guessed = guess.get(feature.name)
            with column:
                mapping[feature.name] = st.selectbox(
                    feature_heading(feature),
                    table.header,
                    index=table.header.index(guessed) if guessed in table.header else None,
                    key=f"{key}_{feature.name}",
                    placeholder="Choose its column",
                )
    for note in table.notes:
        st.caption(plain(note))
    with st.expander(f"The first rows of the file ({count(len(table.rows), 'row')})"):
        st.dataframe(
            pd.DataFrame([cells for _, cells in table.rows[:PREVIEW_ROWS]], columns=list(table.header)),
            hide_index=True,
            key=f"{key}_preview",
            alt="The first rows of the file as they were read",
        )
    return mapping


def columns_missing(mapping: Mapping[str, str | None]) -> list[str]:
    """Return the headings of the values that no column was chosen for."""
    return [feature_heading(feature) for feature in FEATURES if not mapping.get(feature.name)]


def show_row_problems(problems: Sequence[RowProblem], *, key: str) -> None:
    """List everything wrong in the file, by row and column."""
    st.error(
        f"Nothing was predicted: {count(len(problems), 'problem')} found. Correct the file and choose it again.",
        icon=":material/error:",
    )
    shown = problems[:PROBLEMS_SHOWN]
    st.dataframe(
        pd.DataFrame(
            [
                {"Row": problem.row, "Column": problem.column or "", "Problem": problem.message}
                for problem in shown
            ]
        ),
        hide_index=True,
        key=key,
        column_config={
            "Row": st.column_config.NumberColumn(width="small", format="%d"),
            "Column": st.column_config.TextColumn(width="small"),
            "Problem": st.column_config.TextColumn(width="large"),
        },
        alt="Problems in the file, by row and column",
    )
    if len(shown) < len(problems):
        st.caption(f"The first {len(shown):,} of {len(problems):,} problems.")
