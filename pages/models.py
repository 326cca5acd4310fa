"""Models: every version that training made, which one is in use, how good it is and where it comes from."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import VERSION_STATUS_NAMES, plain, when
from app.components.guard import acting
from app.components.model_card_view import show_groups, show_institutions, show_intervals
from app.components.model_view import show_figures
from app.components.navigation import page
from app.components.paging import current_cursor, show_pager
from app.components.tables import show_versions
from app.databases import central_session
from app.permissions import Permission
from app.services import models
from app.services.model_card import ModelCard, model_card
from db.states import VersionStatus

VERSIONS_PER_PAGE = 20
CARD_WIDTH = 820  # pixels
_COLOURS: dict[str, Literal["green", "yellow"]] = {
    VersionStatus.CHAMPION: "green",
    VersionStatus.CANDIDATE: "yellow",
}


@acting(Permission.MODELS_READ)
def show_version(actor: Actor, name: str) -> None:
    """Show one version: status, figures, every hospital, groups, intervals, lineage."""
    with central_session() as central:
        card = model_card(central=central, actor=actor, version=name)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Version {plain(card.version)}", anchor=False, width="content")
        st.badge(
            VERSION_STATUS_NAMES[card.status],
            icon=":material/verified:" if card.status == VersionStatus.CHAMPION else None,
            color=_COLOURS.get(card.status, "gray"),
        )
    show_figures(r2=card.r2, mae=card.mae, rmse=card.rmse, num_examples=card.num_examples)
    if card.decision:
        st.markdown(f"**Decision.** {plain(card.decision)}")
    with st.container(width=CARD_WIDTH):
        st.markdown("**At each hospital**, on its own held-out patients")
        show_institutions(card)
        with st.expander("How good it is for whom, by group of patients"):
            show_groups(card.groups)
        with st.expander("How sure its predictions are, the 90 % intervals"):
            show_intervals(card.intervals)
    show_lineage(card)


def show_lineage(card: ModelCard) -> None:
    """Say which Run and Round made a version, and let the reader go there."""
    st.markdown(
        f"**Where it comes from.** Weights of round {card.training_round} of run {card.run_id}, the best "
        f"round on held-out patients; trained on {plain(when(card.trained_at))}."
    )
    st.caption(f"SHA-256 of the weights: `{card.weights_sha256}`")
    with st.container(horizontal=True):
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


@acting(Permission.MODELS_READ)
def choose_version(actor: Actor, name: str) -> None:
    """Write the version to show into the address, which can be kept and sent to others."""
    st.query_params["version"] = name


@acting(Permission.MODELS_READ)
def show_page(actor: Actor) -> None:
    """Lay out the chosen version, then all of them."""
    st.title("Models", anchor=False)
    with central_session() as central:
        status = models.model_status(central=central, actor=actor)
        listed = models.list_versions(
            central=central, actor=actor, cursor=current_cursor("models"), limit=VERSIONS_PER_PAGE
        )
    if not listed.items:
        show_empty(
            "No model exists yet",
            "The first training that completes makes version one. It starts on the Training page.",
            icon="deployed_code",
        )
        return
    chosen = st.query_params.get("version") or status.version or listed.items[0].version
    show_version(chosen)
    st.header("All versions", anchor=False)
    st.caption("Select a version to see it above.")
    show_versions(listed.items, key=f"models_table_{chosen}", choose=choose_version)
    show_pager("models", next_cursor=listed.next_cursor)


show_page()
