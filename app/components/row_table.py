"""A table whose rows open, whose headings may order it, and whose rows are cards on a telephone.

Streamlit's own is drawn on a canvas, where a row is opened by a small box before it, a telephone shows two columns,
and a click on a heading orders only the page that is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import streamlit as st

from app.settings import PROJECT_ROOT

_ASSETS = PROJECT_ROOT / "app" / "components" / "assets"
_TABLE = st.components.v2.component(
    "fedcost_row_table",
    html='<div class="rows"></div>',
    css=(_ASSETS / "row_table.css").read_text(),
    js=(_ASSETS / "row_table.js").read_text(),
)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    unit
        Stands below the label; empty where there is none.
    figure
        Whether digits stand below each other.
    sort
        What the table is ordered by when this heading is chosen; None: it cannot be.
    """

    label: str
    unit: str = ""
    figure: bool = False
    sort: str | None = None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes
    ----------
    id
        What is returned when it is opened.
    href
        Where its first cell leads in a new tab, from the page's own address.
    cells
        One text a column, shown as it is.
    unknown
        Columns whose value is not known, by their place.
    lines
        Of some columns, by their place: values that are drawn as a small line before the text, which says the last.
    """

    id: str
    href: str
    cells: list[str]
    unknown: list[int]
    lines: dict[int, list[float]] = field(default_factory=dict)


def show_row_table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    key: str,
    caption: str,
    sort: str = "",
    descending: bool = False,
    order_by: Callable[[str], None] = lambda chosen: None,
    page: str = "",
) -> str | None:
    """Show a table.

    Parameters
    ----------
    caption
        For those who do not see it.
    sort, descending
        The `Column.sort` that it is ordered by now, and in which direction.
    order_by
        Called, before the page is drawn anew, with the `Column.sort` of the heading that the reader chose.
    page
        Which page of a list this is; when another one comes its beginning is brought into view.

    Returns
    -------
    str or None
        Id of the row that the reader just opened.
    """

    def ordered() -> None:
        wanted = st.session_state[key].sort
        if wanted in {column.sort for column in columns if column.sort}:
            order_by(wanted)

    chosen = _TABLE(
        key=key,
        data={
            "caption": caption,
            "columns": [asdict(column) for column in columns],
            "sorted": {"key": sort, "descending": descending},
            "page": page,
            "rows": [asdict(row) for row in rows],
        },
        on_open_change=lambda: None,
        on_sort_change=ordered,
    )
    opened = str(chosen.open)
    return opened if opened in {row.id for row in rows} else None
