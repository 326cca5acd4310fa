"""Starting a Run: the button, and the dialog that asks for the number of rounds and, on request, everything else."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

import streamlit as st
from sqlalchemy.orm import Session

from app.actor import Actor
from app.components import run_fields
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.formats import RUN_KIND_NAMES, count, plain
from app.components.guard import acting
from app.components.navigation import page
from app.components.paging import first_page
from app.components.run_fields import SettingField
from app.databases import central_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import cohort, run_list, training
from db.states import RunKind
from fl.features import FieldProblem
from fl.settings import DEFAULT_ROUNDS, MAX_ROUNDS, STRATEGIES

START = "training_start"  # dialog
KINDS = (RunKind.FEDERATED, RunKind.LEAST_SQUARES)  # the others are asked for where their results are shown
_REQUEST = "training_request"
_ROUNDS, _STRATEGY, _KIND = "training_num_rounds", "training_strategy", "training_kind"
_DEFAULTS: dict[str, Any] = {_ROUNDS: str(DEFAULT_ROUNDS), _STRATEGY: "fedavg", _KIND: RunKind.FEDERATED}
_HELD = "training_held"  # what the three fields above hold, also while they are not drawn


@dataclass(frozen=True)
class _Wish:
    """What the form asks for, as far as it can be read, and what could not be."""

    kind: RunKind
    num_rounds: int
    strategy: str
    settings: dict[str, Any]
    problems: list[FieldProblem]

    def key(self) -> str:
        """Return an idempotency key: a second press is the same request, another wish is another one."""
        wish = json.dumps([self.kind, self.num_rounds, self.strategy, self.settings], sort_keys=True)
        return f"{st.session_state[_REQUEST]}-{hashlib.sha256(wish.encode()).hexdigest()[:16]}"


@st.dialog("Start a training run", width="medium", on_dismiss=close_dialog)
@acting(Permission.TRAINING_CONTROL)
def start_dialog(actor: Actor) -> None:
    """Ask what is to be trained and start it; a double click starts one Run, not two."""
    st.markdown(
        "In every round each hospital trains the model on its own patients, and the results are averaged. "
        "No patient leaves a hospital. If the new model turns out better than the one in use, it replaces it."
    )
    with central_session() as central:
        _say_what_to_know(central, actor)
        first = st.container()
        with st.expander("More settings", icon=":material/tune:"):
            fields, places = _more_settings()
        with first:
            places.update(_rounds_field())
        wish = _read(fields)
        problems = wish.problems + training.problems_of(
            central=central,
            actor=actor,
            kind=wish.kind,
            num_rounds=wish.num_rounds,
            strategy=wish.strategy,
            settings=wish.settings,
        )
        unreadable = {problem.field for problem in wish.problems}
        problems = wish.problems + [each for each in problems if each.field not in unreadable]
        elsewhere = run_fields.show_problems(places, problems)
        for problem in elsewhere:
            st.error(plain(run_fields.in_words(problem)), icon=":material/error:")
        pressed = st.button("Start training", type="primary", key="training_start_confirmed", width="stretch")
        if pressed and problems:
            st.error(
                f"Please correct {count(len(problems), 'field')} first; nothing was started.",
                icon=":material/error:",
            )
        elif pressed:
            _start(central, actor, wish)
    if pressed and not problems:
        _forget()
        close_dialog()
        first_page("training_runs")
        st.switch_page(page("training"))


def _start(central: Session, actor: Actor, wish: _Wish) -> None:
    try:
        training.start_run(
            central=central,
            actor=actor,
            kind=wish.kind,
            num_rounds=wish.num_rounds,
            strategy=wish.strategy,
            settings=wish.settings,
            idempotency_key=wish.key(),
        )
    except InvalidInput:
        # What was in order a moment ago is not any more, such as the model in use; the fields say it now.
        st.rerun(scope="fragment")


def _say_what_to_know(central: Session, actor: Actor) -> None:
    running = run_list.running_run(central=central, actor=actor)
    if running is not None:
        st.info(f"Run {running} is at work. This one waits until it has ended.", icon=":material/schedule:")
    warnings = cohort.latest_warnings(central)
    if warnings:
        lines = "\n".join(f"- {plain(warning)}" for warning in warnings)
        st.warning(
            f"The newest description of the hospitals' patients says:\n\n{lines}", icon=":material/warning:"
        )


def _rounds_field() -> dict[str, Any]:
    if _held()[_KIND] != RunKind.FEDERATED:
        return {}
    _restore(_ROUNDS)
    _held()[_ROUNDS] = st.text_input(
        "Number of rounds",
        key=_ROUNDS,
        live=True,
        autocomplete="off",
        help=f"From 1 to {MAX_ROUNDS}. Ten rounds are usually enough; more rounds take longer.",
    )
    return {"num_rounds": st.empty()}


def _more_settings() -> tuple[list[SettingField], dict[str, Any]]:
    """Draw everything that has a default; return which settings count, and the places for their problems."""
    _restore(_KIND)
    kind = st.segmented_control(
        "What to do",
        KINDS,
        format_func=RUN_KIND_NAMES.__getitem__,
        key=_KIND,
        required=True,
        help="The least squares baseline needs one message to every hospital and makes no model version.",
    )
    _held()[_KIND] = kind or RunKind.FEDERATED
    if _held()[_KIND] != RunKind.FEDERATED:
        fields = list(run_fields.BASELINE)
        return fields, run_fields.show_fields(fields)
    _restore(_STRATEGY)
    strategy = st.selectbox(
        "Strategy",
        list(STRATEGIES),
        format_func=lambda name: STRATEGIES[name].label,
        key=_STRATEGY,
        on_change=_strategy_chosen,
        help="How the hospitals' answers become the next model.",
    )
    _held()[_STRATEGY] = strategy
    st.caption(plain(STRATEGIES[strategy].advice))
    fields = run_fields.strategy_fields(strategy)
    places = {"strategy": st.empty(), **run_fields.show_fields(fields)}
    for heading, group in (
        ("Training at each hospital", run_fields.LOCAL),
        ("Hospitals", run_fields.HOSPITALS),
        ("Model and evaluation", run_fields.TRAINING),
    ):
        st.markdown(f"**{heading}**")
        places.update(run_fields.show_fields(group))
        fields = [*fields, *group]
    if run_fields.changed():
        st.button("Back to the defaults", key="training_defaults", on_click=_forget_settings)
    return fields, places


def _read(fields: list[SettingField]) -> _Wish:
    held = _held()
    settings, problems = run_fields.read_fields(fields)
    num_rounds = DEFAULT_ROUNDS
    try:
        num_rounds = int(run_fields.read_number(str(held[_ROUNDS]), whole=True))
    except ValueError:
        message = f"Enter a whole number of rounds from 1 to {MAX_ROUNDS}."
        if held[_KIND] == RunKind.FEDERATED:
            problems.append(FieldProblem("num_rounds", message))
    return _Wish(RunKind(held[_KIND]), num_rounds, str(held[_STRATEGY]), settings, problems)


def _held() -> dict[str, Any]:
    held: dict[str, Any] = st.session_state.setdefault(_HELD, dict(_DEFAULTS))
    return held


def _restore(key: str) -> None:
    if key not in st.session_state:  # Streamlit drops a field that was not drawn for a while
        st.session_state[key] = _held()[key]


def _fill() -> None:
    run_fields.fill_fields(str(st.session_state.get(_STRATEGY) or _held()[_STRATEGY]))


def _strategy_chosen() -> None:
    """Suggest the number of rounds of the new strategy, unless the reader wrote another than the old one's."""
    new, old = str(st.session_state[_STRATEGY]), str(_held()[_STRATEGY])
    if _held()[_ROUNDS] == str(STRATEGIES[old].rounds):
        st.session_state[_ROUNDS] = _held()[_ROUNDS] = str(STRATEGIES[new].rounds)
    _fill()


