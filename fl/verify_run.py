"""Proves afterwards that a Run is as it was recorded: receipts, weights, updates and the version that it made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from db.central import Institution, ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.engines import sessions_for
from db.states import Phase, RunKind, SiteOutcome
from fl.model import Weights, initial_weights, weights_from_bytes, weights_sha256
from fl.receipts import canonical_sha256, plan_sha256, update_from_bytes
from fl.round_answers import update_norm
from fl.settings import RunSettings
from fl.strategies import Aggregator, SiteUpdate

# Column of a Site's row that a receipt repeats -> what people call it.
_WORDS = {
    "num_examples": "The number of rows",
    "update_norm": "The norm of the update",
    "update_sha256": "The hash of the update",
}


class Broken(Exception):
    """Something is not as the receipts say; the message names the first such thing."""


@dataclass
class _Evidence:
    """What the database holds of one Run and of those that it goes on with."""

    run: TrainingRun
    runs: dict[int, TrainingRun]  # by id; the Run itself and those before it
    rounds: list[TrainingRound]
    results: dict[int, dict[str, SiteResult]]  # Round number -> institution code -> its training
    version: ModelVersion | None
    institutions: list[str]
    start_version: str | None
    start: Weights
    weights: dict[int, Weights] = field(default_factory=dict)  # Round number -> its weights; 0: the start


def verify_run(database_url: str, run_id: int, say: Callable[[str], None]) -> None:
    """Check a Run in the central database at this URL; see `verify`."""
    with sessions_for(database_url)() as session:
        verify(session, run_id, say)


def verify(session: Session, run_id: int, say: Callable[[str], None]) -> None:
    """Check a Run from its plan to its version, and say each thing that was found to be right.

    Raises
    ------
    Broken
        With the first thing that is not right, or that cannot be proved.
    """
    evidence = _read(session, run_id)
    _check_chain(evidence)
    say(
        f"The receipts of {_rounds(len(evidence.rounds))} of Run {run_id} form one unbroken chain from its plan on."
    )
    _check_weights(evidence)
    say(
        "The weights of every round have the hash that its receipt names, and every round began with the one before."
    )
    _check_participants(evidence)
    say("Every hospital's rows, norm and hash of its update are those of the receipts.")
    _check_stored_updates(evidence, say)
    if evidence.version is None:
        say(f"Run {run_id} is {evidence.run.status} and made no model version.")
    else:
        _check_version(evidence, evidence.version)
        say(
            f"Version {evidence.version.version} has the weights of round {evidence.version.training_round}, computed "
            "again from the hospitals' stored updates, and its lineage names the last receipt."
        )


def _read(session: Session, run_id: int) -> _Evidence:
    run = session.get(TrainingRun, run_id)
    if run is None:
        raise Broken(f"There is no Run {run_id}.")
    if run.kind != RunKind.FEDERATED:
        raise Broken(f"Run {run_id} trained no model, so it has no receipts.")
    rounds = session.scalars(
        select(TrainingRound)
        .where(TrainingRound.run_id == run_id, TrainingRound.receipt_sha256.is_not(None))
        .order_by(TrainingRound.round_number)
        .options(undefer(TrainingRound.weights), undefer(TrainingRound.server_state))
    ).all()
    if not rounds:
        raise Broken(f"Run {run_id} saved no round, so there is nothing to verify.")
    runs, before = {run.id: run}, run.resumed_from_id
    while before is not None and before not in runs:
        runs[before] = session.get_one(TrainingRun, before)
        before = runs[before].resumed_from_id
    trained = session.scalars(
        select(SiteResult)
        .where(
            SiteResult.run_id == run_id,
            SiteResult.phase == Phase.TRAIN,
            SiteResult.outcome == SiteOutcome.OK,
        )
        .options(undefer(SiteResult.update))
    )
    results: dict[int, dict[str, SiteResult]] = {}
    for row in trained:
        results.setdefault(row.round_number, {})[row.institution.code] = row
    first = runs[min(runs)]
    began_with = _start_version(session, first)
    return _Evidence(
        run=run,
        runs=runs,
        rounds=list(rounds),
        results=results,
        version=session.scalar(select(ModelVersion).where(ModelVersion.run_id == run_id)),
        institutions=sorted(session.scalars(select(Institution.code))),
        start_version=began_with.version if began_with else None,
        start=weights_from_bytes(began_with.weights) if began_with else initial_weights(first.seed),
    )


def _start_version(session: Session, run: TrainingRun) -> ModelVersion | None:
    return session.get_one(ModelVersion, run.start_version_id) if run.start_version_id else None


def _check_chain(evidence: _Evidence) -> None:
    """Each receipt's hash is right, and each names the one before it."""
    first = evidence.runs[min(evidence.runs)]
    previous = plan_sha256(
        run=first.id,
        num_rounds=first.num_rounds,
        strategy=first.strategy,
        seed=first.seed,
        settings=first.settings,
        start_sha256=weights_sha256(evidence.start),
    )
    for place, row in enumerate(evidence.rounds, start=1):
        if row.round_number != place:
            raise Broken(f"Round {place} is missing, or rounds have changed places.")
        receipt = _receipt(row)
        if row.previous_receipt_sha256 != previous or receipt.get("previous") != previous:
            before = "the plan of the run" if place == 1 else f"the receipt of round {place - 1}"
            raise Broken(f"The receipt of round {place} does not follow {before}.")
        if canonical_sha256(receipt) != row.receipt_sha256:
            raise Broken(f"The receipt of round {place} was changed after it was written.")
        if receipt.get("round") != place:
            raise Broken(f"The receipt of round {place} is of another round: rounds have changed places.")
        run = evidence.runs.get(receipt.get("run", 0))
        if run is None:
            raise Broken(f"The receipt of round {place} is of a run that this one does not go on with.")
        for name, said, found in (
            ("strategy", receipt.get("strategy"), run.strategy),
            ("settings", receipt.get("settings_sha256"), canonical_sha256(run.settings)),
            ("scaler", receipt.get("preprocessing_sha256"), canonical_sha256(run.preprocessing)),
        ):
            if said != found:
                raise Broken(f"The {name} of Run {run.id} was changed after round {place}.")
        previous = str(row.receipt_sha256)


