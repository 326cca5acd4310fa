"""A federated Run: statistics, Rounds, evaluation, and the model version that it makes."""

from __future__ import annotations

from flwr.app import MessageType

from db.states import Phase, RunStatus
from fl.baseline import Baseline, read_products
from fl.evaluation import SMALLEST_CELL, Metrics
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.lineage import library_versions, lineage_of
from fl.local_only import LocalComparison
from fl.messages import array_of
from fl.model import Weights, initial_weights
from fl.plan import RunPlan
from fl.promotion import promotion_decision
from fl.recorder import NewVersion
from fl.roster import Roster, RunFailed
from fl.rounds import Rounds
from fl.settings import STRATEGIES
from fl.shadow_comparison import gather_shadow
from fl.statistics import Moments, pooled_preprocessing
from fl.version_evaluation import BySite, evaluate_models, pooled_metrics, site_metrics, version_json


def conduct_federated(roster: Roster) -> None:
    """Statistics, N Rounds, evaluation, model version."""
    plan, recorder = roster.plan, roster.recorder
    _check_progress(plan)
    recorder.event(_first_words(plan))
    recorder.enter(RunStatus.STATISTICS)
    baseline = Baseline(plan, recorder)
    preprocessing = _scaler(plan, gather_statistics(roster, baseline))
    recorder.save_preprocessing(preprocessing)
    baseline.solve()
    recorder.enter(RunStatus.TRAINING)
    rounds = Rounds(plan, recorder, roster, preprocessing, baseline)
    rounds.train(plan.start[1].weights if plan.start else initial_weights(plan.seed))
    recorder.enter(RunStatus.EVALUATING)
    version = evaluate(roster, rounds, preprocessing)
    gather_shadow(roster)
    recorder.complete(version)


def _check_progress(plan: RunPlan) -> None:
    """Raise `RunFailed` if the earlier Run cannot be gone on with."""
    earlier = plan.resumed
    if earlier is None:
        return
    if not earlier.last_round or earlier.preprocessing is None:
        raise RunFailed(
            f"Run {earlier.run_id} ended before its first round was saved, so there is nothing to go on with. "
            "Start a new run instead."
        )
    if (earlier.strategy, earlier.seed) != (plan.strategy, plan.seed):
        raise RunFailed(
            f"Run {earlier.run_id} has another strategy or seed, so this run cannot go on with it. "
            "Start a new run instead."
        )


def _first_words(plan: RunPlan) -> str:
    if plan.resumed is not None:
        return (
            f"Goes on after round {plan.resumed.last_round} of {plan.num_rounds} with what run {plan.resumed.run_id} "
            "has saved."
        )
    rounds = (
        f"{plan.num_rounds} round{'s' if plan.num_rounds > 1 else ''} of {STRATEGIES[plan.strategy].label}"
    )
    if plan.start is not None:
        return f"{rounds}, beginning with model version {plan.start[0]} and its scaler."
    if plan.settings.start_from == "champion":
        return f"{rounds}, beginning with random weights: no model is in use yet to begin with."
    return f"{rounds}, beginning with random weights (seed {plan.seed})."


def _scaler(plan: RunPlan, pooled_scaler: Preprocessing) -> Preprocessing:
    """Return the scaler that the weights of the Run belong to."""
    if plan.resumed is not None and plan.resumed.preprocessing is not None:
        return plan.resumed.preprocessing
    return plan.start[1].preprocessing if plan.start else pooled_scaler


