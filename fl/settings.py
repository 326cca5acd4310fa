"""The settings of one Run: defaults, limits and what each means; stored in `training_runs.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fl.features import FieldProblem

DEFAULT_ROUNDS = 10
MAX_ROUNDS = 1000

# Strategy name -> one sentence on when to use it.
STRATEGIES: dict[str, str] = {
    "fedavg": "Federated averaging: weights averaged by each hospital's number of rows. The usual choice.",
}
OPTIMIZERS = ("adamw", "adam", "sgd")


@dataclass(frozen=True)
class RunSettings:
    """How a Run trains.

    Attributes
    ----------
    local_epochs, batch_size, learning_rate, optimizer, weight_decay
        Local training at each Site in each Round. AdamW with `weight_decay` 0 is Adam
        (Loshchilov and Hutter 2019, decoupled weight decay).
    min_sites
        A Run, and each Round, needs usable answers from at least so many Sites.
    min_rows
        A Site with fewer patients of known cost sits out.
    round_time_limit
        Seconds; a Site that has not answered by then is dropped for that Round.
    join_time_limit
        Seconds to wait for `min_sites` SuperNodes before the Run fails.
    split_salt
        Goes into the hash that puts 80 % of the rows on the training side.
    max_site_harm
        A new version is promoted by rule only if no Site's R2 falls by more than this.
    """

    local_epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 2.0
    min_sites: int = 2
    min_rows: int = 30
    round_time_limit: float = 60.0
    join_time_limit: float = 30.0
    split_salt: str = "fedcost"
    max_site_harm: float = 0.02

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSettings:
        """Read what `to_json` wrote; a setting that is not there has its default."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


# Setting -> lowest and highest accepted value.
LIMITS: dict[str, tuple[float, float]] = {
    "local_epochs": (1, 100),
    "batch_size": (1, 4096),
    "learning_rate": (1e-6, 1.0),
    "weight_decay": (0.0, 10.0),
    "min_sites": (1, 1000),
    "min_rows": (10, 1_000_000),
    "round_time_limit": (1.0, 3600.0),
    "join_time_limit": (1.0, 600.0),
    "max_site_harm": (0.0, 1.0),
}


def check_run(num_rounds: int, strategy: str, settings: RunSettings) -> list[FieldProblem]:
    """Return everything wrong with a request for a Run, one sentence a field; empty if it may start."""
    problems: list[FieldProblem] = []
    if not 1 <= num_rounds <= MAX_ROUNDS:
        problems.append(
            FieldProblem(
                "num_rounds", f"The number of rounds must be from 1 to {MAX_ROUNDS}, not {num_rounds}."
            )
        )
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        problems.append(FieldProblem("strategy", f"Strategy {strategy[:40]!r} is not known; choose {known}."))
    if settings.optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        problems.append(FieldProblem("optimizer", f"The optimizer must be one of {known}."))
    for name, (low, high) in LIMITS.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            problems.append(FieldProblem(name, f"{name} must be from {low:g} to {high:g}, not {value:g}."))
    return problems
