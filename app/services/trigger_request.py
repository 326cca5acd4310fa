"""What a trigger is wanted to be, everything that is wrong with it, and when its schedule comes up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import InvalidInput
from app.permissions import Permission
from app.services.run_request import read_request, read_settings
from db.states import RunKind
from fl.cron import check_cron, check_zone, next_firings
from fl.cron import zone_names as zone_names
from fl.features import FieldProblem
from fl.settings import DEFAULT_ROUNDS
from fl.triggers import MANUAL, NEW_RECORDS, SCHEDULE, RunToAskFor, TriggerSettings

KINDS = {SCHEDULE: "by a schedule", NEW_RECORDS: "by new patients", MANUAL: "only by its button"}
RUN_KINDS = (
    RunKind.FEDERATED,
    RunKind.LEAST_SQUARES,
    RunKind.COHORT,
)  # an evaluation is of one version, once
SHOWN_FIRINGS = 3
FEWEST_RECORDS, MOST_RECORDS = 10, 10_000_000
LONGEST_NAME = 100


@dataclass(frozen=True)
class TriggerRequest:
    """A trigger as somebody wants it.

    Attributes
    ----------
    kind
        `schedule`, `new_records` or `manual`.
    cron, timezone
        Of a schedule.
    records
        Of a trigger by new patients.
    run_settings
        Settings of the Run that differ from the defaults of its strategy.
    """

    name: str
    kind: str
    cron: str = ""
    timezone: str = "UTC"
    records: int = 0
    only_if_new_data: bool = False
    run_kind: str = RunKind.FEDERATED
    num_rounds: int = DEFAULT_ROUNDS
    strategy: str = "fedavg"
    run_settings: Mapping[str, Any] = field(default_factory=dict)


def check_schedule(cron: str, timezone: str) -> list[FieldProblem]:
    """Return what is wrong with a schedule; empty if it can be kept."""
    problems = []
    if wrong := check_cron(cron):
        problems.append(FieldProblem("cron", wrong))
    if wrong := check_zone(timezone):
        problems.append(FieldProblem("timezone", wrong))
    return problems


def coming_up(cron: str, timezone: str) -> tuple[datetime, ...]:
    """Return the next three times of a schedule that can be kept, in its own zone."""
    return tuple(next_firings(cron, timezone, datetime.now(UTC), SHOWN_FIRINGS))


def problems_of(*, central: Session, actor: Actor, request: TriggerRequest) -> list[FieldProblem]:
    """Return everything wrong with a trigger that somebody is about to save; empty if it can be."""
    actor.require(Permission.TRAINING_CONTROL)
    try:
        read_trigger(central, request)
    except InvalidInput as refused:
        return list(refused.problems)
    return []


def read_trigger(central: Session, request: TriggerRequest) -> TriggerSettings:
    """Return the settings to store.

    Raises
    ------
    InvalidInput
        Naming everything wrong with the request.
    """
    problems = [] if _is_name(request.name.strip()) else [FieldProblem("name", _NAME_RULE)]
    is_schedule, counts = request.kind == SCHEDULE, request.kind == NEW_RECORDS
    if request.kind not in KINDS:
        problems.append(FieldProblem("kind", f"A trigger's kind is one of {', '.join(KINDS)}."))
    if is_schedule:
        problems += check_schedule(request.cron, request.timezone)
    if counts and not FEWEST_RECORDS <= request.records <= MOST_RECORDS:
        message = (
            f"The number of new patients must be from {FEWEST_RECORDS} to {MOST_RECORDS:,}, "
            f"not {request.records:,}."
        )
        problems.append(FieldProblem("records", message))
    if request.run_kind not in RUN_KINDS or (counts and request.run_kind != RunKind.FEDERATED):
        message = (
            "A trigger by new patients asks for a federated training, after which they are not new any more."
            if counts
            else f"A trigger's run is of kind {', '.join(RUN_KINDS)}."
        )
        problems.append(FieldProblem("run_kind", message))
    run = read_request(
        central,
        kind=RunKind(request.run_kind) if request.run_kind in RUN_KINDS else RunKind.FEDERATED,
        num_rounds=request.num_rounds,
        strategy=request.strategy,
        settings=request.run_settings,
        seed=None,
        start_version=None,
        problems=problems,
    )
    return TriggerSettings(
        cron=" ".join(request.cron.split()) if is_schedule else "",
        timezone=request.timezone if is_schedule else "UTC",
        records=request.records if counts else 0,
        only_if_new_data=request.only_if_new_data,
        run=RunToAskFor(run.kind, run.num_rounds, run.strategy, read_settings(request.run_settings)[0]),
    )


_NAME_RULE = f"A trigger has a name of 1 to {LONGEST_NAME} printable characters."


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()