def gather_statistics(roster: Roster, baseline: Baseline, *, only_products: bool = False) -> Preprocessing:
    """Ask every Site for its sums and products; return the one scaler that follows from the sums.

    With `only_products` a Site that may not send products sits out.
    """
    moments: dict[str, Moments] = {}
    content = {"only_products": only_products}

    def accept(code: str, answer: Answer) -> None:
        moments[code] = _moments(answer)
        baseline.add_products(code, answer.body)

    roster.ask_all(
        Phase.STATISTICS,
        0,
        roster.messages(content, MessageType.QUERY),
        read=lambda answer: {"num_examples": _moments(answer).count},
        accepted=accept,
        again=lambda nodes: roster.messages(content, MessageType.QUERY, nodes=nodes),
    )
    rows = sum(of_site.count for of_site in moments.values())
    hospitals = "1 hospital" if len(moments) == 1 else f"{len(moments)} hospitals"
    roster.recorder.event(f"Statistics of {hospitals} with {rows:,} patients to train on are in.")
    return pooled_preprocessing(moments[code] for code in sorted(moments))


def evaluate(roster: Roster, rounds: Rounds, preprocessing: Preprocessing) -> NewVersion:
    """Evaluate the last model, the best of the earlier ones and the champion in one message; choose and decide.

    Every Site is asked, so the last and the best are compared on the same rows even if Rounds asked only some.
    """
    plan = roster.plan
    last, best = rounds.last_round, rounds.best_round()
    models: dict[str, tuple[Weights, Preprocessing]] = {
        "last": (rounds.weights_by_round[last], preprocessing)
    }
    if best is not None:
        models["best"] = (rounds.weights_by_round[best], preprocessing)
    alone = LocalComparison(plan, len(models))
    if plan.champion is not None:
        models["champion"] = (plan.champion[1].weights, plan.champion[1].preprocessing)
    by_site = evaluate_models(roster, models, last, alone)

    metrics = rounds.record_evaluation(last, {code: one.sums for code, one in by_site["last"].items()})
    chosen_round, chosen = last, by_site["last"]
    if best is not None:
        of_best = pooled_metrics(by_site["best"], preprocessing.target_scale)
        if of_best is not None and (metrics is None or of_best.loss <= metrics.loss):
            chosen_round, chosen, metrics = best, by_site["best"], of_best
    if metrics is None:
        raise RunFailed(
            f"No hospital has at least {SMALLEST_CELL} held-out patients with a known cost, so the model could "
            f"not be evaluated. About {5 * SMALLEST_CELL} patients with a known cost are needed at one hospital."
        )
    place = list(models).index("last" if chosen_round == last else "best")
    alone.save(roster.recorder, place, chosen, preprocessing.target_scale)
    roster.recorder.event(
        f"Round {chosen_round} of {last} has the best model: root mean squared error {metrics.rmse:,.0f} USD on "
        f"{metrics.num_examples:,} held-out patients.",
        round_number=chosen_round,
    )
    return _new_version(
        plan, rounds, preprocessing, chosen_round, metrics, chosen, by_site.get("champion", {})
    )


def _new_version(
    plan: RunPlan,
    rounds: Rounds,
    preprocessing: Preprocessing,
    chosen_round: int,
    metrics: Metrics,
    chosen: BySite,
    champion: BySite,
) -> NewVersion:
    scale = preprocessing.target_scale
    champion_version = plan.champion[0] if plan.champion else None
    promote, reason = promotion_decision(
        metrics,
        site_metrics(chosen, scale),
        champion_version,
        pooled_metrics(champion, scale),
        site_metrics(champion, scale),
        plan.settings.max_site_harm,
    )
    return NewVersion(
        weights=rounds.weights_by_round[chosen_round],
        preprocessing=preprocessing,
        training_round=chosen_round,
        last_round=rounds.last_round,
        num_examples=sum(rounds.rows_by_round[rounds.last_round].values()),
        metrics=metrics,
        details={
            **version_json(chosen, champion_version, champion, scale),
            "libraries": library_versions(),
        },
        lineage=lineage_of(
            plan,
            rounds=rounds.last_round,
            chosen_round=chosen_round,
            sites=rounds.rows_by_round[chosen_round],
            start_version=plan.start[0] if plan.start else None,
            receipt_sha256=rounds.receipt_sha256,
        ),
        promote=promote,
        reason=reason,
    )


def _moments(answer: Answer) -> Moments:
    read_products(answer.body)
    return Moments.from_array(array_of(answer.body["moments"], "<f8"))
