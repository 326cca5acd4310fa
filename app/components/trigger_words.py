"""How triggers are written for people: when they fire, the Run that they ask for, and what they did last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from app.components.formats import RUN_KIND_NAMES, count, plain
from app.services.triggers import TriggerView
from db.states import RunKind
from fl.settings import STRATEGIES

KIND_NAMES: dict[str, str] = {
    "schedule": "By schedule",
    "new_records": "By new patients",
    "manual": "Saved start",
}
OUTCOME_NAMES: dict[str, str] = {"fired": "Fired", "skipped": "Did not fire", "failed": "Failed"}
OUTCOME_COLOURS: dict[str, Literal["green", "gray", "red"]] = {
    "fired": "green",
    "skipped": "gray",
    "failed": "red",
}


def fires_when(trigger: TriggerView) -> str:
    """Write when a trigger fires, as Markdown."""
    settings = trigger.settings
    if trigger.kind == "schedule":
        when = f"At `{settings.cron}`, time of {plain(settings.timezone)}"
    elif trigger.kind == "new_records":
        patients = count(settings.records, "new patient")
        when = f"When hospitals have told of {patients} with a known cost since the last training"
    else:
        when = "Only by its button"
    return f"{when}{', and only if there are new patients' if settings.only_if_new_data else ''}."


def asks_for(trigger: TriggerView) -> str:
    """Write the Run that a trigger asks for, as Markdown."""
    run = trigger.settings.run
    words = RUN_KIND_NAMES[run.kind]
    if run.kind == RunKind.FEDERATED:
        words += f", {STRATEGIES[run.strategy].label}, {count(run.num_rounds, 'round')}"
    if run.settings:
        words += f", {count(len(run.settings), 'setting')} of its own"
    return plain(f"{words}.")


def coming_times(moments: Sequence[datetime]) -> str:
    """Write moments of a schedule in its own zone, with UTC where that differs, as Markdown."""
    return " · ".join(plain(_time(moment)) for moment in moments)


def _time(moment: datetime) -> str:
    local = f"{moment:%a} {moment.day} {moment:%b %Y, %H:%M %Z}"
    if not moment.utcoffset():
        return local
    return f"{local} ({moment.astimezone(UTC):%H:%M} UTC)"
