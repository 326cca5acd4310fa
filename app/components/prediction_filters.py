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
_CURSOR, _NUMBER = "cursor", "page"  # where the page begins that is shown, and which page that is
_PLACE = {_CURSOR, _NUMBER}
_FEW_DIGITS = 7
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)


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
            width=210,
        )
        st.selectbox(
            "Made by",
            list(names),
            index=None,
            format_func=lambda worker: names.get(worker, ""),
            key=_KEYS["by"],
            placeholder="Anybody",
            width=180,
        )
        st.selectbox(
            "Model version", choices.versions, index=None, key=_KEYS["model"], placeholder="Any", width=140
        )
        for name, label in (("from", "From"), ("to", "To")):
            st.date_input(
                label,
                value=None,
                min_value=_FIRST_DAY,
                max_value=_LAST_DAY,
                key=_KEYS[name],
                format="YYYY-MM-DD",
                width=145,
            )
        st.toggle("Actual cost known", key=_KEYS["known"])
    shown = _to_address({name: st.session_state[key] for name, key in _KEYS.items()}, address)
    if _without_place(shown) == _without_place(address):
        shown = address
    else:
        shown = _without_place(shown)  # a page of another list means nothing in this one
        st.query_params.from_dict(shown)
    st.session_state[_WRITTEN] = shown
    return _filter_of(shown)


def shown_place() -> tuple[str | None, int | None]:
    """Return the cursor of the page to show (None: the first), and which page it is if the address tells."""
    address = st.session_state[_WRITTEN]
    number = address.get(_NUMBER, "")
    known = number.isascii() and number.isdigit() and len(number) <= _FEW_DIGITS
    return address.get(_CURSOR), int(number) if known else None


def turn_to(cursor: str | None, number: int | None) -> None:
    """Go to another page of the same list; a callback."""
    place = {} if cursor is None else {_CURSOR: cursor, **({} if number is None else {_NUMBER: str(number)})}
    st.session_state[_WRITTEN] = {**_without_place(_address()), **place}
    st.query_params.from_dict(st.session_state[_WRITTEN])


def is_filtered() -> bool:
    """Tell whether the address asks for some of the predictions only."""
    return bool(_without_place(st.session_state.get(_WRITTEN, {})))


def clear_filters() -> None:
    """Show every prediction again."""
    st.query_params.clear()
    st.session_state.pop(_WRITTEN, None)


def _address() -> dict[str, str]:
    known = {*_KEYS, _ONE_PATIENT, *_PLACE}
    return {name: value for name, value in st.query_params.to_dict().items() if name in known}


def _without_place(address: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in address.items() if name not in _PLACE}


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
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if _FIRST_DAY <= day <= _LAST_DAY else None


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None
