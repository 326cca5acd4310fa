"""Bodies of what is known of the model in use."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.schemas import Answer


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


class ModelMetricsAnswer(Answer):
    """How good the model in use is on every hospital's held-out patients; RMSE and MAE in USD."""

    version: str
    r2: float | None
    mse: float | None
    rmse: float | None
    mae: float | None
    num_examples: int
    metrics: dict[str, Any]
