"""Which column of a file is which field: the guess with values from the column, and the reader's choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from app.components.formats import feature_heading, plain
from app.services.import_mapping import ImportField, unclear_columns
from app.services.tabular import Table
from fl.features import FEATURE_BY_NAME, TARGET_NAME

SAMPLES = 3
LONGEST_SAMPLE = 24
ROWS_SAMPLED = 200
_COLUMNS_ABREAST = 3
_NO_COLUMN = ""  # the choice of none


def choose_columns(
    table: Table,
    fields: Sequence[ImportField],
    present: Mapping[str, str | None],
    *,
    key_of: Callable[[str], str],
) -> dict[str, str | None]:
    """Draw a choice for each field.

    Parameters
    ----------
    present
        Field -> heading that is chosen to begin with; None: not in the file.
    key_of
        Returns the key of a field's choice.

    Returns
    -------
    dict
        Field -> heading as chosen by now, None where there is none.
    """
    header = [heading for heading in table.header if heading]
    unclear = unclear_columns(table.header)
    chosen: dict[str, str | None] = {}
    for start in range(0, len(fields), _COLUMNS_ABREAST):
        row = fields[start : start + _COLUMNS_ABREAST]
        for field, place in zip(row, st.columns(_COLUMNS_ABREAST), strict=False):
            with place:
                heading = _choose_column(field, header, present.get(field.name), key_of(field.name))
                chosen[field.name] = heading
                if heading is not None:
                    st.caption(_samples(table, heading))
                elif field.name in unclear:
                    st.caption(f"May be {plain(' or '.join(unclear[field.name]))}: please choose.")
                elif field.required:
                    st.caption(f"Needed: {plain(field.expectation)}")
                else:
                    st.caption(plain(field.expectation))
    return chosen


def field_label(field: ImportField) -> str:
    """Return what a field is called, with its unit."""
    feature = FEATURE_BY_NAME.get(field.name)
    if feature is not None:
        return feature_heading(feature)
    return f"{field.label} (USD a year)" if field.name == TARGET_NAME else field.label


def _choose_column(field: ImportField, header: list[str], present: str | None, key: str) -> str | None:
    if key not in st.session_state:
        st.session_state[key] = present or _NO_COLUMN
    chosen = st.selectbox(
        field_label(field),
        [_NO_COLUMN, *header],
        format_func=lambda heading: heading or "– not in the file –",
        key=key,
    )
    return chosen or None


def _samples(table: Table, heading: str) -> str:
    """Return the first different values of a column."""
    place = table.header.index(heading)
    values = dict.fromkeys(
        cells[place] for _, cells in table.rows[:ROWS_SAMPLED] if place < len(cells) and cells[place]
    )
    shown = [
        value if len(value) <= LONGEST_SAMPLE else f"{value[:LONGEST_SAMPLE]}…"
        for value in [*values][:SAMPLES]
    ]
    return "For example " + plain(" · ".join(shown)) if shown else "The column is empty"