def _check_weights(evidence: _Evidence) -> None:
    evidence.weights[0] = evidence.start
    for row in evidence.rounds:
        number, receipt = row.round_number, _receipt(row)
        if row.weights is None:
            raise Broken(f"The weights of round {number} are missing.")
        found = hashlib.sha256(row.weights).hexdigest()
        if found != receipt.get("weights_sha256") or found != row.weights_sha256:
            raise Broken(f"The weights of round {number} are not those of its receipt.")
        if receipt.get("received_sha256") != weights_sha256(evidence.weights[number - 1]):
            raise Broken(f"Round {number} did not begin with the weights of the round before.")
        evidence.weights[number] = weights_from_bytes(row.weights)


def _check_participants(evidence: _Evidence) -> None:
    for row in evidence.rounds:
        number = row.round_number
        said: dict[str, Mapping[str, Any]] = _receipt(row).get("participants", {})
        found = evidence.results.get(number, {})
        if said.keys() != found.keys():
            raise Broken(
                f"The receipt of round {number} names other hospitals ({_listed(said)}) than its table does "
                f"({_listed(found)})."
            )
        if row.clients_participated != len(said):
            raise Broken(f"Round {number} counts other hospitals than its receipt.")
        for code, participant in said.items():
            site = found[code]
            for name, stored in (
                ("num_examples", site.num_examples),
                ("update_norm", site.update_norm),
                ("update_sha256", site.update_sha256),
            ):
                if participant.get(name) != stored:
                    raise Broken(f"{_WORDS[name]} of {code} in round {number} is not that of the receipt.")


