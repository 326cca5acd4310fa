"""Adding an institution: the form, and what is shown once afterwards."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.formats import ROLE_NAMES, plain
from app.components.guard import acting
from app.components.link_once import show_link_once
from app.databases import central_session
from app.permissions import Permission
from app.services import institution_adding
from app.services.institution_adding import AddedInstitution, NewPerson, site_commands

ADD = "institution_add"  # dialog
_ADDED = "institution_added"  # what is shown once


@st.dialog("Add an institution", on_dismiss=close_dialog, width="medium")
@acting(Permission.INSTITUTIONS_MANAGE)
def add_dialog(actor: Actor) -> None:
    """Ask for the institution and its first people."""
    with st.form("institution_add_form", border=False):
        name = st.text_input("Name", key="institution_add_name")
        code = st.text_input(
            "Code",
            key="institution_add_code",
            help="Small letters, digits and underscores, for example `lakeside`. It names the database of the "
            "institution's patients and cannot be changed later.",
        )
        address = st.text_input("Address (optional)", key="institution_add_address")
        st.markdown("**Hospital administrator**, who decides whether it takes part")
        manager_name = st.text_input("Name of the administrator", key="institution_add_manager_name")
        manager_email = st.text_input("E-mail of the administrator", key="institution_add_manager_email")
        st.markdown("**First doctor**, who enters the first patients (optional)")
        doctor_name = st.text_input("Name of the doctor", key="institution_add_doctor_name")
        doctor_email = st.text_input("E-mail of the doctor", key="institution_add_doctor_email")
        sent = st.form_submit_button("Add", type="primary", width="stretch")
    if sent:
        with central_session() as central:
            added = institution_adding.add_institution(
                central=central,
                actor=actor,
                code=code,
                name=name,
                address=address,
                manager=NewPerson(manager_name, manager_email),
                doctor=NewPerson(doctor_name, doctor_email) if doctor_name or doctor_email else None,
            )
        st.session_state[_ADDED] = added
        close_dialog()
        st.rerun()


def show_add() -> None:
    """Offer to add an institution; after that, show its links and what remains to be done."""
    st.button(
        "Add an institution",
        type="primary",
        icon=":material/domain_add:",
        key="institution_open_add",
        on_click=open_dialog,
        args=(ADD,),
    )
    if is_open(ADD):
        add_dialog()
    added: AddedInstitution | None = st.session_state.get(_ADDED)
    if added is not None:
        _show_added(added)


def _show_added(added: AddedInstitution) -> None:
    with st.container(border=True, key="institution_added_note"):
        st.markdown(f":material/check_circle: **{plain(added.name)} was added.**")
        st.markdown(
            "Its first accounts. Each person chooses a password with the link below, once. **The links are shown only "
            "now**; hand them over safely, and to nobody else."
        )
        for account in added.accounts:
            st.markdown(f"**{plain(account.name)}**, {ROLE_NAMES[account.role].lower()}")
            show_link_once(account.link, key=f"institution_link_{account.role}")
        if added.database_made:
            st.markdown(
                "Its patients have a database of their own, and its SuperNode starts by itself in a few seconds. It "
                "takes part in a run once it has enough patients with a known cost."
            )
        else:
            st.markdown(
                "The hospital sets up its Site itself, so that only it has the password of its patients' database. "
                "Values in angle brackets are to be filled in."
            )
            st.code(site_commands(added.code), language="bash")
        if st.button("I have noted this", key="institution_added_done"):
            del st.session_state[_ADDED]
            st.rerun()