def _forget_settings() -> None:
    run_fields.forget_fields()
    _fill()


def _forget() -> None:
    run_fields.forget_fields()
    for key in (_HELD, *_DEFAULTS):
        st.session_state.pop(key, None)


@acting(Permission.TRAINING_CONTROL)
def ask_for_rounds(actor: Actor) -> None:
    """Open the dialog for a new request, over the newest Run; what was typed into it before still stands there."""
    st.session_state[_REQUEST] = uuid.uuid4().hex
    _fill()
    st.query_params.pop("run", None)
    open_dialog(START)


@acting(Permission.TRAINING_CONTROL)
def resume(actor: Actor, run_id: int, newest_id: int) -> None:
    """Ask for a Run that goes on with an ended one; pressed twice it is one Run."""
    with central_session() as central:
        training.start_run(
            central=central,
            actor=actor,
            resume_run_id=run_id,
            idempotency_key=f"resume-{run_id}-{newest_id}",
        )
    st.query_params.pop("run", None)
    first_page("training_runs")
    st.rerun(scope="app")


def show_start(*, possible: bool) -> None:
    """Offer to start a Run."""
    if possible:
        st.button(
            "Start round",
            type="primary",
            icon=":material/play_arrow:",
            key="training_start",
            on_click=ask_for_rounds,
        )
    if is_open(START, possible=possible):
        start_dialog()
