"""The filters of the history: fields whose state stands in the address, so that a view can be shared."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any

import streamlit as st

from app.components.browser import browser_zone
from app.services.prediction_history import HistoryChoices, PredictionFilter

_KEYS = {name: f"history_{name}" for name in ("patient", "by", "model", "from", "to", "known")}
_WRITTEN = "history_address"  # what the fields last wrote into the address
_ONE_PATIENT = "patient_id"
_PAGE = "page"


def show_filters(choices: HistoryChoices) -> PredictionFilter:
    """Draw the filters, keep the address in step with them, and return what they say.

    An address that was opened, shared or returned to sets the fields; what it says wrongly is left out of it.
    """
    address = _address()
    if st.session_state.get(_WRITTEN) != address or _KEYS["patient"] not in st.session_state:
        for name, value in _from_address(address, choices).items():
            st.session_state[_KEYS[name]] = value
    names = dict(choices.workers)
    with st.container(horizontal=True, vertical_alignment="bottom", key="history_filters"):
        st.text_input(
            "Patient",
            key=_KEYS["patient"],
            type="search",
            live=True,
            icon=":material/search:",
            placeholder="Part of the name",
            width=230,
        )
        st.selectbox(
            "Made by",
            list(names),
            index=None,
            format_func=lambda worker: names.get(worker, ""),
            key=_KEYS["by"],
            placeholder="Anybody",
            width=200,
        )
        st.selectbox(
            "Model version", choices.versions, index=None, key=_KEYS["model"], placeholder="Any", width=190
        )
        st.date_input("From", value=None, key=_KEYS["from"], format="YYYY-MM-DD", width=150)
        st.date_input("To", value=None, key=_KEYS["to"], format="YYYY-MM-DD", width=150)
        st.toggle("Actual cost known", key=_KEYS["known"])
    shown = _to_address({name: st.session_state[key] for name, key in _KEYS.items()}, address)
    if {name: value for name, value in shown.items() if name != _PAGE} != {
        name: value for name, value in address.items() if name != _PAGE
    }:
        shown.pop(_PAGE, None)  # a page of another list means nothing in this one
        st.query_params.from_dict(shown)
    st.session_state[_WRITTEN] = shown
    return _filter_of(shown)


def is_filtered() -> bool:
    """Tell whether the address asks for some of the predictions only."""
    return bool(st.session_state.get(_WRITTEN, {}).keys() - {_PAGE})


def clear_filters() -> None:
    """Show every prediction again."""
    st.query_params.clear()
    st.session_state.pop(_WRITTEN, None)


def _address() -> dict[str, str]:
    known = {*_KEYS, _ONE_PATIENT, _PAGE}
    return {name: value for name, value in st.query_params.to_dict().items() if name in known}


def _from_address(address: Mapping[str, str], choices: HistoryChoices) -> dict[str, Any]:
    by = address.get("by", "")
    model = address.get("model")
    return {
        "patient": address.get("patient", ""),
        "by": int(by) if by.isascii() and by.isdigit() and int(by) in dict(choices.workers) else None,
        "model": model if model in choices.versions else None,
        "from": _day(address.get("from")),
        "to": _day(address.get("to")),
        "known": address.get("known") == "yes",
    }


def _to_address(values: Mapping[str, Any], before: Mapping[str, str]) -> dict[str, str]:
    texts = {
        "patient": (values["patient"] or "").strip(),
        "by": "" if values["by"] is None else str(values["by"]),
        "model": values["model"] or "",
        "from": values["from"].isoformat() if values["from"] else "",
        "to": values["to"].isoformat() if values["to"] else "",
        "known": "yes" if values["known"] else "",
        _ONE_PATIENT: str(_uuid(before.get(_ONE_PATIENT)) or ""),
        _PAGE: before.get(_PAGE, ""),
    }
    return {name: text for name, text in texts.items() if text}


def _filter_of(address: Mapping[str, str]) -> PredictionFilter:
    return PredictionFilter(
        patient=address.get("patient"),
        patient_id=_uuid(address.get(_ONE_PATIENT)),
        worker_id=int(address["by"]) if "by" in address else None,
        model_version=address.get("model"),
        since=_day(address.get("from")),
        until=_day(address.get("to")),
        zone=str(browser_zone()),
        with_error="known" in address,
    )


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None
