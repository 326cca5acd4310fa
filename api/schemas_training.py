"""Bodies of starting, watching and cancelling Runs."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, StrictInt

from api.schemas import Answer, Request
from fl.settings import DEFAULT_ROUNDS, MAX_ROUNDS


class RunRequest(Request):
    """A Run to start."""

    num_rounds: StrictInt = Field(
        DEFAULT_ROUNDS,
        description="Rounds of training.",
        json_schema_extra={"minimum": 1, "maximum": MAX_ROUNDS},
    )
    strategy: str = "fedavg"
    idempotency_key: str | None = Field(
        default=None, description="A second request with the same key answers the Run of the first."
    )


class RunAccepted(Answer):
    """A Run and where it stands."""

    id: int
    status: str


class RoundAnswer(Answer):
    """One Round: the aggregated model on all held-out patients; MAE and RMSE in USD."""

    round_number: int
    clients_participated: int | None
    loss: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    num_examples: int | None
    seconds: float | None


class RunAnswer(Answer):
    """A Run with its Rounds."""

    id: int
    status: str
    error: str | None
    num_rounds: int
    current_round: int
    strategy: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    model_version: str | None
    rounds: list[RoundAnswer]
