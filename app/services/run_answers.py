"""Who took part in a Run: how often every hospital answered in which way, and what it did Round by Round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services.metrics import finite
from app.services.run_sites import LATER
from db.central import Institution, SiteResult
from db.states import SiteOutcome

REASONS_SHOWN = 20  # Rounds that are named for one reason


@dataclass(frozen=True)
class AnswerCount:
    """How often one institution answered in one way; `rounds` are the first twenty, 0 is the statistics.

    `num_examples` is of the `last` of them.
    """

    code: str
    name: str
    phase: str
    outcome: str
    reason: str | None
    count: int
    rounds: list[int]
    last: int
    num_examples: int | None


@dataclass(frozen=True)
class AnswerCounts:
    """All answers of a Run: `counted` up to the Round `settled`, `answers` with those that may still change."""

    run_id: int
    settled: int
    counted: tuple[AnswerCount, ...]
    answers: tuple[AnswerCount, ...] = ()


@dataclass(frozen=True)
class GridCell:
    """What one institution did in one Round, or why it did not; Round 0 is the statistics."""

    code: str
    round_number: int
    phase: str
    outcome: str
    reason: str | None
    num_examples: int | None
    seconds: float | None


def answer_counts(
    *, central: Session, actor: Actor, run_id: int, current_round: int, known: AnswerCounts | None = None
) -> AnswerCounts:
    """Count the answers of every institution in a Run, by phase, outcome and reason.

    Parameters
    ----------
    current_round
        Of the Run, as it was read before this.
    known
        What was counted before; only what has arrived since is counted again.
    """
    actor.require(Permission.TRAINING_READ)
    before = known if known is not None and known.run_id == run_id else AnswerCounts(run_id, -1, ())
    settled = max(current_round - 2, before.settled)
    if settled > before.settled:
        arrived = _counts(central, run_id, before.settled + 1, settled)
        before = AnswerCounts(run_id, settled, _added(before.counted, arrived))
    open_rounds = _counts(central, run_id, settled + 1, LATER)
    return replace(before, answers=_added(before.counted, open_rounds))


def _counts(central: Session, run_id: int, first: int, last: int) -> list[AnswerCount]:
    in_order = func.array_agg(SiteResult.round_number)
    counted = (
        select(
            SiteResult.institution_id.label("institution_id"),
            SiteResult.phase.label("phase"),
            SiteResult.outcome.label("outcome"),
            SiteResult.reason.label("reason"),
            func.count().label("times"),
            # An answer that was used needs no list of its Rounds.
            in_order.filter(SiteResult.outcome != SiteOutcome.OK).label("rounds"),
            func.max(SiteResult.round_number).label("last"),
        )
        .where(SiteResult.run_id == run_id, SiteResult.round_number.between(first, last))
        .group_by(SiteResult.institution_id, SiteResult.phase, SiteResult.outcome, SiteResult.reason)
        .subquery()
    )
    rows = central.execute(
        select(Institution.code, Institution.name, counted, SiteResult.num_examples)
        .join(Institution, Institution.id == counted.c.institution_id)
        .join(
            SiteResult,
            (SiteResult.run_id == run_id)
            & (SiteResult.round_number == counted.c.last)
            & (SiteResult.phase == counted.c.phase)
            & (SiteResult.institution_id == counted.c.institution_id),
        )
    )
    return [
        AnswerCount(
            code=row.code,
            name=row.name,
            phase=row.phase,
            outcome=row.outcome,
            reason=row.reason,
            count=row.times,
            rounds=sorted(row.rounds or [])[:REASONS_SHOWN],
            last=row.last,
            num_examples=row.num_examples,
        )
        for row in rows
    ]


def _added(before: Sequence[AnswerCount], arrived: Sequence[AnswerCount]) -> tuple[AnswerCount, ...]:
    """Add what arrived to what was counted; by institution, the newest answer last."""
    total = {(each.code, each.phase, each.outcome, each.reason): each for each in before}
    for each in arrived:
        key = (each.code, each.phase, each.outcome, each.reason)
        old = total.get(key)
        if old is not None:
            rounds = [*old.rounds, *each.rounds][:REASONS_SHOWN]
            each = replace(each, count=old.count + each.count, rounds=rounds)
        total[key] = each
    return tuple(sorted(total.values(), key=lambda each: (each.code, each.last)))


def participation_grid(
    *, central: Session, actor: Actor, run_id: int, rounds: tuple[int, int]
) -> list[GridCell]:
    """Read what every institution did in some Rounds; Round 0 is the statistics."""
    actor.require(Permission.TRAINING_READ)
    rows = central.execute(
        select(
            Institution.code,
            SiteResult.round_number,
            SiteResult.phase,
            SiteResult.outcome,
            SiteResult.reason,
            SiteResult.num_examples,
            SiteResult.seconds,
        )
        .join(Institution, Institution.id == SiteResult.institution_id)
        .where(SiteResult.run_id == run_id, SiteResult.round_number.between(*rounds))
        .order_by(Institution.code, SiteResult.round_number, SiteResult.id)
    )
    return [GridCell(*row[:6], finite(row.seconds)) for row in rows]


def grid_rounds(current_round: int, page: int, size: int) -> tuple[int, int]:
    """Return the Rounds on one page of the grid; page 0 ends with the newest Round, page 1 comes before it.

    The oldest page begins with the statistics, Round 0.
    """
    last = max(current_round - page * size, 0)
    first = max(last - size + 1, 0)
    return (0 if first == 1 else first), last


def grid_pages(current_round: int, size: int) -> int:
    """Return how many pages the grid has."""
    return max(1, -(-current_round // size))


def every_site(answers: Sequence[AnswerCount]) -> dict[str, str]:
    """Return institution code -> name of everyone who was asked."""
    return {answer.code: answer.name for answer in answers}
