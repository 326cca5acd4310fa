"""Figures of an overview in cards: what each is, the number, what it means, and where it leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import streamlit as st

from app.components.formats import plain
from app.components.navigation import page


@dataclass(frozen=True)
class Figure:
    """One figure; `leads_to` is the name of a page, opened with `query`, and `link` what its link says.

    A figure that is told in full on the same page leads nowhere. Texts are plain: a dollar sign or an asterisk in
    them is shown as it is.
    """

    label: str
    value: str
    note: str
    leads_to: str | None = None
    link: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


def show_cards(figures: Sequence[Figure], *, key: str, columns: int = 3) -> None:
    """Show figures in cards of one height, `columns` beside each other, on a telephone below each other."""
    for first in range(0, len(figures), columns):
        row = figures[first : first + columns]
        for place, (column, figure) in enumerate(zip(st.columns(columns), row, strict=False), first):
            with column, st.container(border=True, height="stretch", gap="xsmall", key=f"{key}_{place}"):
                st.metric(plain(figure.label), plain(figure.value))
                st.markdown(f":small[{plain(figure.note)}]")
                st.space("stretch")
                if figure.leads_to:
                    st.page_link(
                        page(figure.leads_to),
                        label=figure.link,
                        icon=":material/arrow_forward:",
                        icon_position="right",
                        query_params=dict(figure.query),
                    )
