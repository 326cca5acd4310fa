"""All that is wrong in a file, by row and column, and the same as a file to correct it by."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.browser import is_telephone
from app.components.formats import count, plain
from app.components.tables import ROW_HEIGHT
from app.services.import_check import RowProblem
from app.services.tabular import write_csv

PROBLEMS_SHOWN = 1000
COLUMNS_NAMED = 10
_HEADINGS = ("Row", "Column", "Problem")
# A telephone shows a problem whole, on a few lines; pixels.
LINE_HEIGHT, PROBLEM_LINES = 22, 4
NARROW_ROW, NARROW_COLUMN, NARROW_PROBLEM = 50, 85, 215


def show_row_problems(problems: Sequence[RowProblem], *, rows: int, outcome: str, key: str) -> None:
    """List every problem, with a count for each column.

    Parameters
    ----------
    rows
        How many rows the file has.
    outcome
        What did not happen, as the beginning of a sentence: "Nothing was predicted".
    """
    wrong = len({problem.row for problem in problems})
    st.error(
        f"{outcome}: {count(len(problems), 'problem')} in {wrong:,} of {count(rows, 'row')}. Correct the file and "
        "choose it again, or choose other columns above.",
        icon=":material/error:",
    )
    by_column: dict[str, int] = {}
    for problem in problems:
        where = problem.column or "whole row"
        by_column[where] = by_column.get(where, 0) + 1
    if len(by_column) > 1:
        listed = sorted(by_column.items(), key=lambda item: -item[1])[:COLUMNS_NAMED]
        st.caption(" · ".join(f"{plain(where)}: {count(number)}" for where, number in listed))
    shown = problems[:PROBLEMS_SHOWN]
    narrow = is_telephone()
    st.dataframe(
        pd.DataFrame(_as_rows(shown), columns=list(_HEADINGS)),
        hide_index=True,
        row_height=PROBLEM_LINES * LINE_HEIGHT if narrow else ROW_HEIGHT,
        key=key,
        column_config={
            "Row": st.column_config.NumberColumn(width=NARROW_ROW if narrow else "small", format="%d"),
            "Column": st.column_config.TextColumn(width=NARROW_COLUMN if narrow else "small"),
            "Problem": st.column_config.TextColumn(width=NARROW_PROBLEM if narrow else "large"),
        },
        alt="Problems in the file, by row and column",
    )
    if len(shown) < len(problems):
        st.caption(f"The first {len(shown):,} of {len(problems):,} problems; all are in the download.")
    st.download_button(
        "Download all problems (CSV)",
        data=lambda: write_csv(_HEADINGS, _as_rows(problems)),
        file_name="problems.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=f"{key}_download",
    )


def _as_rows(problems: Sequence[RowProblem]) -> list[tuple[int, str, str]]:
    return [(problem.row, problem.column or "", problem.message) for problem in problems]
