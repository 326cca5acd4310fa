"""Which pages there are and which permission opens each; the menu and links between pages follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.actor import Actor
from app.permissions import Permission
from app.settings import PROJECT_ROOT


@dataclass(frozen=True)
class PageEntry:
    """One page: its file and path in the address, what the menu calls it, and the permission that opens it."""

    name: str
    title: str
    icon: str
    permission: Permission


# In menu order; the first page that a role may open is the one it starts on.
PAGES: tuple[PageEntry, ...] = (
    PageEntry("predict", "Predict", ":material/calculate:", Permission.PREDICT),
    PageEntry("history", "History", ":material/history:", Permission.PREDICT),
    PageEntry("patients", "Patients", ":material/groups:", Permission.PATIENTS_READ),
    PageEntry("training", "Training", ":material/monitoring:", Permission.TRAINING_READ),
    PageEntry("models", "Models", ":material/deployed_code:", Permission.MODELS_READ),
    PageEntry("model_card", "Model card", ":material/description:", Permission.MODEL_CARD),
)
_BY_NAME = {entry.name: entry for entry in PAGES}


def pages_for(actor: Actor) -> list[PageEntry]:
    """Return the pages that this person may open, in menu order."""
    return [entry for entry in PAGES if actor.may(entry.permission)]


def page(name: str, *, default: bool = False) -> st.Page:
    """Return the Streamlit page called `name`, for the menu or as the target of a link."""
    entry = _BY_NAME[name]
    return st.Page(
        PROJECT_ROOT / "pages" / f"{name}.py",
        title=entry.title,
        icon=entry.icon,
        url_path=name,
        default=default,
    )
