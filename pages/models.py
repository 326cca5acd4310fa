"""Models: every version, which one is in use and why, how it compares, where it comes from, and what is decided."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import VERSION_STATUS_NAMES, plain
from app.components.guard import acting
from app.components.model_card_view import show_groups, show_institutions, show_intervals
from app.components.model_comparison_view import show_comparison
from app.components.model_decisions import Situation, show_decisions, show_notice
from app.components.model_files_view import show_export, show_import, show_imported
from app.components.model_history_view import show_history, show_lineage, show_proposals
from app.components.model_shadow_view import show_shadow
from app.components.model_view import show_figures
from app.components.paging import current_cursor, show_pager
from app.components.tables import show_versions
from app.databases import central_session
from app.permissions import Permission
from app.services import model_comparison, models, registry_history, shadow
from app.services.model_card import model_card
from db.states import VersionStatus

VERSIONS_PER_PAGE = 20
CARD_WIDTH = 820  # pixels
_COLOURS: dict[str, Literal["green", "yellow"]] = {
    VersionStatus.CHAMPION: "green",
    VersionStatus.CANDIDATE: "yellow",
}


@acting(Permission.MODELS_READ)
def show_version(actor: Actor, name: str, in_use: str | None) -> None:
    """Show one version: status, what can be decided, figures, comparison, groups, history, lineage."""
    with central_session() as central:
        card = model_card(central=central, actor=actor, version=name)
        row = models.get_version(central=central, actor=actor, version=name)
        compared = model_comparison.comparison(central=central, actor=actor, version=name)
        decided = registry_history.decisions(central=central, actor=actor, version=name)
        proposed = registry_history.open_proposals(central=central, actor=actor, version=name)
        targets = registry_history.rollback_targets(central=central, actor=actor)
        reports = shadow.shadow_reports(central=central, actor=actor, version=name)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Version {plain(card.version)}", anchor=False, width="content")
        st.badge(
            VERSION_STATUS_NAMES[card.status],
            icon=":material/verified:" if card.status == VersionStatus.CHAMPION else None,
            color=_COLOURS.get(card.status, "gray"),
        )
        if row.is_shadow:
            st.badge("Shadow", icon=":material/visibility:", color="blue")
        st.space("stretch")
        show_export(name)
    show_proposals(proposed)
    show_decisions(actor, Situation(row, in_use, tuple(targets)))
    if card.rmse is not None:
        show_figures(r2=card.r2, mae=card.mae, rmse=card.rmse, num_examples=card.num_examples or None)
    if card.decision:
        st.markdown(f"**What the rule says.** {plain(card.decision)}")
    with st.container(width=CARD_WIDTH):
        st.markdown(
            "**Beside the version in use before**" if name == in_use else "**Beside the version in use**"
        )
        show_comparison(compared, in_use=in_use if in_use != name else None)
        if card.institutions:
            st.markdown("**At each hospital**, on its own held-out patients")
            show_institutions(card)
        with st.expander("How good it is for whom, by group of patients"):
            show_groups(card.groups)
        with st.expander("How sure its predictions are, the 90 % intervals"):
            show_intervals(card.intervals)
        show_shadow(reports, is_shadow=row.is_shadow)
        if decided:
            st.markdown("**What was decided**")
            show_history(decided, name="decided", alt="Decisions on this version, newest first")
    show_lineage(card, row.lineage)


@acting(Permission.MODELS_READ)
def choose_version(actor: Actor, name: str) -> None:
    """Write the version to show into the address, which can be kept and sent to others."""
    st.query_params["version"] = name


@acting(Permission.MODELS_READ)
def show_waiting(actor: Actor, chosen: str | None) -> None:
    """Show the proposals of other versions than the one shown, for they wait for somebody."""
    with central_session() as central:
        waiting = registry_history.open_proposals(central=central, actor=actor)
    show_proposals([one for one in waiting if one.version != chosen])


@acting(Permission.MODELS_READ)
def show_champions(actor: Actor) -> None:
    """Show which version was in use when, and why."""
    with central_session() as central:
        changes = registry_history.decisions(central=central, actor=actor)
    if changes:
        st.header("Which version was in use when", anchor=False)
        show_history(changes, name="champions", alt="Changes of the version in use, newest first")


@acting(Permission.MODELS_READ)
def show_page(actor: Actor) -> None:
    """Lay out the chosen version, then all of them, then the history of the one in use."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Models", anchor=False, width="content")
        st.space("stretch")
        if actor.may(Permission.MODELS_IMPORT):
            show_import()
    show_notice()
    show_imported()
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
    show_waiting(chosen)
    show_version(chosen, status.version)
    st.header("All versions", anchor=False)
    st.caption("Select a version to see it above.")
    show_versions(listed.items, key=f"models_table_{chosen}", choose=choose_version)
    show_pager("models", next_cursor=listed.next_cursor)
    show_champions()


show_page()
