"""What was decided about versions and why, what is proposed, and where a version comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone
from app.components.formats import count, plain, when
from app.components.navigation import page
from app.services.model_card import ModelCard
from app.services.registry_history import Decision
from db.states import PromotionAction

ACTION_NAMES: dict[PromotionAction, str] = {
    PromotionAction.PROMOTE: "Put into use",
    PromotionAction.REJECT: "Rejected",
    PromotionAction.ROLLBACK: "Rolled back to",
    PromotionAction.PROPOSE: "Proposed",
    PromotionAction.SHADOW_START: "Started as shadow",
    PromotionAction.SHADOW_STOP: "Stopped as shadow",
}
BY_RULE = "the rule"
_LINEAGE_NAMES = {
    "strategy": "Strategy",
    "rounds": "Rounds",
    "chosen_round": "Round chosen",
    "seed": "Seed",
    "start_version": "Started from version",
    "resumed_from": "Goes on with run",
    "code_sha256": "SHA-256 of the code",
    "file_name": "File",
    "file_sha256": "SHA-256 of the file",
    "imported_by": "Imported by",
    "scaler_of": "Scaler of version",
}


def show_proposals(proposals: Sequence[Decision]) -> None:
    """Show what was proposed and waits for an administrator."""
    for proposal in proposals:
        st.warning(
            f"**{plain(proposal.worker or BY_RULE)}** proposes to promote version {plain(proposal.version)} "
            f"({plain(when(proposal.at))}): {plain(proposal.reason)}",
            icon=":material/campaign:",
        )


def show_history(decisions: Sequence[Decision], *, name: str, alt: str) -> None:
    """Show decisions with who and why, the newest first."""
    zone = browser_zone()
    rows = [
        {
            "When": plain(when(one.at, zone)),
            "What": ACTION_NAMES[one.action] + (f", before: {plain(one.previous)}" if one.previous else ""),
            "Version": plain(one.version),
            "By": plain(one.worker or BY_RULE),
            "Reason": plain(one.reason),
        }
        for one in decisions
    ]
    if rows:
        with st.container(key=f"words_{name}"):
            st.table(pd.DataFrame(rows), border="horizontal", hide_index=True, alt=alt)


def show_lineage(card: ModelCard, lineage: Mapping[str, Any]) -> None:
    """Say where a version comes from, and lead there."""
    if card.run_id is None:
        st.markdown(
            f"**Where it comes from.** Imported from a file on {plain(when(card.trained_at))}; how and on what it was "
            "trained is not known here."
        )
    else:
        st.markdown(
            f"**Where it comes from.** Weights of round {card.training_round} of run {card.run_id}, the best "
            f"round on held-out patients; trained on {plain(when(card.trained_at))}."
        )
    told = [
        {"What": label, "Value": plain(str(lineage[key]))}
        for key, label in _LINEAGE_NAMES.items()
        if lineage.get(key) not in (None, "")
    ]
    sites: Mapping[str, int] = lineage.get("sites") or {}
    told += [{"What": f"Rows of {plain(code)}", "Value": count(rows)} for code, rows in sorted(sites.items())]
    for title, key in (("Settings", "settings"), ("Libraries", "libraries")):
        values: Mapping[str, Any] = lineage.get(key) or {}
        if values:
            told.append(
                {
                    "What": title,
                    "Value": plain(", ".join(f"{name} {values[name]}" for name in sorted(values))),
                }
            )
    if told:
        with st.expander("How it was made, to the last setting"), st.container(key="words_lineage"):
            st.table(pd.DataFrame(told), border="horizontal", hide_index=True, alt="Lineage of the version")
    st.caption(f"SHA-256 of the weights: `{card.weights_sha256}`")
    with st.container(horizontal=True):
        if card.run_id is not None:
            st.page_link(
                page("training"),
                label=f"See run {card.run_id} and who took part",
                icon=":material/monitoring:",
                query_params={"run": str(card.run_id)},
            )
        st.page_link(
            page("model_card"),
            label=f"Model card of version {plain(card.version)}",
            icon=":material/description:",
            query_params={"version": card.version},
        )
