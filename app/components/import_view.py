"""The steps of an import as a person reads them: what a file must look like, its columns, and what was found."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.browser import is_telephone
from app.components.formats import COST_NOT_KNOWN, count, feature_heading, feature_value, plain
from app.components.import_state import FileInWork, column_key
from app.components.tables import ROW_HEIGHT
from app.services.import_mapping import FIELDS, ImportField, unclear_columns
from app.services.imports import ImportCheck, ImportComparison, ImportResult, PatientRow, RowProblem
from app.services.tabular import write_csv, write_excel
from fl.features import FEATURE_BY_NAME, FEATURES, TARGET_NAME

PROBLEMS_SHOWN = 1000
PREVIEWED = 10  # rows
SAMPLES = 3
LONGEST_SAMPLE = 24
ROWS_NAMED = 10
# A telephone shows a problem whole, on a few lines; pixels.
LINE_HEIGHT, PROBLEM_LINES = 22, 4
NARROW_ROW, NARROW_COLUMN, NARROW_PROBLEM = 50, 85, 215
_COLUMNS_ABREAST = 3
_NO_COLUMN = ""  # the choice of none
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
            f"- **{_named(field)}**: {plain(field.expectation)}" for field in FIELDS if not field.required
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


def choose_columns(file: FileInWork) -> dict[str, str | None]:
    """Show which column is taken for which field, with values from it; return the person's choice."""
    header = [heading for heading in file.table.header if heading]
    unclear = unclear_columns(file.table.header)
    chosen: dict[str, str | None] = {}
    for start in range(0, len(FIELDS), _COLUMNS_ABREAST):
        for field, place in zip(
            FIELDS[start : start + _COLUMNS_ABREAST], st.columns(_COLUMNS_ABREAST), strict=False
        ):
            with place:
                heading = _choose_column(field, header, file.columns[field.name])
                chosen[field.name] = heading
                if heading is not None:
                    st.caption(_samples(file, heading))
                elif field.name in unclear:
                    st.caption(f"May be {plain(' or '.join(unclear[field.name]))}: please choose.")
                elif field.required:
                    st.caption(f"Needed: {plain(field.expectation)}")
                else:
                    st.caption(plain(field.expectation))
    return chosen


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


def show_row_problems(check: ImportCheck, *, rows: int) -> None:
    """List everything that is wrong, by row and column, with a count for each column; offer it as a file."""
    wrong = len({problem.row for problem in check.problems})
    st.error(
        f"Nothing can be imported yet: {count(len(check.problems), 'problem')} in "
        f"{wrong:,} of {count(rows, 'row')}. Correct the file and choose it again, or choose other columns above.",
        icon=":material/error:",
    )
    by_column: dict[str, int] = {}
    for problem in check.problems:
        where = problem.column or "whole row"
        by_column[where] = by_column.get(where, 0) + 1
    if len(by_column) > 1:
        listed = sorted(by_column.items(), key=lambda item: -item[1])[:ROWS_NAMED]
        st.caption(" · ".join(f"{plain(where)}: {count(problems)}" for where, problems in listed))
    shown = check.problems[:PROBLEMS_SHOWN]
    narrow = is_telephone()
    st.dataframe(
        pd.DataFrame(_problem_rows(shown), columns=["Row", "Column", "Problem"]),
        hide_index=True,
        row_height=PROBLEM_LINES * LINE_HEIGHT if narrow else ROW_HEIGHT,
        key="import_problems",
        column_config={
            "Row": st.column_config.NumberColumn(width=NARROW_ROW if narrow else "small", format="%d"),
            "Column": st.column_config.TextColumn(width=NARROW_COLUMN if narrow else "small"),
            "Problem": st.column_config.TextColumn(width=NARROW_PROBLEM if narrow else "large"),
        },
        alt="Problems in the file, by row and column",
    )
    if len(shown) < len(check.problems):
        st.caption(f"The first {len(shown):,} of {len(check.problems):,} problems; all are in the download.")
    st.download_button(
        "Download all problems (CSV)",
        data=lambda: write_csv(("Row", "Column", "Problem"), _problem_rows(check.problems)),
        file_name="problems.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="import_problems_download",
    )


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


def _choose_column(field: ImportField, header: list[str], present: str | None) -> str | None:
    key = column_key(field.name)
    if key not in st.session_state:
        st.session_state[key] = present or _NO_COLUMN
    chosen = st.selectbox(
        _named(field),
        [_NO_COLUMN, *header],
        format_func=lambda heading: heading or "– not in the file –",
        key=key,
    )
    return chosen or None


def _named(field: ImportField) -> str:
    feature = FEATURE_BY_NAME.get(field.name)
    if feature is not None:
        return feature_heading(feature)
    return f"{field.label} (USD a year)" if field.name == TARGET_NAME else field.label


def _samples(file: FileInWork, heading: str) -> str:
    """Return the first different values of a column."""
    place = file.table.header.index(heading)
    values = dict.fromkeys(
        cells[place] for _, cells in file.table.rows[:200] if place < len(cells) and cells[place]
    )
    shown = [
        value if len(value) <= LONGEST_SAMPLE else f"{value[:LONGEST_SAMPLE]}…"
        for value in [*values][:SAMPLES]
    ]
    return "For example " + plain(" · ".join(shown)) if shown else "The column is empty"


def _problem_rows(problems: Sequence[RowProblem]) -> list[tuple[int, str, str]]:
    return [(problem.row, problem.column or "", problem.message) for problem in problems]
