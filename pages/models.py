"""Models: every version that training made, which one is in use, how good it is and where it comes from."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import VERSION_STATUS_NAMES, plain, when
from app.components.guard import acting
from app.components.model_view import show_figures, show_hospitals
from app.components.navigation import page
from app.components.paging import current_cursor, show_pager
from app.components.tables import show_versions
from app.databases import central_session
from app.permissions import Permission
from app.services import models, monitoring
from db.central import ModelVersion, VersionStatus

VERSIONS_PER_PAGE = 20
_COLOURS: dict[str, Literal["green", "yellow"]] = {
    VersionStatus.CHAMPION: "green",
    VersionStatus.CANDIDATE: "yellow",
}


@acting(Permission.MODELS_READ)
def show_version(actor: Actor, name: str) -> None:
    """Show one version: status, figures, every hospital, lineage."""
    with central_session() as central:
        version = models.get_version(central=central, actor=actor, version=name)
        federation = monitoring.federation(central=central)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(f"Version {plain(version.version)}", anchor=False, width="content")
        st.badge(
            VERSION_STATUS_NAMES[version.status],
            icon=":material/verified:" if version.status == VersionStatus.CHAMPION else None,
            color=_COLOURS.get(version.status, "gray"),
        )
    show_figures(r2=version.r2, mae=version.mae, rmse=version.rmse, num_examples=version.num_examples)
    decision = version.metrics.get("decision")
    if decision:
        st.markdown(f"**Decision.** {plain(str(decision))}")
    st.markdown("**At each hospital**, on its own held-out patients")
    show_hospitals(version.metrics, {site.code: site.name for site in federation.sites})
    show_lineage(version)


def show_lineage(version: ModelVersion) -> None:
    """Say which Run and Round made a version, and let the reader go there."""
    st.markdown(
        f"**Where it comes from.** Weights of round {version.training_round} of run {version.run_id}, the best "
        f"round on held-out patients; trained on {plain(when(version.trained_at))}."
    )
    st.caption(f"SHA-256 of the weights: `{version.weights_sha256}`")
    st.page_link(
        page("training"),
        label=f"See run {version.run_id} and who took part",
        icon=":material/monitoring:",
        query_params={"run": str(version.run_id)},
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
    st.subheader("All versions", anchor=False)
    st.caption("Select a version to see it above.")
    show_versions(listed.items, key=f"models_table_{chosen}", choose=choose_version)
    show_pager("models", next_cursor=listed.next_cursor, page_size=VERSIONS_PER_PAGE)


show_page()
