"""The settings of one Run: defaults, limits and what each means; stored in `training_runs.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fl.features import FieldProblem

DEFAULT_ROUNDS = 10
MAX_ROUNDS = 1000


@dataclass(frozen=True)
class StrategyChoice:
    """One way to turn the Sites' answers into the next model.

    Attributes
    ----------
    label
        What people read.
    advice
        One sentence on when to use it.
    settings
        Names of the settings of a Run that matter for this strategy besides those of local training.
    rounds
        How many Rounds to suggest.
    """

    label: str
    advice: str
    settings: tuple[str, ...] = ()
    rounds: int = DEFAULT_ROUNDS


SERVER_STEP = ("server_learning_rate",)
MOMENTS = (*SERVER_STEP, "beta_1", "beta_2", "tau")

# Strategy name -> what a person needs to choose it; fl.strategies makes them, docs/strategies.md compares them.
STRATEGIES: dict[str, StrategyChoice] = {
    "fedavg": StrategyChoice(
        "FedAvg", "Weights averaged by each hospital's number of rows. The usual choice; start here."
    ),
    "fedsgd": StrategyChoice(
        "FedSGD",
        "One gradient of all rows and one server step a round: exact however patients are spread, but slow.",
        SERVER_STEP,
        rounds=50,
    ),
    "fedprox": StrategyChoice(
        "FedProx",
        "FedAvg that keeps hospitals near the common model; for hospitals whose patients differ strongly.",
        ("proximal_mu",),
    ),
    "fedavgm": StrategyChoice(
        "FedAvgM",
        "FedAvg with server momentum; can help when rounds swing to and fro. High momentum makes them swing.",
        (*SERVER_STEP, "server_momentum"),
    ),
    "fedadam": StrategyChoice(
        "FedAdam",
        "Adam on the server; for many rounds with few local epochs. Slower than FedAvg on this task.",
        MOMENTS,
        rounds=20,
    ),
    "fedyogi": StrategyChoice(
        "FedYogi",
        "FedAdam whose step sizes change more gently; when FedAdam turns unstable.",
        MOMENTS,
        rounds=20,
    ),
    "fedadagrad": StrategyChoice(
        "FedAdagrad",
        "Server steps that shrink over time; for long runs.",
        (*SERVER_STEP, "tau"),
        rounds=20,
    ),
    "fedmedian": StrategyChoice(
        "FedMedian",
        "The median of each weight: withstands fewer than half of the hospitals being wrong, ignores their sizes.",
    ),
    "trimmed_mean": StrategyChoice(
        "Trimmed mean",
        "Averages each weight without its extremes; for three hospitals and more, some of them suspect.",
        ("trim_share",),
    ),
    "krum": StrategyChoice(
        "Krum",
        "Takes the one update most like the others; against hostile hospitals, at the price of accuracy.",
        ("malicious_sites",),
    ),
    "scaffold": StrategyChoice(
        "SCAFFOLD",
        "Corrects each hospital's drift; for strongly different hospitals. Trains with SGD.",
        SERVER_STEP,
    ),
}
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES: dict[str, str] = {
    "constant": "the same in every round",
    "linear": "falls in equal steps",
    "cosine": "falls slowly at first and at the end",
    "exponential": "falls by the same factor each round",
}
LATE_POLICIES: dict[str, str] = {
    "skip": "goes on without it and asks it again in the next round",
    "drop": "goes on without it and does not ask it again in this run",
    "wait": "waits for it once more as long before going on",
    "end": "ends the run",
}
STARTS = ("random", "champion")
CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": OPTIMIZERS,
    "learning_rate_schedule": tuple(SCHEDULES),
    "late_policy": tuple(LATE_POLICIES),
    "start_from": STARTS,
}


@dataclass(frozen=True)
class RunSettings:
    """How a Run trains.

    Attributes
    ----------
    local_epochs, batch_size, learning_rate, optimizer, weight_decay
        Local training at each Site in each Round. AdamW with `weight_decay` 0 is Adam
        (Loshchilov and Hutter 2019, decoupled weight decay).
    learning_rate_schedule, final_learning_rate_share
        How `learning_rate` changes over the Rounds, and the share of it that the last Round has.
    fraction_fit, fraction_evaluate
        Share of the connected Sites that train in a Round, and that evaluate its model; drawn by the Run's seed,
        never fewer than the minimum. The last evaluation asks every Site.
    train_share
        Share of a Site's rows on the training side; the others are held out.
    min_sites_statistics, min_sites, min_sites_evaluate
        Usable answers needed for the statistics, in each Round's training, and for an evaluation.
    min_rows
        A Site with fewer patients of known cost sits out.
    round_time_limit
        Seconds; what happens to a Site that has not answered by then says `late_policy` (`LATE_POLICIES`).
    join_time_limit
        Seconds to wait for `min_sites` SuperNodes before the Run fails.
    approval_time_limit
        Seconds to wait for institutions that approve each Run's settings; 0 does not wait.
    max_update_ratio
        An update whose norm is so many times the median of the other Sites' is rejected.
    early_stopping_rounds, min_improvement
        The Run stops once so many Rounds have not lowered the loss on held-out rows by this; 0 never stops.
    start_from
        `random` weights, or those of the version in use (`champion`) with its scaler.
    local_only
        Whether each Site also trains alone at the end, to tell what taking part brought it.
    split_salt
        Goes into the hash that puts rows on the training side.
    max_site_harm
        A new version is promoted by rule only if no Site's R2 falls by more than this.
    proximal_mu
        FedProx (Li et al. 2020, arXiv:1812.06127).
    server_learning_rate, server_momentum
        Of the server's step: FedSGD, FedAvgM (Hsu et al. 2019, arXiv:1909.06335), FedAdam and the like, SCAFFOLD.
    beta_1, beta_2, tau
        FedAdam, FedYogi, FedAdagrad (Reddi et al. 2021, arXiv:2003.00295).
    trim_share
        Trimmed mean (Yin et al. 2018, arXiv:1803.01498): share cut off at each end.
    malicious_sites
        Krum (Blanchard et al. 2017): how many Sites may be hostile.
    """

    local_epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 2.0
    learning_rate_schedule: str = "constant"
    final_learning_rate_share: float = 0.1
    fraction_fit: float = 1.0
    fraction_evaluate: float = 1.0
    train_share: float = 0.8
    min_sites_statistics: int = 2
    min_sites: int = 2
    min_sites_evaluate: int = 2
    min_rows: int = 30
    round_time_limit: float = 60.0
    join_time_limit: float = 30.0
    approval_time_limit: float = 0.0
    late_policy: str = "skip"
    max_update_ratio: float = 10.0
    early_stopping_rounds: int = 0
    min_improvement: float = 0.001
    start_from: str = "random"
    local_only: bool = True
    split_salt: str = "fedcost"
    max_site_harm: float = 0.02
    proximal_mu: float = 0.01
    server_learning_rate: float = 1.0
    server_momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.99
    tau: float = 0.001
    trim_share: float = 0.2
    malicious_sites: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSettings:
        """Read what `to_json` wrote; a setting that is not there has its default."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