def _check_stored_updates(evidence: _Evidence, say: Callable[[str], None]) -> None:
    """Of the Rounds whose updates are kept, compute hashes, norms and the aggregate again."""
    proved = []
    for row in evidence.rounds:
        number = row.round_number
        sites = evidence.results.get(number, {})
        kept = [code for code, site in sites.items() if site.update is not None]
        if not kept:
            continue
        for code in sorted(sites):
            _check_update(evidence, number, code, sites[code])
        _check_aggregate(evidence, row)
        proved.append(number)
    if proved:
        numbers = ", ".join(str(number) for number in proved)
        say(
            f"The aggregate of the stored updates, computed again, gives the weights of round {numbers} to the bit."
        )


def _check_update(evidence: _Evidence, number: int, code: str, site: SiteResult) -> None:
    if site.update is None:
        raise Broken(f"The update of {code} in round {number} is missing.")
    if hashlib.sha256(site.update).hexdigest() != site.update_sha256:
        raise Broken(f"The update of {code} in round {number} was changed after it was received.")
    strategy = evidence.run.strategy
    norm = update_norm(update_from_bytes(site.update), evidence.weights[number - 1], strategy)
    if norm != site.update_norm:
        raise Broken(
            f"The norm of the update of {code} in round {number} is {norm:.9g}, not {site.update_norm}."
        )


def _check_aggregate(evidence: _Evidence, row: TrainingRound) -> None:
    number, run = row.round_number, evidence.run
    said = _receipt(row)["participants"]
    aggregator = Aggregator.named(run.strategy, RunSettings.from_json(run.settings), evidence.institutions)
    if number > 1:
        aggregator.restore(evidence.rounds[number - 2].server_state)
    updates = {
        code: SiteUpdate(
            update_from_bytes(site.update or b""), int(said[code]["num_examples"]), int(said[code]["steps"])
        )
        for code, site in evidence.results[number].items()
    }
    again = aggregator.aggregate(
        number,
        evidence.weights[number - 1],
        updates,
        learning_rate=float(row.metrics["learning_rate"]),
    )
    if weights_sha256(again) != row.weights_sha256:
        raise Broken(f"The stored updates of round {number} do not give its weights.")


def _check_version(evidence: _Evidence, version: ModelVersion) -> None:
    name, number = version.version, version.training_round or 0
    if number not in evidence.weights or number < 1:
        raise Broken(f"Version {name} is of round {number}, which the run did not save.")
    if not any(site.update is not None for site in evidence.results.get(number, {}).values()):
        raise Broken(
            f"The updates of round {number} are missing, so version {name} cannot be computed again."
        )
    found = hashlib.sha256(version.weights).hexdigest()
    if found != version.weights_sha256 or found != weights_sha256(evidence.weights[number]):
        raise Broken(f"The weights of version {name} are not those of round {number}.")
    if canonical_sha256(version.preprocessing) != canonical_sha256(evidence.run.preprocessing):
        raise Broken(f"The scaler of version {name} is not that of the run.")
    lineage = version.lineage
    if lineage.get("receipt_sha256") != evidence.rounds[-1].receipt_sha256:
        raise Broken(f"The lineage of version {name} names another receipt than that of the last round.")
    sites = {code: site.num_examples for code, site in evidence.results[number].items()}
    for words, said, stored in (
        ("run", lineage.get("run_id"), evidence.run.id),
        ("round", lineage.get("chosen_round"), number),
        ("number of rounds", lineage.get("rounds"), len(evidence.rounds)),
        ("seed", lineage.get("seed"), evidence.run.seed),
        ("strategy", lineage.get("strategy"), evidence.run.strategy),
        ("settings", canonical_sha256(lineage.get("settings")), canonical_sha256(evidence.run.settings)),
        ("hospitals", lineage.get("sites"), sites),
        ("start", lineage.get("start_version"), evidence.start_version),
    ):
        if said != stored:
            raise Broken(f"The lineage of version {name} names another {words} than the run.")


def _receipt(row: TrainingRound) -> dict[str, Any]:
    receipt = row.metrics.get("receipt")
    if not isinstance(receipt, dict):
        raise Broken(f"The receipt of round {row.round_number} is missing.")
    return receipt


def _listed(codes: Mapping[str, object]) -> str:
    return ", ".join(sorted(codes)) or "none"


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"
