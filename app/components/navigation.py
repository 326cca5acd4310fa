"""Which pages there are and which permission opens each; the menu and links between pages follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.actor import Actor
from app.components.choose_password import password_page
from app.components.guard import acting
from app.permissions import Permission
from app.settings import PROJECT_ROOT


@dataclass(frozen=True)
class PageEntry:
    """One page: its file and path in the address, what the menu calls it, and the permission that opens it.

    Pages of one `section` stand together under its name. A page that is not `listed` is reached from another page
    and does not stand in the menu.
    """

    name: str
    title: str
    icon: str
    permission: Permission
    section: str
    listed: bool = True


# Sections of the menu.
START, RECORDS, PREDICTIONS, MODEL, CONSORTIUM = "", "Records", "Predictions", "Model", "Consortium"

# In menu order; the first page that a role may open is the one that it starts on.
PAGES: tuple[PageEntry, ...] = (
    PageEntry("overview", "Overview", ":material/dashboard:", Permission.MODEL_CARD, START),
    PageEntry("patients", "Patients", ":material/groups:", Permission.PATIENTS_READ, RECORDS),
    PageEntry("patient", "Patient", ":material/person:", Permission.PATIENTS_READ, RECORDS, listed=False),
    PageEntry("patient_import", "Import", ":material/upload_file:", Permission.PATIENTS_IMPORT, RECORDS),
    PageEntry("predict", "Predict", ":material/calculate:", Permission.PREDICT, PREDICTIONS),
    PageEntry("batch", "Batch", ":material/table_rows:", Permission.PREDICT_BATCH, PREDICTIONS),
    PageEntry("history", "History", ":material/history:", Permission.PREDICT, PREDICTIONS),
    PageEntry("training", "Training", ":material/monitoring:", Permission.TRAINING_READ, MODEL),
    PageEntry(
        "compare",
        "Compare runs",
        ":material/compare_arrows:",
        Permission.TRAINING_READ,
        MODEL,
        listed=False,
    ),
    PageEntry("cohort", "Cohort", ":material/bar_chart:", Permission.COHORT_READ, MODEL),
    PageEntry("triggers", "Triggers", ":material/alarm:", Permission.TRAINING_CONTROL, MODEL),
    PageEntry("models", "Models", ":material/deployed_code:", Permission.MODELS_READ, MODEL),
    PageEntry("model_card", "Model card", ":material/description:", Permission.MODEL_CARD, MODEL),
    PageEntry("participation", "Taking part", ":material/handshake:", Permission.PARTICIPATION, CONSORTIUM),
    PageEntry(
        "institutions", "Institutions", ":material/domain:", Permission.INSTITUTIONS_MANAGE, CONSORTIUM
    ),
    PageEntry("retention", "Retention", ":material/auto_delete:", Permission.RETENTION, CONSORTIUM),
    PageEntry("audit", "Audit", ":material/policy:", Permission.AUDIT_READ, CONSORTIUM),
    PageEntry("system", "System", ":material/monitor_heart:", Permission.SYSTEM_READ, CONSORTIUM),
    PageEntry("workers", "People", ":material/badge:", Permission.WORKERS_MANAGE, CONSORTIUM),
    PageEntry(
        "account", "Your account", ":material/manage_accounts:", Permission.OWN_ACCOUNT, START, listed=False
    ),
)
_BY_NAME = {entry.name: entry for entry in PAGES}


def pages_for(actor: Actor) -> list[PageEntry]:
    """Return the pages that this person may open, in menu order."""
    return [entry for entry in PAGES if actor.may(entry.permission)]


def menu_for(actor: Actor) -> dict[str, list[st.Page]]:
    """Return the menu of this person, as `st.navigation` wants it: section -> pages."""
    menu: dict[str, list[st.Page]] = {START: [home_of(actor)]}
    for entry in pages_for(actor):
        menu.setdefault(entry.section, []).append(page(entry.name))
    menu[START].append(password_page())
    menu[START].extend(_closed_page(entry, actor) for entry in PAGES if not actor.may(entry.permission))
    return menu


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


def _closed_page(entry: PageEntry, actor: Actor) -> st.Page:
    """Return what stands at the address of a page that the role may not open: the refusal, and the way on.

    The page's own file is not given to Streamlit.
    """

    def refuse() -> None:
        st.title(entry.title, anchor=False)
        acting(entry.permission, action=f"pages/{entry.name}.py")(lambda actor: st.rerun())()
        first = pages_for(actor)[0]
        st.page_link(page(first.name), label=f"Go to {first.title}", icon=first.icon)

    return st.Page(refuse, title=entry.title, url_path=entry.name, visibility="hidden")