# A strategy's own defaults where they differ from those of `RunSettings`; chosen by `make bench-strategies`.
STRATEGY_DEFAULTS: dict[str, dict[str, Any]] = {
    "fedsgd": {"server_learning_rate": 0.05},
    "fedprox": {"proximal_mu": 0.1},
    "fedavgm": {"server_learning_rate": 1.0, "server_momentum": 0.3},
    "fedadam": {"server_learning_rate": 0.03},
    "fedyogi": {"server_learning_rate": 0.02},
    "fedadagrad": {"server_learning_rate": 0.03, "tau": 0.01},
    "fedmedian": {"min_sites": 3},
    "trimmed_mean": {"min_sites": 3},
    "krum": {"malicious_sites": 0, "min_sites": 3},
    "scaffold": {"optimizer": "sgd", "learning_rate": 0.02},
}

# Setting -> lowest and highest accepted value.
LIMITS: dict[str, tuple[float, float]] = {
    "local_epochs": (1, 100),
    "batch_size": (1, 4096),
    "learning_rate": (1e-6, 1.0),
    "weight_decay": (0.0, 10.0),
    "final_learning_rate_share": (0.001, 1.0),
    "fraction_fit": (0.5, 1.0),
    "fraction_evaluate": (0.1, 1.0),
    "train_share": (0.5, 0.95),
    "min_sites_statistics": (1, 1000),
    "min_sites": (1, 1000),
    "min_sites_evaluate": (1, 1000),
    "min_rows": (10, 1_000_000),
    "round_time_limit": (1.0, 3600.0),
    "join_time_limit": (1.0, 600.0),
    "approval_time_limit": (0.0, 86_400.0),
    "max_update_ratio": (1.5, 1e6),
    "early_stopping_rounds": (0, 1000),
    "min_improvement": (0.0, 1.0),
    "max_site_harm": (0.0, 1.0),
    "proximal_mu": (0.0, 10.0),
    "server_learning_rate": (1e-4, 10.0),
    "server_momentum": (0.0, 0.999),
    "beta_1": (0.0, 0.999),
    "beta_2": (0.0, 0.9999),
    "tau": (1e-9, 1.0),
    "trim_share": (0.0, 0.49),
    "malicious_sites": (0, 100),
}


def settings_for(strategy: str, chosen: Mapping[str, Any]) -> RunSettings:
    """Return the settings of a Run: what was chosen, else the strategy's default, else the general one."""
    return RunSettings.from_json({**STRATEGY_DEFAULTS.get(strategy, {}), **chosen})


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
    return problems + check_settings(settings) + _check_strategy(strategy, settings)


def check_settings(settings: RunSettings) -> list[FieldProblem]:
    """Return everything wrong with the settings by themselves."""
    problems: list[FieldProblem] = []
    for name, known in CHOICES.items():
        if getattr(settings, name) not in known:
            problems.append(FieldProblem(name, f"{name} must be one of {', '.join(known)}."))
    for name, (low, high) in LIMITS.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            problems.append(FieldProblem(name, f"{name} must be from {low:g} to {high:g}, not {value:g}."))
    return problems


def _check_strategy(strategy: str, settings: RunSettings) -> list[FieldProblem]:
    if strategy == "scaffold" and settings.optimizer != "sgd":
        return [FieldProblem("optimizer", "SCAFFOLD corrects plain SGD steps; choose the optimizer sgd.")]
    if strategy == "krum" and settings.min_sites < 2 * settings.malicious_sites + 3:
        needed = 2 * settings.malicious_sites + 3
        return [
            FieldProblem(
                "min_sites",
                f"Krum against {settings.malicious_sites} hostile hospitals needs at least {needed} in each round; "
                f"set min_sites to {needed} or more, or malicious_sites lower.",
            )
        ]
    return []
