"""Model card: what a model is, who trained it, how good it is for whom, and what it must not be used for."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.formats import VERSION_STATUS_NAMES, count, plain, when
from app.components.guard import acting
from app.components.model_card_view import (
    GENERATED,
    show_groups,
    show_institutions,
    show_intervals,
    show_must_not,
    show_what_it_is,
)
from app.components.model_view import show_figures
from app.components.navigation import page
from app.databases import central_session
from app.errors import NoModelYet
from app.permissions import Permission
from app.services.model_card import ModelCard, model_card
from app.settings import get_settings
from db.states import VersionStatus

CARD_WIDTH = 820  # pixels
# Tables of groups stand below each other, so their columns do too; a telephone has no room to spare. On paper there is
# no menu, and the page is as long as what it says.
STYLE = """<style>
@media (min-width:641px) { [class*=st-key-figures_groups] table{table-layout:fixed!important;width:100%!important} }
@media (max-width:640px) { [class*=st-key-figures] :is(th,td){padding-inline:.2rem!important} }
.st-key-figures_intervals td{white-space:nowrap}
@media print {
[data-testid=stSidebar],[data-testid=stHeader],.st-key-model_card_links{display:none!important}
.stApp,[data-testid=stAppViewContainer],[data-testid=stMain]{position:static!important;overflow:visible!important;
  height:auto!important}
[data-testid=stMainBlockContainer]{padding:0!important}
tr{break-inside:avoid} h2,h3{break-after:avoid}
}</style>"""


def show_version(card: ModelCard) -> None:
    """Show everything that is known of one version."""
    show_making(card)
    if card.status != VersionStatus.CHAMPION:
        st.info("This version is not in use; another one makes the predictions.", icon=":material/info:")
    st.header("How good it is", anchor="how-good-it-is")
    show_figures(r2=card.r2, mae=card.mae, rmse=card.rmse, num_examples=card.num_examples or None)
    st.header("Who trained it, and how good it is there", anchor="hospitals")
    show_institutions(card)
    st.header("How good it is for whom", anchor="groups")
    show_groups(card.groups)
    st.header("How sure a prediction is", anchor="intervals")
    show_intervals(card.intervals)


def show_making(card: ModelCard) -> None:
    """Say in one sentence how the version was made; of an imported one only that is known which the file says."""
    words = f"**Version {plain(card.version)}** ({VERSION_STATUS_NAMES[card.status].lower()}), "
    if card.run_id is None:
        st.markdown(
            f"{words}imported from a file on {plain(when(card.trained_at))}; on whom it was trained is not known here."
        )
        return
    trained_by = sum(part.rows_trained is not None for part in card.institutions) or len(card.institutions)
    st.markdown(
        f"{words}trained on {plain(when(card.trained_at))} by {count(trained_by, 'hospital')} on "
        f"{count(card.num_examples, 'patient')} (round {card.training_round} of run {card.run_id})."
    )


def show_origin(card: ModelCard) -> None:
    """Say how the version can be told from any other, and offer the address of its card."""
    st.markdown("Every saved prediction names the version that made it, so it can be traced to its training.")
    st.caption(f"SHA-256 of the weights: `{card.weights_sha256}`")
    with st.container(key="model_card_links"):
        st.page_link(
            page("model_card"),
            label=f"Address of the card of version {plain(card.version)}, to keep or send",
            icon=":material/link:",
            query_params={"version": card.version},
        )
        st.caption("Your browser's print command prints the card or keeps it as a PDF.")


@acting(Permission.MODEL_CARD)
def show_page(actor: Actor) -> None:
    """Lay out the card of the version in the address, or of the one in use."""
    st.html(STYLE)
    st.title("Model card", anchor=False)
    with st.container(width=CARD_WIDTH):
        if get_settings().demo_mode:
            st.warning(GENERATED, icon=":material/science:")
        with central_session() as central:
            card: ModelCard | NoModelYet
            try:
                card = model_card(central=central, actor=actor, version=st.query_params.get("version"))
            except NoModelYet as none_yet:
                card = none_yet
        st.header("What it is", anchor="what-it-is")
        show_what_it_is()
        if isinstance(card, NoModelYet):
            show_empty("No model exists yet", plain(str(card)), icon="model_training")
        else:
            show_version(card)
        st.header("What it must not be used for", anchor="must-not")
        show_must_not()
        if not isinstance(card, NoModelYet):
            show_origin(card)


show_page()
