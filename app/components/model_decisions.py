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
    for name, decision in DECISIONS.items():
        if is_open(f"models_{name}"):
            st.dialog(decision.title, on_dismiss=close_dialog)(ask)(name, situation)


@acting(Permission.TRAINING_CONTROL)
def evaluate(actor: Actor, version: str) -> None:
    """Ask for a Run that evaluates a version; a callback."""
    with central_session() as central:
        run = training.start_run(central=central, actor=actor, kind=RunKind.EVALUATION, start_version=version)
        st.session_state[_EVALUATION] = run.id


def _target(situation: Situation) -> str:
    """Return the version that the person goes back to: a choice of their own if the one in use is shown."""
    if situation.version.status != VersionStatus.CHAMPION:
        return situation.version.version
    chosen: str = st.selectbox(
        "Go back to",
        situation.rollback_targets,
        format_func=lambda name: f"{name} (in use before)" if name == situation.rollback_targets[0] else name,
        key="models_rollback_target",
    )
    return chosen


def _of_promotion(situation: Situation) -> str:
    instead = f" instead of {situation.expected}" if situation.expected else ""
    return f"Version {{}} makes every prediction from now on{instead}. You can roll back at any time."


def _of_rollback(situation: Situation) -> str:
    if situation.version.status == VersionStatus.CHAMPION:
        return "Version {} is retired; a version that was in use before makes the predictions again."
    return f"Version {{}} makes the predictions again, instead of {situation.expected}."


@dataclass(frozen=True)
class Decision:
    """One decision about a version: what it asks, whom, and what it does.

    Attributes
    ----------
    title, label
        Of the dialog, and of the button that decides.
    meaning
        What follows from it; `{}` stands for the version.
    decide
        The service.
    notice
        Said once it is done.
    changes_champion
        Whether the service is told which version the person saw in use.
    target
        The version that it is about.
    """

    permission: Permission
    title: str
    label: str
    meaning: Callable[[Situation], str]
    decide: Callable[..., object]
    notice: str
    changes_champion: bool = False
    target: Callable[[Situation], str] = lambda situation: situation.version.version


DECISIONS: dict[str, Decision] = {
    "promote": Decision(
        Permission.PROMOTE,
        "Put this version into use?",
        "Promote",
        _of_promotion,
        registry.promote,
        "Version {} is in use now.",
        changes_champion=True,
    ),
    "reject": Decision(
        Permission.PROMOTE,
        "Reject this version?",
        "Reject",
        lambda situation: "Version {} stays on record as not adopted. It can still be promoted later.",
        registry.reject,
        "Version {} is not adopted.",
    ),
    "rollback": Decision(
        Permission.PROMOTE,
        "Roll back?",
        "Roll back",
        _of_rollback,
        registry.roll_back,
        "Version {} is in use again.",
        changes_champion=True,
        target=_target,
    ),
    "propose": Decision(
        Permission.PROMOTION_PROPOSE,
        "Propose this version?",
        "Propose",
        lambda situation: "Administrators see your proposal with version {} and decide.",
        registry.propose,
        "Version {} is proposed. An administrator decides.",
    ),
    "shadow_start": Decision(
        Permission.PROMOTE,
        "Let this version predict unseen?",
        "Start the shadow",
        lambda situation: (
            "For every prediction that is saved, version {} predicts too. Nobody is shown its costs. Once "
            "actual costs become known, the errors of both are compared."
        ),
        registry.start_shadow,
        "Version {} predicts as the shadow.",
    ),
    "shadow_stop": Decision(
        Permission.PROMOTE,
        "Stop the shadow?",
        "Stop the shadow",
        lambda situation: "Version {} predicts no more. What it has predicted is still compared.",
        registry.stop_shadow,
        "The shadow {} is stopped.",
    ),
}


def ask(name: str, situation: Situation) -> None:
    """Ask why, in a dialog's body, and carry the decision of this name out; asks for its permission itself."""
    decision = DECISIONS[name]
    acting(decision.permission, action=f"components/model_decisions.py {name}")(_ask)(decision, situation)


def _ask(actor: Actor, decision: Decision, situation: Situation) -> None:
    st.markdown(plain(decision.meaning(situation).format(situation.version.version)))
    target = decision.target(situation)
    reason = st.text_area(
        "Reason",
        key=REASON,
        max_chars=LONGEST_REASON,
        height=100,
        help="Kept for good with your name, and shown to everybody who compares models.",
    )
    problem = st.empty()
    with st.container(horizontal=True):
        decided = st.button(decision.label, type="primary", key="models_confirmed")
        st.button("Cancel", key="models_cancelled", on_click=close_dialog)
    if not decided:
        return
    seen = {"expected_champion": situation.expected} if decision.changes_champion else {}
    try:
        with central_session() as central:
            decision.decide(central=central, actor=actor, version=target, reason=reason, **seen)
    except (InvalidInput, Conflict) as refused:
        problem.error(plain(str(refused)), icon=":material/error:")
        return
    st.session_state[_NOTICE] = decision.notice.format(target)
    close_dialog()
    st.session_state.pop(REASON, None)
    st.rerun()


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
