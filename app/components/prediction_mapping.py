"""A file for many predictions: what it must look like, and which column is which value."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.components.column_choice import choose_columns
from app.components.formats import feature_heading, plain
from app.services.import_mapping import FIELD_BY_NAME, guess_mapping
from app.services.tabular import Table
from fl.features import FEATURES


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
    """Show which column was taken for which feature, let the reader change it, and return the choice."""
    st.markdown(
        "**Which column is which**  \n:small[Guessed from the headings; please change what is not right.]"
    )
    mapping = choose_columns(
        table,
        [FIELD_BY_NAME[feature.name] for feature in FEATURES],
        guess_mapping(table.header),
        key_of=lambda name: f"{key}_{name}",
    )
    for note in table.notes:
        st.caption(plain(note))
    return mapping


def columns_missing(mapping: Mapping[str, str | None]) -> list[str]:
    """Return the headings of the values that no column was chosen for."""
    return [feature_heading(feature) for feature in FEATURES if not mapping.get(feature.name)]
