"""Deciding about a model version: buttons by role and state, each with a dialog that asks why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.formats import plain
from app.components.guard import acting
from app.components.navigation import page
from app.databases import central_session
from app.errors import Conflict, InvalidInput
from app.permissions import Permission
from app.services import registry, training
from app.services.registry import LONGEST_REASON, NOTHING_IN_USE
from db.central import ModelVersion
from db.states import RunKind, VersionStatus

_NOTICE = "models_notice"
_SEEN = "models_champion_seen"
_EVALUATION = "models_evaluation_run"
REASON = "models_reason"  # key of the field in every dialog


@dataclass(frozen=True)
class Situation:
    """What a decision is about: the version shown, the one in use (None: none), and those to roll back to."""

    version: ModelVersion
    champion: str | None
    rollback_targets: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What the person saw in use when they opened the dialog, whatever was decided since."""
        seen: str = st.session_state.get(_SEEN, self.champion or NOTHING_IN_USE)
        return seen


def show_notice() -> None:
    """Say once what was just decided."""
    notice = st.session_state.pop(_NOTICE, None)
    if notice:
        st.success(plain(notice), icon=":material/check_circle:")
    run_id = st.session_state.pop(_EVALUATION, None)
    if run_id:
        st.success(f"Run {run_id} will evaluate the version.", icon=":material/check_circle:")
        st.page_link(
            page("training"),
            label=f"Watch run {run_id}",
            icon=":material/monitoring:",
            query_params={"run": str(run_id)},
        )


def show_decisions(actor: Actor, situation: Situation) -> None:
    """Draw the buttons that this person may press for this version as it stands."""
    version, status = situation.version, VersionStatus(situation.version.status)
    candidate = status is VersionStatus.CANDIDATE
    decides = actor.may(Permission.PROMOTE)
    with st.container(horizontal=True, key="models_decisions"):
        if decides and status in (VersionStatus.CANDIDATE, VersionStatus.REJECTED):
            _button(situation, "Promote", "promote", "verified", primary=candidate)
        if decides and candidate:
            _button(situation, "Reject", "reject", "block")
        if decides and status is VersionStatus.RETIRED:
            _button(situation, "Roll back to this version", "rollback", "history", primary=True)
        if decides and status is VersionStatus.CHAMPION and situation.rollback_targets:
            _button(situation, "Roll back", "rollback", "history")
        if actor.may(Permission.PROMOTION_PROPOSE) and candidate:
            _button(situation, "Propose promotion", "propose", "campaign", primary=True)
        if decides and candidate and situation.champion:
            if version.is_shadow:
                _button(situation, "Stop the shadow", "shadow_stop", "visibility_off")
            else:
                _button(situation, "Start as shadow", "shadow_start", "visibility")
        if actor.may(Permission.TRAINING_CONTROL):
            st.button(
                "Evaluate" if version.rmse is None else "Evaluate again",
                icon=":material/fact_check:",
                key="models_evaluate",
                on_click=evaluate,
                args=(version.version,),
                help="Every hospital measures it beside the version in use on its held-out patients.",
            )
    if candidate and version.rmse is None:
        st.info(
            "This version has no figures yet, so it can be neither promoted nor proposed. "
            + (
                "Press **Evaluate** first."
                if actor.may(Permission.TRAINING_CONTROL)
                else "An administrator has it evaluated first."
            ),
            icon=":material/info:",
        )
    for name, dialog in _DIALOGS.items():
        if is_open(f"models_{name}"):
            st.dialog(dialog.title, on_dismiss=close_dialog)(dialog.ask)(situation)


@acting(Permission.TRAINING_CONTROL)
def evaluate(actor: Actor, version: str) -> None:
    """Ask for a Run that evaluates a version; a callback."""
    with central_session() as central:
        run = training.start_run(central=central, actor=actor, kind=RunKind.EVALUATION, start_version=version)
        st.session_state[_EVALUATION] = run.id


@acting(Permission.PROMOTE)
def ask_to_promote(actor: Actor, situation: Situation) -> None:
    """Ask why the version is to be put into use, and do it."""
    name = situation.version.version
    instead = f" instead of {plain(situation.expected)}" if situation.expected else ""
    st.markdown(
        f"Version {plain(name)} makes every prediction from now on{instead}. You can roll back at any time."
    )
    _ask(
        "Promote",
        lambda reason: _done(
            lambda central: registry.promote(
                central=central,
                actor=actor,
                version=name,
                reason=reason,
                expected_champion=situation.expected,
            ),
            f"Version {name} is in use now.",
        ),
    )


@acting(Permission.PROMOTE)
def ask_to_reject(actor: Actor, situation: Situation) -> None:
    """Ask why the version is not adopted, and note it."""
    name = situation.version.version
    st.markdown(f"Version {plain(name)} stays on record as not adopted. It can still be promoted later.")
    _ask(
        "Reject",
        lambda reason: _done(
            lambda central: registry.reject(central=central, actor=actor, version=name, reason=reason),
            f"Version {name} is not adopted.",
        ),
    )


