"""A version beside the one in use on the same held-out patients: tables, and what changes for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.components.formats import NOT_KNOWN, count, number, plain, signed_usd, usd, when
from app.services.model_comparison import Comparison, Pair


def show_comparison(comparison: Comparison | None, *, in_use: str | None) -> None:
    """Show how a version compares; says so if it was compared with another than the one in use now."""
    if comparison is None:
        st.markdown(
            "It was not compared with another version: none was in use then, or it was not evaluated yet."
        )
        return
    by = f" by run {comparison.run_id}" if comparison.run_id else ""
    st.caption(
        f"Both versions on the same held-out patients, measured{by} on {plain(when(comparison.compared_at))}."
    )
    if in_use and comparison.champion != in_use:
        st.info(
            f"It was compared with {plain(comparison.champion)}, which was in use then. Now {plain(in_use)} is; "
            "evaluating again compares it with that.",
            icon=":material/info:",
        )
    rows = [*([comparison.overall] if comparison.overall else []), *comparison.institutions]
    _table("compared", rows, comparison, first="Patients of", alt="Both versions overall and by hospital")
    with st.expander("By group of patients"):
        if not comparison.groups:
            st.markdown("Not known: these versions were compared before that was told apart by group.")
        for number_of, (feature, pairs) in enumerate(comparison.groups.items()):
            _table(
                f"compared_{number_of}",
                pairs,
                comparison,
                first=feature,
                alt=f"Both versions by {feature.lower()}",
            )


def _table(name: str, pairs: Sequence[Pair], comparison: Comparison, *, first: str, alt: str) -> None:
    if not pairs:
        return
    theirs = plain(comparison.champion)
    rows: list[dict[str, Any]] = [
        {
            plain(first): plain(pair.label.removeprefix(f"{first}: ")),
            "Held-out patients": count(pair.num_examples) if pair.num_examples else NOT_KNOWN,
            "MAE (USD)": plain(usd(pair.mae)),
            f"of {theirs}": plain(usd(pair.champion_mae)),
            "Change": plain(signed_usd(_difference(pair.mae, pair.champion_mae))),
            "R²": number(pair.r2),
            f"R² of {theirs}": number(pair.champion_r2),
        }
        for pair in pairs
    ]
    with st.container(key=f"figures_{name}"):
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True, alt=alt)


def _difference(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs
