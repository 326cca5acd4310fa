"""What was typed of a patient and is not saved: it outlasts a change of page, and the browser asks before a reload."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from app.components.formats import plain
from app.components.navigation import page
from app.components.patient_conflict import Conflict
from app.components.patient_view import listed_name
from app.settings import PROJECT_ROOT
from db.site import Patient
from fl.features import FEATURES, TARGET_NAME

NEW = "new"
FIELDS: tuple[str, ...] = (
    "first_name",
    "last_name",
    *(feature.name for feature in FEATURES),
    TARGET_NAME,
)
_DRAFTS = "patient_drafts"
_LEAVE_WARNING = st.components.v2.component(
    "fedcost_leave_warning",
    js=(PROJECT_ROOT / "app" / "components" / "assets" / "leave_warning.js").read_text(),
)


@dataclass
class Draft:
    """One record being filled in.

    Attributes
    ----------
    patient_id, row_version, original
        Whom it changes and what the record held when editing began, by field; of a new patient None and empty.
    values
        By field as typed: text, a category's value, or None.
    all_shown
        Whether every problem is shown, as after a press of Save; before, only of fields that were filled in.
    duplicates_shown
        Whether patients of the same name and age are being pointed out.
    conflict
        Somebody else's change that the reader has to decide about first.
    """

    patient_id: uuid.UUID | None
    row_version: int | None
    name: str
    original: dict[str, Any]
    values: dict[str, Any]
    all_shown: bool = False
    duplicates_shown: bool = False
    conflict: Conflict | None = None
    before: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.before = dict(self.values)

    @property
    def target(self) -> str:
        """What the draft is kept under: the patient's id, or `new`."""
        return str(self.patient_id) if self.patient_id else NEW

    @property
    def prefix(self) -> str:
        """What the keys of its fields begin with; a record that changed meanwhile gets new fields."""
        return f"patient_form_{self.target}_{self.row_version or 0}"

    @property
    def changed(self) -> bool:
        """Whether anything typed would be lost."""
        return any((self.values.get(field) or None) != (self.before.get(field) or None) for field in FIELDS)

    @property
    def address(self) -> dict[str, str]:
        """The query of the address where the draft goes on."""
        return {"new": "yes"} if self.patient_id is None else {"patient": str(self.patient_id), "edit": "yes"}


def new_draft() -> Draft:
    """Return the draft of a new patient, with what was typed before."""
    return _drafts().setdefault(NEW, Draft(None, None, "a new patient", {}, dict.fromkeys(FIELDS)))


def draft_of(patient: Patient) -> Draft:
    """Return the draft of a patient's record: what was typed before, otherwise the record as it is now."""
    kept = _drafts().get(str(patient.id))
    if kept is not None:
        _take_in(kept)
    if kept is not None and (kept.changed or kept.row_version == patient.row_version):
        return kept
    original = {field: getattr(patient, field) for field in FIELDS}
    values = {field: as_typed(field, value) for field, value in original.items()}
    draft = Draft(patient.id, patient.row_version, listed_name(patient), original, values)
    _drafts()[draft.target] = draft
    return draft


def as_typed(field: str, value: Any) -> Any:
    """Return a value of the record as its form field holds it."""
    numbers = {TARGET_NAME, *(feature.name for feature in FEATURES if feature.kind != "category")}
    if value is None or field not in numbers:
        return value
    return f"{value:.2f}" if field == TARGET_NAME else f"{float(value):.10g}"


def discard(target: str) -> None:
    """Forget what was typed."""
    draft = _drafts().pop(target, None)
    if draft is not None:
        for field in FIELDS:
            st.session_state.pop(f"{draft.prefix}_{field}", None)


def unsaved() -> list[Draft]:
    """Return the drafts that hold something to lose."""
    return [draft for draft in _drafts().values() if draft.changed]


def show_unsaved(*, but: str | None = None) -> None:
    """Tell of unsaved changes, each with the ways on; not of the draft that the page shows itself, `but`."""
    for draft in unsaved():
        if draft.target == but:
            continue
        with st.container(
            border=True, horizontal=True, vertical_alignment="center", key=f"unsaved_{draft.target}"
        ):
            st.markdown(f":material/edit_note: {_what_is_unsaved(draft)}", width="stretch")
            if st.button("Continue", key=f"unsaved_continue_{draft.target}", icon=":material/edit:"):
                st.switch_page(page("patient"), query_params=draft.address)
            st.button(
                "Discard",
                key=f"unsaved_discard_{draft.target}",
                type="tertiary",
                on_click=discard,
                args=(draft.target,),
            )


def warn_before_leaving() -> None:
    """Let the browser ask before the tab is closed or reloaded, if anything would be lost."""
    _LEAVE_WARNING(key="leave_warning", data={"unsaved": bool(unsaved())}, height=1)


def _take_in(draft: Draft) -> None:
    """Take in what the browser sent with this very run, before the fields are drawn."""
    for name in FIELDS:
        key = f"{draft.prefix}_{name}"
        if key in st.session_state:
            draft.values[name] = st.session_state[key]


def _what_is_unsaved(draft: Draft) -> str:
    if draft.patient_id is not None:
        return f"You have unsaved changes to **{plain(draft.name)}**."
    names = [str(draft.values.get(name) or "").strip() for name in ("last_name", "first_name")]
    typed = ", ".join(name for name in names if name)
    return f"You have not yet added **{plain(typed) if typed else 'the new patient'}**."


def _drafts() -> dict[str, Draft]:
    drafts: dict[str, Draft] = st.session_state.setdefault(_DRAFTS, {})
    return drafts


def merged(values: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed with some fields taken from the record."""
    return {**values, **{field: as_typed(field, value) for field, value in theirs.items()}}
