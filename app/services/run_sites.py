"""What the hospitals did in a Run, for charts and tables that stay quick with 1,000 Rounds and 50 hospitals.

A chart needs no more points than it has pixels: of a long Run every n-th Round is read, whole as it was measured.
While a Run is at work only the Rounds that may have changed are read again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services.metrics import finite
from db.central import Institution, SiteResult
from db.states import Phase, SiteOutcome

MAX_POINTS = 250  # of one line
LATER = 2**31  # a Round that no Run reaches: with it, only every n-th Round and the first are drawn


@dataclass(frozen=True)
class SitePoint:
    """One Site in one Round: MAE and RMSE in USD on its own held-out patients, loss of the standardised cost.

    `seconds` is its work at training and `update_norm` the L2 norm of the change it sent.
    """

    round_number: int
    loss: float | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    num_examples: int | None = None
    seconds: float | None = None
    update_norm: float | None = None


@dataclass(frozen=True)
class RangePoint:
    """The lowest and highest value of any Site after one Round."""

    round_number: int
    loss: tuple[float, float] | None
    mae: tuple[float, float] | None
    r2: tuple[float, float] | None


@dataclass(frozen=True)
class SiteLines:
    """The lines of some Sites over some Rounds.

    Attributes
    ----------
    rounds
        First and last Round asked for.
    step
        Every so many Rounds one was read.
    settled
        The last Round about which nothing more can arrive.
    lines
        Institution code -> its points in the order of the Rounds.
    """

    run_id: int
    rounds: tuple[int, int]
    step: int
    settled: int
    codes: frozenset[str]
    lines: dict[str, list[SitePoint]] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteRange:
    """The range of all Sites over some Rounds, read as `SiteLines` are."""

    run_id: int
    first: int
    step: int
    settled: int
    points: list[RangePoint]


def step_for(rounds: tuple[int, int]) -> int:
    """Return every how many Rounds one is drawn."""
    first, last = rounds
    return max(1, -(-(last - first + 1) // MAX_POINTS))


def is_drawn(round_number: int, rounds: tuple[int, int], step: int, newest: int) -> bool:
    """Tell whether a chart has a point for a Round: every n-th, the first, and the newest ones."""
    first, last = rounds
    return first <= round_number <= last and (
        round_number % step == 0 or round_number == first or newest - 1 <= round_number
    )


def site_lines(
    *,
    central: Session,
    actor: Actor,
    run_id: int,
    codes: Collection[str],
    rounds: tuple[int, int],
    current_round: int,
    known: SiteLines | None = None,
) -> SiteLines:
    """Read the lines of the institutions `codes` in the Rounds of a chart.

    Parameters
    ----------
    current_round
        Of the Run, as it was read before this.
    known
        What was read before; of the same lines only what may have changed is read again.
    """
    actor.require(Permission.TRAINING_READ)
    step = step_for(rounds)
    asked = SiteLines(run_id, rounds, step, max(current_round - 2, 0), frozenset(codes))
    reusable = (
        known is not None
        and (known.run_id, known.step, known.codes, known.rounds[0]) == (run_id, step, asked.codes, rounds[0])
        and known.rounds[1] <= rounds[1]
    )
    after = known.settled if known is not None and reusable else 0
    lines: dict[str, list[SitePoint]] = {code: [] for code in sorted(asked.codes)}
    if known is not None and reusable:
        for code, points in known.lines.items():
            lines[code] = [
                point
                for point in points
                if point.round_number <= after and is_drawn(point.round_number, rounds, step, LATER)
            ]
    for code, points in _read_lines(central, asked, current_round, after).items():
        lines[code].extend(points)
    return replace(asked, lines=lines)


def site_range(
    *,
    central: Session,
    actor: Actor,
    run_id: int,
    rounds: tuple[int, int],
    current_round: int,
    known: SiteRange | None = None,
) -> SiteRange:
    """Read the lowest and highest value of all Sites by Round, for a Run of too many Sites for a line each.

    Parameters
    ----------
    known
        What was read before; of the same range only what may have changed is read again.
    """
    actor.require(Permission.TRAINING_READ)
    columns = (SiteResult.loss, SiteResult.mae, SiteResult.r2)
    step = step_for(rounds)
    before, after = [], 0
    if known is not None and (known.run_id, known.first, known.step) == (run_id, rounds[0], step):
        after = min(known.settled, rounds[1])
        before = [
            point
            for point in known.points
            if point.round_number <= after and is_drawn(point.round_number, rounds, step, LATER)
        ]
    rows = central.execute(
        select(
            SiteResult.round_number,
            *(extreme(column) for column in columns for extreme in (func.min, func.max)),
        )
        .where(
            SiteResult.run_id == run_id,
            SiteResult.phase == Phase.EVALUATE,
            SiteResult.outcome == SiteOutcome.OK,
            SiteResult.round_number > after,
            _drawn(rounds, step, current_round),
        )
        .group_by(SiteResult.round_number)
        .order_by(SiteResult.round_number)
    )
    points = [RangePoint(row[0], *(_pair(row[at], row[at + 1]) for at in (1, 3, 5))) for row in rows]
    return SiteRange(run_id, rounds[0], step, max(current_round - 2, 0), before + points)


def _drawn(rounds: tuple[int, int], step: int, newest: int) -> ColumnElement[bool]:
    first, last = rounds
    number = SiteResult.round_number
    within = number.between(first, last)
    return within if step == 1 else within & or_(number % step == 0, number == first, number >= newest - 1)


def _read_lines(
    central: Session, asked: SiteLines, current_round: int, after: int
) -> dict[str, list[SitePoint]]:
    ids = dict(
        central.execute(
            select(Institution.id, Institution.code).where(Institution.code.in_(asked.codes))
        ).all()
    )
    rows = central.execute(
        select(
            SiteResult.institution_id,
            SiteResult.round_number,
            SiteResult.phase,
            SiteResult.loss,
            SiteResult.mae,
            SiteResult.rmse,
            SiteResult.r2,
            SiteResult.num_examples,
            SiteResult.seconds,
            SiteResult.update_norm,
        )
        .where(
            SiteResult.run_id == asked.run_id,
            SiteResult.institution_id.in_(ids),
            SiteResult.phase.in_((Phase.TRAIN, Phase.EVALUATE)),
            SiteResult.outcome == SiteOutcome.OK,
            SiteResult.round_number > after,
            _drawn(asked.rounds, asked.step, current_round),
        )
        .order_by(SiteResult.round_number)
    )
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for site, number, phase, loss, mae, rmse, r2, num_examples, seconds, update_norm in rows:
        values = found.setdefault((site, number), {})
        if phase == Phase.TRAIN:
            values.update(seconds=finite(seconds), update_norm=finite(update_norm))
        else:
            values.update(
                loss=finite(loss),
                mae=finite(mae),
                rmse=finite(rmse),
                r2=finite(r2),
                num_examples=num_examples,
            )
    lines: dict[str, list[SitePoint]] = {}
    for (site, number), values in found.items():
        lines.setdefault(ids[site], []).append(SitePoint(number, **values))
    return lines


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    low, high = finite(low), finite(high)
    return None if low is None or high is None else (low, high)