@acting(Permission.PROMOTE)
def ask_to_roll_back(actor: Actor, situation: Situation) -> None:
    """Ask which version to go back to and why, and do it."""
    target = situation.version.version
    if situation.version.status == VersionStatus.CHAMPION:
        st.markdown(
            f"Version {plain(target)} is retired; a version that was in use before makes the predictions again."
        )
        target = st.selectbox(
            "Go back to",
            situation.rollback_targets,
            format_func=lambda name: (
                f"{name} (in use before)" if name == situation.rollback_targets[0] else name
            ),
            key="models_rollback_target",
        )
    else:
        st.markdown(
            f"Version {plain(target)} makes the predictions again, instead of {plain(situation.expected)}."
        )
    _ask(
        "Roll back",
        lambda reason: _done(
            lambda central: registry.roll_back(
                central=central,
                actor=actor,
                version=target,
                reason=reason,
                expected_champion=situation.expected,
            ),
            f"Version {target} is in use again.",
        ),
    )


@acting(Permission.PROMOTION_PROPOSE)
def ask_to_propose(actor: Actor, situation: Situation) -> None:
    """Ask why the version should be promoted, and tell the administrators."""
    name = situation.version.version
    st.markdown(f"Administrators see your proposal with version {plain(name)} and decide.")
    _ask(
        "Propose",
        lambda reason: _done(
            lambda central: registry.propose(central=central, actor=actor, version=name, reason=reason),
            f"Version {name} is proposed. An administrator decides.",
        ),
    )


@acting(Permission.PROMOTE)
def ask_to_start_shadow(actor: Actor, situation: Situation) -> None:
    """Ask why the version is to predict unseen, and start it."""
    name = situation.version.version
    st.markdown(
        f"For every prediction that is saved, version {plain(name)} predicts too. Nobody is shown its costs. Once "
        "actual costs become known, the errors of both are compared."
    )
    _ask(
        "Start the shadow",
        lambda reason: _done(
            lambda central: registry.start_shadow(central=central, actor=actor, version=name, reason=reason),
            f"Version {name} predicts as the shadow.",
        ),
    )


@acting(Permission.PROMOTE)
def ask_to_stop_shadow(actor: Actor, situation: Situation) -> None:
    """Ask why the version is to predict no more, and stop it."""
    name = situation.version.version
    st.markdown(f"Version {plain(name)} predicts no more. What it has predicted is still compared.")
    _ask(
        "Stop the shadow",
        lambda reason: _done(
            lambda central: registry.stop_shadow(central=central, actor=actor, version=name, reason=reason),
            f"The shadow {name} is stopped.",
        ),
    )


@dataclass(frozen=True)
class _Dialog:
    title: str
    ask: Callable[[Situation], None]


_DIALOGS = {
    "promote": _Dialog("Put this version into use?", ask_to_promote),
    "reject": _Dialog("Reject this version?", ask_to_reject),
    "rollback": _Dialog("Roll back?", ask_to_roll_back),
    "propose": _Dialog("Propose this version?", ask_to_propose),
    "shadow_start": _Dialog("Let this version predict unseen?", ask_to_start_shadow),
    "shadow_stop": _Dialog("Stop the shadow?", ask_to_stop_shadow),
}


def _button(situation: Situation, label: str, name: str, icon: str, *, primary: bool = False) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        type="primary" if primary else "secondary",
        key=f"models_{name}",
        on_click=_open,
        args=(f"models_{name}", situation.champion or NOTHING_IN_USE),
    )


def _open(dialog: str, champion: str) -> None:
    st.session_state[_SEEN] = champion
    st.session_state.pop(REASON, None)
    open_dialog(dialog)


def _ask(label: str, decide: Callable[[str], None]) -> None:
    """Draw the field for the reason, what is wrong with it right below, and the button that decides."""
    reason = st.text_area(
        "Reason",
        key=REASON,
        max_chars=LONGEST_REASON,
        height=100,
        help="Kept for good with your name, and shown to everybody who compares models.",
    )
    problem = st.empty()
    with st.container(horizontal=True):
        decided = st.button(label, type="primary", key="models_confirmed")
        st.button("Cancel", key="models_cancelled", on_click=close_dialog)
    if not decided:
        return
    try:
        decide(reason)
    except (InvalidInput, Conflict) as refused:
        problem.error(plain(str(refused)), icon=":material/error:")
        return
    close_dialog()
    st.session_state.pop(REASON, None)
    st.rerun()


def _done(decide: Callable[..., object], notice: str) -> None:
    with central_session() as central:
        decide(central)
    st.session_state[_NOTICE] = notice
