"""What the API accepts and answers; the six features come from `fl.features`, so a new one is one line there."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StrictInt, StrictStr, create_model

from fl.features import FEATURES, Feature
from fl.settings import DEFAULT_ROUNDS

T = TypeVar("T")

Usd = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]


class Request(BaseModel):
    """A request's body; a field that is not declared is refused rather than ignored."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """An answer's body, read from a model of the database or from a dataclass."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())


class Items(Answer, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None


class Problem(BaseModel):
    """One field that is wrong."""

    field: str
    message: str


class ErrorBody(BaseModel):
    """Every error: a sentence, and the fields it is about if it is about fields."""

    detail: str
    problems: list[Problem] | None = None


def _accepted(feature: Feature) -> Any:
    """Return the annotation of a feature in a request.

    Ranges and categories are documented here and checked by `fl.features.validate`, so that the API, the form and
    the import say the same sentence.
    """
    described = f"{feature.label}: {feature.expectation}."
    if feature.kind == "category":
        return Annotated[
            StrictStr, Field(description=described, json_schema_extra={"enum": [*feature.values]})
        ]
    limits = {"minimum": feature.minimum, "maximum": feature.maximum}
    if feature.kind == "integer":
        schema: dict[str, Any] = {**limits, "type": "integer"}
        return Annotated[StrictInt, Field(description=described, json_schema_extra=schema)]
    return Annotated[float, Field(strict=True, description=described, json_schema_extra={**limits})]


class _PatientReference(Request):
    patient_id: uuid.UUID | None = Field(
        None, description="One of your own hospital's patients, to keep the prediction with."
    )


if TYPE_CHECKING:
    PredictionRequest = _PatientReference
else:
    PredictionRequest = create_model(
        "PredictionRequest",
        __base__=_PatientReference,
        __doc__="The six features of one patient.",
        **{feature.name: (_accepted(feature), ...) for feature in FEATURES},
    )


def features_of(request: BaseModel) -> dict[str, object]:
    """Return the features of a request by name."""
    return {feature.name: getattr(request, feature.name) for feature in FEATURES}


class LoginRequest(Request):
    """Who signs in."""

    email: str = Field(max_length=255)
    password: str = Field(max_length=255)


class LoginAnswer(Answer):
    """A token to send as `Authorization: Bearer ...`."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="seconds")


class HealthAnswer(Answer):
    """Whether this process and what it stands on are up."""

    status: Literal["ok", "degraded"]
    database: Literal["up", "down"]
    federation: Literal["up", "starting", "down"]
    version: str


_VALUE_TYPES = {"integer": int, "number": float, "category": str}


class _PatientIdentity(Answer):
    id: uuid.UUID
    first_name: str
    last_name: str


class _PatientRecord(_PatientIdentity):
    insurance_cost: Usd | None = Field(description="USD a year; null if not known")
    created_at: datetime
    updated_at: datetime


if TYPE_CHECKING:
    PatientAnswer = _PatientRecord
else:
    PatientAnswer = create_model(
        "PatientAnswer",
        __base__=_PatientRecord,
        __doc__="One patient of the caller's own hospital.",
        **{feature.name: (_VALUE_TYPES[feature.kind], ...) for feature in FEATURES},
    )


class PredictionAnswer(Answer):
    """One saved prediction."""

    id: uuid.UUID
    patient_id: uuid.UUID | None
    inputs: dict[str, int | float | str]
    predicted_cost: Usd = Field(description="USD a year")
    model_version: str
    worker_name: str
    created_at: datetime


class NewPredictionAnswer(PredictionAnswer):
    """A prediction just made, with what to be careful about."""

    cautions: list[str]


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


class RunRequest(Request):
    """A Run to start."""

    num_rounds: StrictInt = DEFAULT_ROUNDS
    strategy: str = "fedavg"
    idempotency_key: str | None = Field(
        None, description="A second request with the same key answers the Run of the first."
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
