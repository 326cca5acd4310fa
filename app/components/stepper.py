"""The states that a Run passes, as a row of steps with the present one marked."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

import streamlit as st

from app.components.browser import theme_colour
from app.components.formats import RUN_STATUS_NAMES
from db.states import RunKind, RunStatus

StepState = Literal["done", "now", "todo", "bad"]

_PASSED = (
    RunStatus.QUEUED,
    RunStatus.STARTING,
    RunStatus.STATISTICS,
    RunStatus.TRAINING,
    RunStatus.EVALUATING,
    RunStatus.COMPLETED,
)

_STYLE = """<style>
.fc-steps{list-style:none!important;display:flex;margin:0!important;padding:0!important}
.fc-steps li{flex:1;min-width:0;margin:0!important;padding:0!important;text-align:center;position:relative;
  font-size:.875rem;line-height:1.25}
.fc-steps li::before{content:"";position:absolute;top:.8rem;left:-50%;width:100%;height:2px;
  background:currentColor;opacity:.25}
.fc-steps li:first-child::before{display:none}
.fc-steps .dot{position:relative;display:flex;align-items:center;justify-content:center;width:1.6rem;
  height:1.6rem;margin:0 auto .35rem;border-radius:50%;font-size:.8rem;font-weight:650;
  background:var(--fc-ground);border:2px solid color-mix(in srgb,currentColor 40%,var(--fc-ground))}
.fc-steps .done .dot{background:var(--fc-accent);border-color:var(--fc-accent);color:var(--fc-ground)}
.fc-steps .done::before,.fc-steps .now::before{background:var(--fc-accent);opacity:1}
.fc-steps .now .dot{border-color:var(--fc-accent);box-shadow:0 0 0 4px
  color-mix(in srgb,var(--fc-accent) 25%,transparent)}
.fc-steps .now .label{font-weight:650}
.fc-steps .bad .dot{background:var(--fc-bad);border-color:var(--fc-bad);color:var(--fc-ground)}
.fc-steps .bad .label{font-weight:650}
.fc-steps .todo .label{opacity:.75}
@media (prefers-reduced-motion:no-preference){
  .fc-steps .now .dot{animation:fc-breathe 1.6s ease-in-out infinite}
  @keyframes fc-breathe{50%{box-shadow:0 0 0 7px color-mix(in srgb,var(--fc-accent) 8%,transparent)}}
}
@media (max-width:640px){
  .fc-steps .label{font-size:.72rem}
  .fc-steps .todo .label,.fc-steps .done:not(.end) .label{position:absolute;width:1px;height:1px;overflow:hidden;
    clip-path:inset(50%)}
  .fc-steps .now .label,.fc-steps .done.end .label{white-space:nowrap}
}
</style>"""


@dataclass(frozen=True)
class Step:
    """One step: its words and whether it is behind, present, ahead, or where the Run ended badly."""

    label: str
    state: StepState


# A Run that trains nothing asks the hospitals once.
_PASSED_WITHOUT_TRAINING = (
    RunStatus.QUEUED,
    RunStatus.STARTING,
    RunStatus.EVALUATING,
    RunStatus.COMPLETED,
)


def steps_of(
    status: str,
    *,
    reached: str,
    current_round: int,
    num_rounds: int,
    kind: str = RunKind.FEDERATED,
) -> list[Step]:
    """Return the steps of a Run.

    Parameters
    ----------
    status
        The Run's status.
    reached
        The last of queued .. evaluating that the Run is known to have reached; where a failed or cancelled Run
        ended.
    """
    ended_badly = status in (RunStatus.FAILED, RunStatus.CANCELLED)
    trains = kind == RunKind.FEDERATED
    passes = _PASSED if trains else _PASSED_WITHOUT_TRAINING
    at = RunStatus(reached if ended_badly else status)
    present = passes.index(at if at in passes else RunStatus.EVALUATING)
    steps: list[Step] = []
    for index, passed in enumerate(passes):
        label = RUN_STATUS_NAMES[passed]
        if passed == RunStatus.EVALUATING and not trains:
            label = "Asking the hospitals"
        if passed == RunStatus.TRAINING and current_round:
            label = f"Round {current_round} of {num_rounds}"
        state: StepState = "todo"
        if index < present or status == RunStatus.COMPLETED:
            state = "done"
        elif index == present:
            state = "bad" if ended_badly else "now"
            label = f"{RUN_STATUS_NAMES[status]} at: {label.lower()}" if ended_badly else label
        steps.append(Step(label, state))
    return steps


def show_steps(steps: list[Step]) -> None:
    """Draw the steps; a screen reader hears an ordered list with the present step marked."""
    marks: dict[StepState, str] = {"done": "✓", "bad": "!", "now": "", "todo": ""}
    items = "".join(
        f'<li class="{step.state}{" end" if position == len(steps) else ""}"'
        f"{' aria-current=step' if step.state in ('now', 'bad') else ''}>"
        f'<span class="dot" aria-hidden="true">{marks[step.state] or position}</span>'
        f'<span class="label">{escape(step.label)}</span></li>'
        for position, step in enumerate(steps, start=1)
    )
    st.html(
        f'{_STYLE}<ol class="fc-steps" aria-label="Progress of the run" '
        f'style="--fc-accent:{theme_colour("primaryColor")};--fc-ground:{theme_colour("backgroundColor")};'
        f'--fc-bad:{theme_colour("redColor")}">{items}</ol>'
    )
