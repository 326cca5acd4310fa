"""Bodies of what is known of the model in use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from api.schemas import Answer
from app.services.metrics import finite

Measured = Annotated[float | None, BeforeValidator(finite)]


class ModelStatusAnswer(Answer):
    """The model in use; RMSE and MAE in USD."""

    has_model: bool
    message: str
    version: str | None
    trained_at: datetime | None
    run_id: int | None
    training_round: int | None
    num_examples: int | None
    r2: float | None
    rmse: float | None
    mae: float | None


class InstitutionPartAnswer(Answer):
    """One institution's part in a model version; MAE and RMSE in USD a year."""

    code: str
    name: str
    rows_trained: int | None = Field(description="null if it took no part in the Round that made the version")
    rows_held_out: int | None
    r2: float | None
    mae: float | None
    rmse: float | None
    r2_before: float | None = Field(description="of the version in use before, on the same rows")


class GroupQualityAnswer(Answer):
    """How good a model version is for one group of patients; MAE and RMSE in USD a year."""

    feature: str
    code: str = Field(description="the value, or the band: `55-` is from 55, `30-45` from 30 to below 45")
    feature_label: str
    label: str
    withheld: bool = Field(description="fewer than ten patients are left to speak of; all figures are null")
    num_examples: int | None
    r2: float | None
    mae: float | None
    rmse: float | None


class SmokerIntervalAnswer(Answer):
    """The 90 % interval of one smoker group, in USD a year to add to a predicted cost."""

    smoker: str
    label: str
    low: float | None = Field(description="null if too few rows were held out")
    high: float | None
    num_examples: int | None
    all_patients: bool = Field(description="made of all patients, because the group has too few of its own")


class ModelMetricsAnswer(Answer):
    """How good the model in use is on every hospital's held-out patients; RMSE and MAE in USD."""

    version: str
    r2: float | None
    mse: float | None
    rmse: float | None
    mae: float | None
    num_examples: int
    metrics: dict[str, Any] = Field(description="as training stored them with the version")
    groups: list[GroupQualityAnswer] = Field(description="empty of a version of before there were any")
    intervals: list[SmokerIntervalAnswer] = Field(description="empty of a version without any")


class ModelCardAnswer(Answer):
    """What anybody may know of a model version; MAE and RMSE in USD a year."""

    version: str
    status: str
    trained_at: datetime = Field(description="of an imported version: when it was imported")
    run_id: int | None = Field(description="null of an imported version")
    training_round: int | None
    num_examples: int = Field(description="rows trained on, all institutions together")
    weights_sha256: str
    r2: float | None
    mae: float | None
    rmse: float | None
    decision: str | None = Field(description="why it came into use, or did not")
    before: str | None = Field(description="the version that was in use when this one was made")
    institutions: list[InstitutionPartAnswer]
    groups: list[GroupQualityAnswer]
    intervals: list[SmokerIntervalAnswer]


class VersionAnswer(Answer):
    """One model version; MSE in USD squared, RMSE and MAE in USD, on every hospital's held-out patients."""

    version: str
    status: str
    origin: str = Field(description="`run` or `import`")
    is_shadow: bool = Field(description="predicts beside the version in use, shown to nobody")
    run_id: int | None = Field(description="null of an imported version")
    training_round: int | None
    trained_at: datetime = Field(description="of an imported version: when it was imported")
    num_examples: int = Field(description="rows trained on; 0 of an imported version, for it is not known")
    weights_sha256: str
    r2: Measured
    mse: Measured
    rmse: Measured
    mae: Measured
