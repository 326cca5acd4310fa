"""The page of a one-time link: whoever opened it first chooses the password of the account, without being signed in."""

from __future__ import annotations

import streamlit as st

from app.auth.login_form import browser_address, leave_notice
from app.auth.one_time_link import choose_password, link_holder
from app.auth.password_rules import RULES
from app.components.formats import plain, verbatim, when
from app.components.guard import errors_shown
from app.databases import central_session
from app.errors import InvalidInput
from app.services.one_time_links import LINK_PATH
from app.settings import PROJECT_ROOT
from fl.features import FieldProblem

_SECRET = "one_time_link"  # noqa: S105 - where this browser connection keeps what stood behind the "#"
_NONE = "none"
_READER = st.components.v2.component(
    "fedcost_link_reader", js=(PROJECT_ROOT / "app" / "components" / "assets" / "link_reader.js").read_text()
)
CHANGED = "Your password is set. Sign in with it."


def password_page() -> st.Page:
    """Return the page to which one-time links lead; in no menu."""
    return st.Page(
        show_choose_password, title="Choose a password", url_path=LINK_PATH.strip("/"), visibility="hidden"
    )


def show_choose_password() -> None:
    """Show whose link it is and ask for the new password twice."""
    st.title("Choose a password", anchor=False)
    secret: str | None = st.session_state.get(_SECRET)
    read = _READER(
        key="one_time_link_reader", data={"known": secret is not None}, on_secret_change=lambda: None
    )
    if secret is None and read.secret:
        secret = st.session_state[_SECRET] = str(read.secret)
    if secret is None:
        st.caption("Reading the link …")
        return
    if secret == _NONE:
        st.info(
            "Open the whole link that your administrator gave you; this address alone does not say whose it is.",
            icon=":material/link_off:",
        )
        return
    with errors_shown():
        _ask(secret)


def _ask(secret: str) -> None:
    with central_session() as central:
        holder = link_holder(central, token=secret)
    st.markdown(f"For **{plain(holder.name)}**, who signs in as {verbatim(holder.email)}.")
    with st.form("one_time_link_form", border=False):
        first = st.text_input(
            "New password", type="password", key="one_time_link_first", autocomplete="new-password"
        )
        st.caption(RULES)
        second = st.text_input(
            "The same again", type="password", key="one_time_link_second", autocomplete="new-password"
        )
        sent = st.form_submit_button("Set the password", type="primary", width="stretch")
    st.caption(f"This link works once, until {plain(when(holder.expires_at))}.")
    if not sent:
        return
    require_same(first, second)
    with central_session() as central:
        choose_password(central, token=secret, password=first, address=browser_address())
    for key in (_SECRET, "one_time_link_first", "one_time_link_second"):
        st.session_state.pop(key, None)
    leave_notice(CHANGED)
    st.switch_page(st.Page(lambda: None, title="Fedcost", url_path="home", default=True))


def require_same(first: str, second: str) -> None:
    """Raise `InvalidInput` unless a new password was typed the same twice."""
    if first != second:
        raise InvalidInput(
            [FieldProblem("new_password", "The two new passwords differ. Type the same twice.")]
        )
