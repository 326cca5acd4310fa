"""Bodies of what the hospitals' patients are like."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas import Answer


class BinAnswer(Answer):
    """Patients in one bin of a number, or of one category."""

    code: str = Field(description="the value, or the band: `65-` is from 65, `15-20` from 15 to below 20")
    label: str
    patients: int | None = Field(description="null where fewer than ten could be computed from it")


class MeasureAnswer(Answer):
    """One feature, or the cost in USD a year."""

    name: str
    label: str
    unit: str
    kind: str = Field(description="integer, number or category")
    missing: int | None = Field(description="patients of whom it is not known; null if too few to say")
    mean: float | None
    sd: float | None = Field(description="standard deviation")
    bins: list[BinAnswer]
    withheld: int = Field(description="patients in bins of which nothing is said")


class InstitutionCohortAnswer(Answer):
    """The patients of one institution; `code` is empty for all together."""

    code: str
    name: str
    count: int
    features: list[MeasureAnswer]


class CohortWarningAnswer(Answer):
    """One thing to look at before training."""

    institution: str
    name: str
    feature: str
    message: str


class AbsentAnswer(Answer):
    """An institution that was not counted, and why."""

    name: str
    reason: str


class CohortAnswer(Answer):
    """What the newest count found."""

    run_id: int
    counted_at: datetime
    institutions: list[InstitutionCohortAnswer]
    pooled: InstitutionCohortAnswer
    warnings: list[CohortWarningAnswer]
    absent: list[AbsentAnswer]
