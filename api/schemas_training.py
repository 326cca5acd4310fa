"""Bodies of starting, watching and cancelling Runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from api.schemas import Answer, Request
from db.states import RunKind
from fl.settings import DEFAULT_ROUNDS, MAX_ROUNDS, STRATEGIES


class RunRequest(Request):
    """A Run to start; without anything in it, ten Rounds of federated averaging."""

    kind: RunKind = Field(
        RunKind.FEDERATED,
        description="Train a model (federated), or ask every hospital once: for the sums of the baseline "
        "(least_squares), for what its patients are like (cohort), or how a version does (evaluation).",
    )
    num_rounds: StrictInt = Field(
        DEFAULT_ROUNDS,
        description="Rounds of training; ignored for the other kinds.",
        json_schema_extra={"minimum": 1, "maximum": MAX_ROUNDS},
    )
    strategy: str = Field("fedavg", description=f"One of {', '.join(STRATEGIES)}.")
    settings: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr] = Field(
        default_factory=dict,
        description="Settings that differ from the strategy's defaults, by name; an unknown name is refused.",
        examples=[{"local_epochs": 2, "learning_rate": 0.0005}],
    )
    seed: StrictInt | None = Field(default=None, description="Makes the Run repeatable; random if not given.")
    resume_run_id: StrictInt | None = Field(
        default=None,
        description="Go on with this failed or cancelled Run after its last saved Round, as it was set up; "
        "settings and seed cannot be given with it.",
    )
    start_version: str | None = Field(
        default=None, max_length=50, description="The model version that an evaluation is of."
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
    """A Run with its Rounds.

    `results` has what it found out besides: the least squares `baseline`, what taking part brought each hospital
    (`local_only`), an `evaluation`. `saved_round` is the last Round from which another Run can go on, 0 if none.
    """

    id: int
    kind: str
    status: str
    error: str | None
    num_rounds: int
    current_round: int
    strategy: str
    settings: dict[str, Any]
    seed: int
    requested_at: datetime
    requested_by_name: str | None
    trigger_name: str | None
    resumed_from_id: int | None
    start_version: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    saved_round: int
    results: dict[str, Any]
    model_version: str | None
    rounds: list[RoundAnswer]


class RunLineAnswer(Answer):
    """One Run of the list; `r2` by Round, of a long Run some forty of them."""

    id: int
    kind: str
    status: str
    strategy: str
    num_rounds: int
    current_round: int
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    requested_by: str | None
    trigger: str | None
    resumed_from_id: int | None
    version: str | None = Field(description="that the Run made")
    start_version: str | None = Field(description="that it started from, or evaluated")
    r2: list[float]
    last_r2: float | None


class RunEventAnswer(Answer):
    """One sentence on what happened in a Run."""

    id: int
    occurred_at: datetime
    severity: str
    message: str
    round_number: int | None
    institution: str | None


class RunLogAnswer(Answer):
    """The newest of a Run's sentences, the newest first; how many there are, and how many warnings and errors."""

    lines: list[RunEventAnswer]
    total: int
    troubles: int


class ComparedRunAnswer(Answer):
    """One of the Runs that are compared, with the Rounds that a chart shows."""

    line: RunLineAnswer
    settings: dict[str, Any]
    seed: int
    points: list[RoundAnswer]
    last: RoundAnswer | None
    best: RoundAnswer | None = Field(description="the Round with the lowest loss")


class ComparisonAnswer(Answer):
    """Runs in the order in which they were asked for, and what was chosen differently: setting, one value a Run."""

    runs: list[ComparedRunAnswer]
    differing: dict[str, list[Any]]
