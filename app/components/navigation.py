"""Which pages there are and which permission opens each; the menu and links between pages follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.actor import Actor
from app.permissions import Permission
from app.settings import PROJECT_ROOT


@dataclass(frozen=True)
class PageEntry:
    """One page: its file and path in the address, what the menu calls it, and the permission that opens it.

    A page that is not `listed` is reached from another page and does not stand in the menu.
    """

    name: str
    title: str
    icon: str
    permission: Permission
    listed: bool = True


# In menu order; the first page that a role may open is the one that it starts on.
PAGES: tuple[PageEntry, ...] = (
    PageEntry("overview", "Overview", ":material/dashboard:", Permission.MODEL_CARD),
    PageEntry("patients", "Patients", ":material/groups:", Permission.PATIENTS_READ),
    PageEntry("patient", "Patient", ":material/person:", Permission.PATIENTS_READ, listed=False),
    PageEntry("patient_import", "Import", ":material/upload_file:", Permission.PATIENTS_IMPORT),
    PageEntry("predict", "Predict", ":material/calculate:", Permission.PREDICT),
    PageEntry("batch", "Batch", ":material/table_rows:", Permission.PREDICT_BATCH),
    PageEntry("history", "History", ":material/history:", Permission.PREDICT),
    PageEntry("training", "Training", ":material/monitoring:", Permission.TRAINING_READ),
    PageEntry("models", "Models", ":material/deployed_code:", Permission.MODELS_READ),
    PageEntry("model_card", "Model card", ":material/description:", Permission.MODEL_CARD),
)
_BY_NAME = {entry.name: entry for entry in PAGES}


def pages_for(actor: Actor) -> list[PageEntry]:
    """Return the pages that this person may open, in menu order."""
    return [entry for entry in PAGES if actor.may(entry.permission)]


def page(name: str) -> st.Page:
    """Return the Streamlit page called `name`, for the menu or as the target of a link or a switch."""
    entry = _BY_NAME[name]
    return st.Page(
        PROJECT_ROOT / "pages" / f"{name}.py",
        title=entry.title,
        icon=entry.icon,
        url_path=name,
        visibility="visible" if entry.listed else "hidden",
    )


def home_of(actor: Actor) -> st.Page:
    """Return the page of the address without a path: it leads on to the first page that the person may open."""
    first = page(pages_for(actor)[0].name)
    return st.Page(
        lambda: st.switch_page(first), title="Fedcost", url_path="home", default=True, visibility="hidden"
    )
