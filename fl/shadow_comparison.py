"""Gathers, at the end of a Run, how the shadow did beside the version in use on patients whose cost became known."""

from __future__ import annotations

import math
from typing import Any

from flwr.app import MessageType
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.central import ModelVersion
from db.federation import ShadowComparison
from db.states import VersionStatus
from fl.evaluation import SMALLEST_CELL
from fl.exchange import Answer, ask
from fl.messages import array_of
from fl.roster import Roster

MOST_SECONDS = 10.0  # a Site that has not answered by then is asked again in the next Run
SUMS = ("champion_error", "shadow_error", "difference", "difference_squared")


def gather_shadow(roster: Roster) -> None:
    """Ask every Site how the shadow did, and keep what each told; nothing if there is no shadow.

    A Site that does not answer keeps the Run from nothing: what it told last stands.
    """
    pair = roster.recorder.transact(_pair)
    if pair is None:
        return
    (champion_id, champion), (shadow_id, shadow) = pair
    told: dict[str, dict[str, Any]] = {}

    def on_answer(answer: Answer) -> None:
        code = answer.institution
        if answer.outcome == "ok" and code in roster.plan.institutions and code not in told:
            try:
                told[code] = read_sums(answer.body)
            except (KeyError, TypeError, ValueError) as problem:
                roster.recorder.event(
                    f"The comparison with the shadow version from {code} was rejected: {problem}."
                )

    messages = roster.messages({"champion": champion, "shadow": shadow}, f"{MessageType.QUERY}.shadow")
    ask(
        roster.grid,
        roster.key_holders,
        messages,
        time_limit=min(roster.plan.settings.round_time_limit, MOST_SECONDS),
        on_answer=on_answer,
        check=roster.recorder.check_cancelled,
    )
    kept = {code: sums for code, sums in told.items() if sums["num_examples"]}

    def write(session: Session) -> None:
        for code, sums in kept.items():
            _keep(session, champion_id, shadow_id, roster.plan.institutions[code], sums)

    if kept:
        roster.recorder.transact(write)
    patients = sum(sums["num_examples"] for sums in kept.values())
    roster.recorder.event(
        f"The shadow version {shadow} was compared with {champion} on {patients:,} patients whose cost became known "
        "after both had predicted it."
    )


def read_sums(body: dict[str, Any]) -> dict[str, Any]:
    """Read what `fl.site_shadow.error_sums` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing or cannot be; the message says what.
    """
    count = body["num_examples"]
    if not isinstance(count, int) or count < 0 or count % SMALLEST_CELL:
        raise ValueError("it does not speak of whole tens of patients")
    numbers = [float(number) for number in array_of(body["errors"], "<f8")]
    if len(numbers) != len(SUMS) or not all(map(math.isfinite, numbers)):
        raise ValueError("a sum of errors is missing or is no number")
    champion, shadow, difference, squared = numbers
    tolerance = 1e-6 * (1 + champion + shadow)
    if min(champion, shadow, squared) < 0 or abs(shadow - champion - difference) > tolerance:
        raise ValueError("the sums of errors contradict each other")
    if difference**2 > count * squared * (1 + 1e-6) + tolerance:
        raise ValueError("the sum of squares is smaller than it can be")
    return {"num_examples": count, **dict(zip(SUMS, numbers, strict=True))}


def _pair(session: Session) -> tuple[tuple[int, str], tuple[int, str]] | None:
    """Return id and name of the version in use and of the shadow."""
    columns = select(ModelVersion.id, ModelVersion.version)
    champion = session.execute(columns.where(ModelVersion.status == VersionStatus.CHAMPION)).one_or_none()
    shadow = session.execute(columns.where(ModelVersion.is_shadow)).one_or_none()
    if champion is None or shadow is None:
        return None
    return (champion.id, champion.version), (shadow.id, shadow.version)


def _keep(
    session: Session, champion_id: int, shadow_id: int, institution_id: int, sums: dict[str, Any]
) -> None:
    key = {
        "champion_version_id": champion_id,
        "shadow_version_id": shadow_id,
        "institution_id": institution_id,
    }
    session.execute(
        insert(ShadowComparison)
        .values(**key, **sums)
        .on_conflict_do_update(index_elements=list(key), set_={**sums, "counted_at": func.now()})
    )
