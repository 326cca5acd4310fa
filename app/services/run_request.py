"""What a request for a Run asks for, by the Run's kind, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidInput, NotFound
from app.services.paging import LARGEST_ID
from db.central import ModelVersion, TrainingRound, TrainingRun
from db.states import RunKind, RunStatus, VersionStatus
from fl.features import FieldProblem
from fl.settings import RunSettings, check_run, check_settings, settings_for

LONGEST_TEXT = 100  # characters of a setting that is a text
RESUMABLE = (RunStatus.FAILED, RunStatus.CANCELLED)

# Settings that matter for a Run that trains nothing: who is asked, and which rows are held out.
_ASKING = (
    "train_share",
    "min_sites_statistics",
    "min_sites",
    "min_sites_evaluate",
    "min_rows",
    "round_time_limit",
    "join_time_limit",
    "approval_time_limit",
    "late_policy",
    "split_salt",
    "max_site_harm",
)
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class RunRequest:
    """What is asked for, as the columns of a new Run hold it.

    Attributes
    ----------
    strategy
        Empty for a Run that trains nothing.
    seed
        None: to be chosen at random.
    start_version_id
        The version in use, if training starts from it, or the version that an evaluation is of.
    """

    kind: RunKind
    num_rounds: int
    strategy: str
    settings: RunSettings
    seed: int | None = None
    resumed_from_id: int | None = None
    start_version_id: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def is_of(self, run: TrainingRun) -> bool:
        """Tell whether `run` is what this request asks for; which version was in use may have changed since."""
        mine = (self.kind, self.num_rounds, self.strategy, self.resumed_from_id, self.settings.to_json())
        theirs = (run.kind, run.num_rounds, run.strategy, run.resumed_from_id, run.settings)
        same_version = self.kind != RunKind.EVALUATION or self.start_version_id == run.start_version_id
        return mine == theirs and same_version and self.seed in (None, run.seed)


def read_request(
    central: Session,
    *,
    kind: RunKind,
    num_rounds: int,
    strategy: str,
    settings: Mapping[str, Any],
    seed: int | None,
    start_version: str | None,
    problems: list[FieldProblem],
) -> RunRequest:
    """Return what is asked for; `InvalidInput` names everything wrong with it, `problems` included."""
    trains = kind == RunKind.FEDERATED
    chosen, wrong = read_settings(settings)
    run_settings = settings_for(strategy if trains else "", chosen)
    problems = [*problems, *wrong]
    if trains:
        problems += check_run(num_rounds, strategy, run_settings)
    else:
        problems += [problem for problem in check_settings(run_settings) if problem.field in _ASKING]
    start_version_id = _start_version(central, kind, run_settings, start_version, problems)
    if problems:
        raise InvalidInput(problems)
    return RunRequest(
        kind=kind,
        num_rounds=num_rounds if trains else 0,
        strategy=strategy if trains else "",
        settings=run_settings,
        seed=seed,
        start_version_id=start_version_id,
        details={"start_version": start_version} if start_version else {},
    )


def resume_request(central: Session, run_id: int, problems: list[FieldProblem]) -> RunRequest:
    """Return the request that goes on with an earlier Run: its seed, strategy, settings and number of Rounds.

    Raises
    ------
    InvalidInput
        If there are problems with the rest of the request.
    NotFound
        If there is no such Run.
    Conflict
        If it cannot be gone on with; says why.
    """
    if problems:
        raise InvalidInput(problems)
    run = central.get(TrainingRun, run_id) if 0 < run_id <= LARGEST_ID else None
    if run is None:
        raise NotFound(f"There is no Run {run_id}.")
    if run.kind != RunKind.FEDERATED:
        raise Conflict(
            f"Run {run.id} trained no model, so there is nothing to resume. Start it again instead."
        )
    if run.status not in RESUMABLE:
        raise Conflict(f"Run {run.id} is {run.status}; only a failed or cancelled run can be resumed.")
    if not committed_rounds(central, run.id):
        raise Conflict(f"Run {run.id} ended before its first round was saved. Start a new run instead.")
    return RunRequest(
        kind=RunKind.FEDERATED,
        num_rounds=run.num_rounds,
        strategy=run.strategy,
        settings=RunSettings.from_json(run.settings),
        seed=run.seed,
        resumed_from_id=run.id,
        start_version_id=run.start_version_id,
        details={"resumed_from": run.id},
    )


def committed_rounds(central: Session, run_id: int) -> int:
    """Count the Rounds of a Run whose aggregated weights were saved, so that another Run can go on from them."""
    saved = select(func.count()).where(TrainingRound.run_id == run_id, TrainingRound.weights.is_not(None))
    return central.scalar(saved) or 0


def read_settings(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """Return the settings that are of the right type, and a sentence on each of the others."""
    defaults = RunSettings()
    accepted: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    known = {setting.name for setting in fields(RunSettings)}
    for name, value in raw.items():
        if name not in known:
            problems.append(FieldProblem(name[:40], f"There is no setting called {name[:40]!r}."))
            continue
        kind = type(getattr(defaults, name))
        if kind is float and type(value) is int and abs(value) < 1e300:
            value = float(value)
        if type(value) is not kind:
            problems.append(FieldProblem(name, f"{name} must be {_TYPES[kind]}."))
        elif kind is str and not (len(value) <= LONGEST_TEXT and value.isprintable()):
            message = f"{name} must have at most {LONGEST_TEXT} printable characters."
            problems.append(FieldProblem(name, message))
        else:
            accepted[name] = value
    return accepted, problems


def _start_version(
    central: Session,
    kind: RunKind,
    settings: RunSettings,
    name: str | None,
    problems: list[FieldProblem],
) -> int | None:
    if kind == RunKind.EVALUATION:
        if not name:
            problems.append(FieldProblem("start_version", "Say which model version is to be evaluated."))
            return None
        found = central.scalar(select(ModelVersion.id).where(ModelVersion.version == name))
        if found is None:
            problems.append(FieldProblem("start_version", f"There is no model version {name[:50]!r}."))
        return found
    if name:
        message = (
            "Only an evaluation names a version; training starts from random weights or the model in use."
        )
        problems.append(FieldProblem("start_version", message))
    if kind == RunKind.FEDERATED and settings.start_from == "champion":
        champion = central.scalar(
            select(ModelVersion.id).where(ModelVersion.status == VersionStatus.CHAMPION)
        )
        if champion is None:
            message = "No model is in use yet, so training can only start from random weights."
            problems.append(FieldProblem("start_from", message))
        return champion
    return None
