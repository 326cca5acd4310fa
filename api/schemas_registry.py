"""Bodies of the registry of model versions: decisions with their reasons, comparisons, the shadow, files."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, StrictBool, StrictStr

from api.schemas import Answer, Request
from api.schemas_models import VersionAnswer
from db.states import PromotionAction

REASON = "why, in 3 to 500 characters; kept for good"
EXPECTED = "the version that you saw in use, `` if none; 409 if it is another by now. Not given: not compared"


class ReasonRequest(Request):
    """Why."""

    reason: StrictStr = Field(description=REASON)


class DecisionRequest(ReasonRequest):
    """Why, and what was in use when it was decided."""

    expected_champion: StrictStr | None = Field(default=None, max_length=50, description=EXPECTED)


class ShadowRequest(ReasonRequest):
    """Start or stop."""

    active: StrictBool = Field(description="true starts the shadow, false stops it")


class DecisionAnswer(Answer):
    """One line of the history."""

    version: str
    previous: str | None = Field(
        description="the version that was in use before, if this changed which one is"
    )
    action: PromotionAction
    worker: str | None = Field(description="null: the rule after a Run")
    reason: str
    at: datetime


class PairAnswer(Answer):
    """Two versions on the same held-out rows; MAE and RMSE in USD a year, null where not known or withheld."""

    label: str
    num_examples: int | None
    r2: float | None
    champion_r2: float | None
    mae: float | None
    champion_mae: float | None
    rmse: float | None
    champion_rmse: float | None


class ComparisonAnswer(Answer):
    """A version beside the one that was in use when they were compared."""

    champion: str
    run_id: int | None = Field(description="the Run that compared them")
    compared_at: datetime | None
    decision: str | None = Field(description="what the rule says of it")
    overall: PairAnswer | None
    institutions: list[PairAnswer]
    groups: dict[str, list[PairAnswer]] = Field(description="feature -> its groups")


class ShadowFiguresAnswer(Answer):
    """Both versions on patients whose cost became known after both had predicted it; USD a year."""

    institution: str | None = Field(description="null: all hospitals together")
    num_examples: int
    champion_error: float = Field(description="mean absolute error")
    shadow_error: float = Field(description="mean absolute error")
    difference: float = Field(
        description="mean of absolute errors, shadow less champion; below zero: shadow better"
    )
    low: float | None = Field(description="with `high` holds the difference with 95 % at all times together")
    high: float | None
    counted_at: datetime


class ShadowReportAnswer(Answer):
    """What is known of a shadow beside one version that was in use."""

    champion: str
    institutions: list[ShadowFiguresAnswer]
    overall: ShadowFiguresAnswer | None
    verdict: str = Field(description="`shadow` or `champion` is better, or `go_on`")
    more: int | None = Field(description="about how many more patients would decide")
    sentence: str


class RegisteredAnswer(VersionAnswer):
    """One model version with everything that was decided of it."""

    lineage: dict[str, Any] = Field(
        description="where it comes from: Run, Sites, settings, code; or the file"
    )
    comparison: ComparisonAnswer | None
    decisions: list[DecisionAnswer] = Field(description="the newest first")
    proposals: list[DecisionAnswer] = Field(description="on which nobody has decided yet")
    shadow: list[ShadowReportAnswer]
