"""Adding or editing a trigger: every answer is checked while one types, a schedule shows when it comes up next."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.actor import Actor
from app.components import run_fields
from app.components.browser import browser_zone
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.formats import RUN_KIND_NAMES, count, plain
from app.components.guard import acting
from app.components.run_fields import FIELD_BY_NAME, SettingField
from app.components.trigger_words import KIND_NAMES, coming_times
from app.databases import central_session
from app.permissions import Permission
from app.services import triggers
from app.services.trigger_request import (
    RUN_KINDS,
    TriggerRequest,
    check_schedule,
    coming_up,
    problems_of,
    zone_names,
)
from app.services.triggers import TriggerView
from db.states import RunKind
from fl.features import FieldProblem
from fl.settings import STRATEGIES, RunSettings, settings_for

FORM = "trigger_form"  # dialog
_HELD = "trigger_form_held"  # what the fields hold, also those that are not drawn now
_EDITED = "trigger_form_edited"  # id of the trigger; None: a new one
_NEW = TriggerRequest("", "schedule", cron="0 3 * * 1", records=100)


@acting(Permission.TRAINING_CONTROL)
def open_form(actor: Actor, trigger: TriggerView | None) -> None:
    """Open the form for a trigger, or for a new one."""
    request = trigger.request if trigger else _NEW
    zone = str(browser_zone())
    held: dict[str, Any] = {
        **vars(request),
        "records": str(request.records or _NEW.records),
        "num_rounds": str(request.num_rounds or _NEW.num_rounds),
        "strategy": request.strategy or _NEW.strategy,
        "cron": request.cron or _NEW.cron,
        "timezone": request.timezone if trigger and request.kind == "schedule" else zone,
        "changed": list(request.run_settings),
    }
    for name, value in request.run_settings.items():
        held[f"set_{name}"] = value if isinstance(value, bool | str) else f"{value:.10g}"
    if held["timezone"] not in zone_names():
        held["timezone"] = "UTC"
    for key in [key for key in st.session_state if str(key).startswith("trigger_field_")]:
        del st.session_state[key]
    st.session_state[_HELD], st.session_state[_EDITED] = held, trigger.id if trigger else None
    open_dialog(FORM)


def show_form() -> None:
    """Draw the form while it is open."""
    if is_open(FORM, possible=_HELD in st.session_state):
        form_dialog()


@st.dialog("Trigger", width="medium", on_dismiss=close_dialog)
@acting(Permission.TRAINING_CONTROL)
def form_dialog(actor: Actor) -> None:
    """Ask when the trigger fires and for which Run; save it once nothing is wrong."""
    places: dict[str, DeltaGenerator] = {}
    _text("name", "Name", places, about="What the history and the list of runs call it.")
    kind = _choice("kind", "It fires", list(KIND_NAMES), KIND_NAMES, segmented=True)
    if kind == "schedule":
        _show_schedule(places)
    elif kind == "new_records":
        _show_records(actor, places)
    _check("only_if_new_data", "Only if hospitals have told of new patients since the last training")
    st.markdown("**The run that it asks for**")
    problems, settings = _show_run(places)
    request = _request(settings, problems)
    with central_session() as central:
        problems += problems_of(central=central, actor=actor, request=request)
    unread = {problem.field for problem in problems}
    first = [next(each for each in problems if each.field == name) for name in dict.fromkeys(unread)]
    for problem in run_fields.show_problems(places, first):
        st.error(plain(run_fields.in_words(problem)), icon=":material/error:")
    if not st.button("Save", type="primary", key="trigger_form_save", width="stretch"):
        return
    if problems:
        message = f"Please correct {count(len(first), 'field')} first; nothing was saved."
        st.error(message, icon=":material/error:")
        return
    edited: int | None = st.session_state[_EDITED]
    with central_session() as central:
        if edited is None:
            triggers.add_trigger(central=central, actor=actor, request=request)
        else:
            triggers.change_trigger(central=central, actor=actor, trigger_id=edited, request=request)
    st.session_state.pop(_HELD)
    close_dialog()
    st.rerun()


def _show_schedule(places: dict[str, DeltaGenerator]) -> None:
    with st.container(horizontal=True):
        cron = _text(
            "cron",
            "Schedule (cron)",
            places,
            about="Minute, hour, day of month, month, day of week. `0 3 * * 1` is every Monday at 03:00, "
            "`30 22 * * mon-fri` every working day at 22:30, `0 4 1 * *` the first of each month at 04:00.",
        )
        zone = _choice("timezone", "Time zone", zone_names())
    places["timezone"] = st.empty()
    if not check_schedule(cron, zone):
        st.caption(f"Next: {coming_times(coming_up(cron, zone))}")


def _show_records(actor: Actor, places: dict[str, DeltaGenerator]) -> None:
    _text("records", "New patients with a known cost, all hospitals together", places)
    with central_session() as central:
        new = triggers.new_patients(central=central, actor=actor)
    told = f"At the moment: at least {count(new.records)}, as {count(new.sites, 'hospital')} told."
    st.caption(f"{told} Each hospital tells its number rounded down to tens.")


def _show_run(places: dict[str, DeltaGenerator]) -> tuple[list[FieldProblem], dict[str, Any]]:
    """Draw the fields of the Run; return its settings that differ from the defaults, and what cannot be read."""
    kind = _choice("run_kind", "What to do", RUN_KINDS, RUN_KIND_NAMES)
    places["run_kind"] = st.empty()
    strategy = str(_held()["strategy"])
    if kind == RunKind.FEDERATED:
        with st.container(horizontal=True):
            _text("num_rounds", "Number of rounds", places)
            names = {name: choice.label for name, choice in STRATEGIES.items()}
            strategy = _choice("strategy", "Strategy", list(STRATEGIES), names)
        st.caption(plain(STRATEGIES[strategy].advice))
    chosen = st.multiselect(
        "Settings that differ from the usual ones",
        list(FIELD_BY_NAME),
        format_func=lambda name: FIELD_BY_NAME[name].label,
        **_widget("changed"),
    )
    _held()["changed"] = list(chosen)
    for name in chosen:
        _show_setting(FIELD_BY_NAME[name], strategy if kind == RunKind.FEDERATED else "", places)
    return _read_settings(chosen)


def _show_setting(each: SettingField, strategy: str, places: dict[str, DeltaGenerator]) -> None:
    name = f"set_{each.name}"
    usual = getattr(settings_for(strategy, {}), each.name)
    _held().setdefault(name, usual if isinstance(usual, bool | str) else f"{usual:.10g}")
    if isinstance(usual, bool):
        _check(name, each.label)
    elif each.names:
        _choice(name, each.label, list(each.names), each.names)
    else:
        _text(name, each.label, places, about=each.help)
        places[each.name] = places.pop(name)


def _read_settings(names: list[str]) -> tuple[list[FieldProblem], dict[str, Any]]:
    usual, settings, problems = RunSettings(), dict[str, Any](), list[FieldProblem]()
    for name in names:
        typed, default = _held()[f"set_{name}"], getattr(usual, name)
        if isinstance(default, bool | str):
            settings[name] = typed
            continue
        try:
            settings[name] = run_fields.read_number(str(typed), whole=isinstance(default, int))
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            problems.append(FieldProblem(name, f"{name} must be {kind}."))
    return problems, settings


def _request(settings: dict[str, Any], problems: list[FieldProblem]) -> TriggerRequest:
    """Return what the fields ask for; adds a sentence on each that is no number."""
    held, numbers = _held(), {}
    for name, default, drawn in (
        ("records", _NEW.records, held["kind"] == "new_records"),
        ("num_rounds", _NEW.num_rounds, held["run_kind"] == RunKind.FEDERATED),
    ):
        try:
            numbers[name] = int(run_fields.read_number(str(held[name]), whole=True))
        except ValueError:
            numbers[name] = default
            if drawn:
                problems.append(FieldProblem(name, "Enter a whole number."))
    return TriggerRequest(
        name=held["name"],
        kind=held["kind"],
        cron=held["cron"],
        timezone=held["timezone"],
        only_if_new_data=held["only_if_new_data"],
        run_kind=held["run_kind"],
        strategy=held["strategy"],
        run_settings=settings,
        **numbers,
    )


def _held() -> dict[str, Any]:
    held: dict[str, Any] = st.session_state[_HELD]
    return held


def _widget(name: str) -> dict[str, Any]:
    key = f"trigger_field_{name}"
    if key not in st.session_state:  # Streamlit drops a field that was not drawn for a while
        st.session_state[key] = _held()[name]
    return {"key": key}


def _text(name: str, label: str, places: dict[str, DeltaGenerator], about: str = "") -> str:
    with st.container():
        typed = st.text_input(label, live=True, autocomplete="off", help=about or None, **_widget(name))
        places[name] = st.empty()
    _held()[name] = typed
    return str(typed)


def _check(name: str, label: str) -> None:
    _held()[name] = st.checkbox(label, **_widget(name))


def _choice(
    name: str, label: str, options: Any, names: dict[str, str] | None = None, *, segmented: bool = False
) -> str:
    words = (lambda option: names[option]) if names else str
    if segmented:
        chosen = st.segmented_control(label, options, format_func=words, required=True, **_widget(name))
    else:
        chosen = st.selectbox(label, options, format_func=words, **_widget(name))
    _held()[name] = chosen
    return str(chosen)
