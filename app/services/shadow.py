"""How the shadow version does beside the one in use: figures from the Sites, and whether they suffice to decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.actor import Actor
from app.permissions import Permission
from app.services import models
from db.central import Institution, ModelVersion
from db.federation import ShadowComparison
from fl.sequential import FEWEST_VALUES, Sums, interval, values_needed


class Verdict(StrEnum):
    """What the figures allow to conclude."""

    SHADOW = "shadow"
    CHAMPION = "champion"
    GO_ON = "go_on"


@dataclass(frozen=True)
class ShadowFigures:
    """Both versions on the same patients, whose cost became known after both had predicted it.

    Attributes
    ----------
    institution
        Name of the hospital; None: all together.
    champion_error, shadow_error
        Mean absolute error, USD a year.
    difference
        Mean of (shadow's minus champion's absolute error), USD a year; below zero, the shadow is better.
    low, high
        USD a year: holds the difference with 95 % at all times together; None of too few patients.
    """

    institution: str | None
    num_examples: int
    champion_error: float
    shadow_error: float
    difference: float
    low: float | None
    high: float | None
    counted_at: datetime


@dataclass(frozen=True)
class ShadowReport:
    """What is known of a shadow beside one version that was in use.

    Attributes
    ----------
    overall
        None if no hospital has told of ten patients yet.
    more
        About how many more patients it takes until the figures suffice, if the difference stays; None if that is out
        of reach, or not needed.
    sentence
        The verdict in words.
    """

    shadow: str
    champion: str
    institutions: list[ShadowFigures]
    overall: ShadowFigures | None
    verdict: Verdict
    more: int | None
    sentence: str


def shadow_reports(*, central: Session, actor: Actor, version: str) -> list[ShadowReport]:
    """Report on a version that is or was the shadow, beside each version that was in use then, the latest first.

    Raises
    ------
    NotFound
        If there is no such version.
    """
    actor.require(Permission.MODELS_READ)
    row = models.find_version(central, version)
    champion = aliased(ModelVersion)
    query = (
        select(champion.version, Institution.name, ShadowComparison)
        .join(champion, champion.id == ShadowComparison.champion_version_id)
        .join(Institution, Institution.id == ShadowComparison.institution_id)
        .where(ShadowComparison.shadow_version_id == row.id)
        .order_by(ShadowComparison.champion_version_id.desc(), Institution.name)
    )
    found: dict[str, list[tuple[str, ShadowComparison]]] = {}
    for in_use, name, comparison in central.execute(query):
        found.setdefault(in_use, []).append((name, comparison))
    if row.is_shadow:
        now = models.champion(central=central).version
        # The version in use now comes first, also before a hospital has told anything.
        found = {now: found.pop(now, []), **found}
    return [_report(row.version, in_use, parts) for in_use, parts in found.items()]


def _report(shadow: str, champion: str, parts: list[tuple[str, ShadowComparison]]) -> ShadowReport:
    told = [comparison for _, comparison in parts]
    overall = _figures(None, told) if told else None
    verdict, more = _verdict(told)
    return ShadowReport(
        shadow=shadow,
        champion=champion,
        institutions=[_figures(name, [comparison]) for name, comparison in parts],
        overall=overall,
        verdict=verdict,
        more=more,
        sentence=_sentence(shadow, champion, overall, verdict, more),
    )


def _figures(institution: str | None, parts: list[ShadowComparison]) -> ShadowFigures:
    sums = _sums(parts)
    ends = interval(sums)
    return ShadowFigures(
        institution=institution,
        num_examples=sums.count,
        champion_error=math.fsum(part.champion_error for part in parts) / sums.count,
        shadow_error=math.fsum(part.shadow_error for part in parts) / sums.count,
        difference=sums.mean,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        counted_at=max(part.counted_at for part in parts),
    )


def _sums(parts: list[ShadowComparison]) -> Sums:
    return Sums(
        sum(part.num_examples for part in parts),
        math.fsum(part.difference for part in parts),
        math.fsum(part.difference_squared for part in parts),
    )


def _verdict(parts: list[ShadowComparison]) -> tuple[Verdict, int | None]:
    sums = _sums(parts)
    ends = interval(sums)
    if ends is not None and ends[1] < 0:
        return Verdict.SHADOW, None
    if ends is not None and ends[0] > 0:
        return Verdict.CHAMPION, None
    needed = values_needed(sums)
    return Verdict.GO_ON, None if needed is None else max(needed - sums.count, 1)


def _sentence(
    shadow: str, champion: str, overall: ShadowFigures | None, verdict: Verdict, more: int | None
) -> str:
    if overall is None:
        return (
            "No hospital has told of ten patients yet whose cost became known after both versions had predicted it. "
            "They are asked at the end of each training and evaluation."
        )
    by = f"by {abs(overall.difference):,.0f} USD a year on average"
    if verdict is Verdict.SHADOW:
        return f"The shadow {shadow} is better than {champion}, {by}: it can be promoted."
    if verdict is Verdict.CHAMPION:
        return f"Version {champion} is better than the shadow {shadow}, {by}: the shadow can be stopped."
    if overall.num_examples < FEWEST_VALUES:
        return (
            f"Keep going: nothing is concluded from fewer than {FEWEST_VALUES} patients, and {overall.num_examples} "
            "are known so far."
        )
    if more is None:
        return "Keep going: so far the two hardly differ; how many patients would tell them apart cannot be said."
    return f"Keep going: about {more:,} more patients would decide if the difference stays as it is."
