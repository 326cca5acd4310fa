"""The shadow beside the version in use: errors on patients whose cost became known, and whether they suffice."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.formats import NOT_KNOWN, count, plain, signed_usd, usd
from app.services.shadow import ShadowReport, Verdict

EXPLAINED = (
    "For each patient whose cost became known after both versions had predicted it, the shadow's error less that of "
    "the version in use: below zero, the shadow was closer. The interval holds the true mean of these differences with "
    "95 % at all times together, so you may look as often as you like and stop as soon as zero lies outside. (An "
    "interval for a single look would mislead after many. Waudby-Smith and others 2024, *Annals of Statistics* 52.)"
)


def show_shadow(reports: Sequence[ShadowReport], *, is_shadow: bool) -> None:
    """Show how a version did or does as the shadow; nothing of one that never was."""
    if not reports:
        return
    st.header("As the shadow" if is_shadow else "When it was the shadow", anchor=False)
    for place, report in enumerate(reports):
        st.markdown(f"**Beside version {plain(report.champion)}**")
        show = st.info if report.verdict is Verdict.GO_ON else st.success
        show(plain(report.sentence), icon=":material/visibility:")
        if report.overall is None:
            continue
        rows = [
            {
                "Patients of": plain(one.institution or "All hospitals"),
                "Patients": count(one.num_examples),
                "MAE in use (USD)": plain(usd(one.champion_error)),
                "MAE shadow (USD)": plain(usd(one.shadow_error)),
                "Difference (USD)": plain(signed_usd(one.difference)),
                "95 % at all times": plain(f"{signed_usd(one.low)} to {signed_usd(one.high)}")
                if one.low is not None
                else NOT_KNOWN,
            }
            for one in (report.overall, *report.institutions)
        ]
        with st.container(key=f"figures_shadow_{place}"):
            st.table(pd.DataFrame(rows), border="horizontal", hide_index=True, alt="Errors of both versions")
    if any(report.overall for report in reports):
        st.caption(EXPLAINED)
        st.caption(
            "A hospital tells of whole tens of patients only, at the end of a training or an evaluation."
        )
