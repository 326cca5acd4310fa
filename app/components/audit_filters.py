"""The filters of the audit page: who, what, when, from where; in the page's address, so that a view can be shared."""

from __future__ import annotations

from datetime import date
from typing import Any

import streamlit as st

from app.components.browser import browser_zone
from app.components.paging import first_page
from app.services.audit_reading import AuditChoices, AuditFilter
from app.services.audit_words import OUTCOME_WORDS, action_words

LIST = "audit"  # key of the pager
_KEYS = {
    name: f"audit_{name}"
    for name in ("since", "until", "who", "action", "outcome", "institution", "target", "address", "request")
}
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)


def show_filters(choices: AuditChoices, *, of_patients: bool) -> AuditFilter:
    """Draw the filters and return what they say; `of_patients`: what was done to is a patient, by number."""
    _take_from_address(choices)
    names, institutions = dict(choices.workers), dict(choices.institutions)
    with st.container(horizontal=True, vertical_alignment="bottom", key="audit_filters"):
        for name, label in (("since", "From"), ("until", "To")):
            st.date_input(
                label,
                value=None,
                min_value=_FIRST_DAY,
                max_value=_LAST_DAY,
                key=_KEYS[name],
                format="YYYY-MM-DD",
                width=145,
                on_change=_again,
            )
        _choice("Who", list(names), names, "who", "Anybody", 180)
        words = {action: action_words(action) for action in choices.actions}
        _choice("What", sorted(words, key=words.__getitem__), words, "action", "Anything", 260)
        _choice("Outcome", list(OUTCOME_WORDS), OUTCOME_WORDS, "outcome", "Any", 130)
        if institutions:
            _choice("Institution", list(institutions), institutions, "institution", "Any", 190)
        st.text_input(
            "Patient's number" if of_patients else "Done to",
            key=_KEYS["target"],
            placeholder="Any" if of_patients else "Such as run 7",
            width=190,
            on_change=_again,
        )
        st.text_input("Address", key=_KEYS["address"], placeholder="Any", width=150, on_change=_again)
        st.text_input("Request", key=_KEYS["request"], placeholder="Any", width=150, on_change=_again)
    chosen = {name: st.session_state[key] for name, key in _KEYS.items() if key in st.session_state}
    st.query_params.from_dict({name: str(value) for name, value in chosen.items() if value})
    return AuditFilter(
        since=chosen["since"],
        until=chosen["until"],
        zone=str(browser_zone()),
        worker_id=chosen["who"],
        action=chosen["action"],
        outcome=chosen["outcome"],
        institution=chosen.get("institution"),
        target=chosen["target"].strip() or None,
        address=chosen["address"].strip() or None,
        request_id=chosen["request"].strip() or None,
    )


def clear_filters() -> None:
    """Show every event again; a callback."""
    for key in _KEYS.values():
        st.session_state.pop(key, None)
    st.query_params.clear()
    first_page(LIST)


def _choice(
    label: str, options: list[Any], names: dict[Any, str], key: str, any_word: str, width: int
) -> None:
    st.selectbox(
        label,
        options,
        index=None,
        format_func=lambda option: names.get(option, str(option)),
        key=_KEYS[key],
        placeholder=any_word,
        width=width,
        on_change=_again,
    )


def _again() -> None:
    first_page(LIST)


def _take_from_address(choices: AuditChoices) -> None:
    """Set the fields by the address when the page is opened; what it says wrongly is left out."""
    if _KEYS["target"] in st.session_state:
        return
    address = st.query_params.to_dict()
    who = address.get("who", "")
    known = {
        "since": _day(address.get("since")),
        "until": _day(address.get("until")),
        "who": int(who) if who.isascii() and who.isdigit() and int(who) in dict(choices.workers) else None,
        "action": _one_of(address.get("action"), choices.actions),
        "outcome": _one_of(address.get("outcome"), list(OUTCOME_WORDS)),
        "institution": _one_of(address.get("institution"), [code for code, _ in choices.institutions]),
        "target": address.get("target", ""),
        "address": address.get("address", ""),
        "request": address.get("request", ""),
    }
    for name, value in known.items():
        st.session_state[_KEYS[name]] = value


def _one_of(text: str | None, known: list[str]) -> str | None:
    return text if text in known else None


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if _FIRST_DAY <= day <= _LAST_DAY else None
