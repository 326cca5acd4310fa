"""Two people edited the same patient: the second sees both versions, field by field, and chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import streamlit as st

from app.components.formats import plain, when
from app.components.patient_view import field_label, field_value
from app.errors import FieldDifference

Choice = Literal["theirs", "yours"]


@dataclass(frozen=True)
class Conflict:
    """Somebody else's change that came first.

    Attributes
    ----------
    row_version
        Of the record as it is now; a save with it overwrites knowingly.
    who, at
        Who changed it last and when; None if that is not known.
    """

    row_version: int
    differences: tuple[FieldDifference, ...]
    who: str | None
    at: datetime | None


@dataclass(frozen=True)
class Decision:
    """What the reader chose: for each field whose version, or to go back to the form."""

    kept: Mapping[str, Choice] | None


def show_conflict(conflict: Conflict, original: Mapping[str, Any], *, key: str) -> Decision | None:
    """Show both versions of every field that differs; returns what was chosen once a button is pressed.

    Parameters
    ----------
    original
        What the record held when the reader began to edit, by field.
    """
    who = f"**{plain(conflict.who)}**" if conflict.who else "Somebody else"
    moment = f" ({plain(when(conflict.at))})" if conflict.at else ""
    st.warning(
        f"{who} changed this patient while you were editing{moment}. Nothing of theirs or yours is lost: "
        "choose what the record shall say.",
        icon=":material/call_split:",
    )
    chosen: dict[str, Choice | None] = {}
    for difference in conflict.differences:
        chosen[difference.field] = _show_difference(difference, original, key=key)
    decided = all(chosen.values())
    with st.container(horizontal=True):
        save = st.button(
            "Save these choices",
            type="primary",
            key=f"{key}_save",
            disabled=not decided,
            icon=":material/save:",
        )
        theirs = st.button("Take all of theirs", key=f"{key}_theirs")
        yours = st.button("Keep all of mine", key=f"{key}_yours")
        back = st.button("Back to the form", key=f"{key}_back", type="tertiary")
    if not decided:
        st.caption("Choose a version of every field, or all of one side.")
    fields = [difference.field for difference in conflict.differences]
    if theirs:
        return Decision(dict.fromkeys(fields, "theirs"))
    if yours:
        return Decision(dict.fromkeys(fields, "yours"))
    if back:
        return Decision(None)
    if save and decided:
        return Decision({field: choice for field, choice in chosen.items() if choice})
    return None


def _show_difference(difference: FieldDifference, original: Mapping[str, Any], *, key: str) -> Choice | None:
    field = difference.field
    before = original.get(field)
    versions: dict[Choice, str] = {
        "theirs": f"Theirs: {plain(field_value(field, difference.theirs))}",
        "yours": f"Yours: {plain(field_value(field, difference.yours))}",
    }
    # Only they touched it: their version is the newer one. Both did: nobody may decide but the reader.
    suggested: Choice | None = "theirs" if difference.yours == before else None
    with st.container(border=True, gap="xsmall"):
        choice: Choice | None = st.segmented_control(
            f"**{plain(field_label(field))}** · before: {plain(field_value(field, before))}",
            list(versions),
            format_func=versions.__getitem__,
            default=suggested,
            key=f"{key}_{field}",
            width="stretch",
        )
    return choice
