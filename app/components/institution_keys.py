"""The keys of an institution's SuperNode: which are registered, registering one and revoking one."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog
from app.components.formats import plain, when
from app.components.guard import acting
from app.databases import central_session
from app.permissions import Permission
from app.services import supernode_keys
from app.services.supernode_keys import LONGEST_KEY, LONGEST_REASON, KeyView

KEYS = "institution_keys_"  # dialog, and the code of the institution


@st.dialog("Keys of the SuperNode", on_dismiss=close_dialog, width="large")
@acting(Permission.INSTITUTIONS_MANAGE)
def keys_dialog(actor: Actor, code: str, name: str) -> None:
    """Show an institution's keys, and register or revoke one."""
    with central_session() as central:
        keys = supernode_keys.list_keys(central=central, actor=actor, code=code)
    st.markdown(
        f"Only a SuperNode that holds one of these keys answers for **{plain(name)}**. What it says of itself does not "
        "count."
    )
    _show_keys(keys)
    _register(actor, code)
    if valid := [key for key in keys if key.revoked_at is None]:
        _revoke(actor, code, valid)


def _show_keys(keys: list[KeyView]) -> None:
    if not keys:
        st.info("No key is registered, so its SuperNode is refused.", icon=":material/key_off:")
        return
    for key in keys:
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"{_state(key)}  \n`{key.fingerprint}`")
            told = f"Registered {when(key.registered_at)}, {key.registered_by or 'by this hub itself'}"
            if key.revoked_at is not None:
                told += f" · revoked {when(key.revoked_at)}, {key.revoked_by or 'by somebody'}"
            st.caption(plain(told))


def _state(key: KeyView) -> str:
    if key.revoked_at is not None:
        return ":gray-badge[:material/key_off: Revoked]"
    if key.in_use:
        return ":green-badge[:material/check_circle: Valid, known to SuperLink]"
    return ":orange-badge[:material/schedule: Valid, SuperLink is told within seconds]"


def _register(actor: Actor, code: str) -> None:
    with st.form("institution_key_form", border=False, clear_on_submit=False):
        text = st.text_area(
            "Public key to register",
            key="institution_key_text",
            max_chars=LONGEST_KEY,
            placeholder="ecdsa-sha2-nistp384 AAAA…",
            help="The hospital makes it with `python -m fl.runtime.supernode_key supernode.key`. Compare its "
            "fingerprint with the hospital over another way, for example by telephone.",
        )
        sent = st.form_submit_button("Register", type="primary")
    if sent:
        with central_session() as central:
            supernode_keys.register_key(central=central, actor=actor, code=code, public_key=text)
        st.rerun()


def _revoke(actor: Actor, code: str, valid: list[KeyView]) -> None:
    with st.expander("Revoke a key"):
        st.markdown(
            "Its SuperNode is shut out within seconds, also during a run, and the key can never be registered again."
        )
        with st.form("institution_key_revoke_form", border=False):
            by_fingerprint = {key.fingerprint: key.id for key in valid}
            chosen = st.selectbox("Key", list(by_fingerprint), key="institution_key_chosen")
            reason = st.text_input("Reason", max_chars=LONGEST_REASON, key="institution_key_reason")
            sent = st.form_submit_button("Revoke")
        if sent and chosen is not None:
            with central_session() as central:
                supernode_keys.revoke_key(
                    central=central, actor=actor, code=code, key_id=by_fingerprint[chosen], reason=reason
                )
            st.rerun()
