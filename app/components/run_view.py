"""One Run as people see it: steps, figures of the last Round, charts, who took part, its log and its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st
from sqlalchemy.orm import Session

from app.actor import Actor
from app.components.formats import RUN_KIND_NAMES, count, duration, number, plain, usd, when
from app.components.navigation import PAGES, page
from app.components.participation import shares
from app.components.run_charts import chart_in_words, evaluated_rounds, is_active, show_charts
from app.components.run_grid import choose_page, rounds_on_a_page, show_grid
from app.components.run_log import show_log
from app.components.run_results import show_baseline, show_evaluation, show_gains
from app.components.run_start import resume
from app.components.stepper import show_steps, steps_of
from app.permissions import Permission
from app.services.monitoring import RunProgress
from app.services.run_answers import (
    AnswerCount,
    AnswerCounts,
    answer_counts,
    every_site,
    grid_rounds,
    participation_grid,
)
from app.services.run_results import baseline_of, evaluation_of, gains_of
from db.states import RunKind, RunStatus
from fl.settings import STRATEGIES

_KNOWN = "training_answers_known"  # what was counted a moment ago

__all__ = ["chart_in_words", "evaluated_rounds", "is_active", "show_run"]


def show_run(
    central: Session, actor: Actor, progress: RunProgress, names: Mapping[str, str], *, newest_id: int
) -> None:
    """Draw a Run, live or ended, of any kind.

    Parameters
    ----------
    names
        Institution code -> name of the whole consortium, so that colours do not depend on who takes part.
    newest_id
        Of the newest Run; a request to resume is told apart by it.
    """
    run = progress.run
    trains = run.kind == RunKind.FEDERATED
    answers = _answers(central, actor, progress)
    known = {**names, **every_site(answers)}
    show_steps(
        steps_of(
            run.status,
            kind=run.kind,
            reached=_reached(progress),
            current_round=run.current_round,
            num_rounds=run.num_rounds,
        )
    )
    _show_state(actor, progress, newest_id)
    if trains and (progress.rounds or is_active(run.status)):
        _show_last_round(progress)
        show_charts(central, actor, progress, known)
    _show_results(progress, known)
    _show_participation(central, actor, progress, answers)
    show_log(central, actor, run.id)


def _answers(central: Session, actor: Actor, progress: RunProgress) -> Sequence[AnswerCount]:
    known = st.session_state.get(_KNOWN)
    counts = answer_counts(
        central=central,
        actor=actor,
        run_id=progress.run.id,
        current_round=progress.run.current_round,
        known=known if isinstance(known, AnswerCounts) else None,
    )
    st.session_state[_KNOWN] = counts
    return counts.answers


def _reached(progress: RunProgress) -> str:
    if progress.rounds:
        all_evaluated = len(evaluated_rounds(progress)) >= progress.run.num_rounds
        return RunStatus.EVALUATING if all_evaluated else RunStatus.TRAINING
    if progress.asked_sites:
        return RunStatus.STATISTICS
    return RunStatus.STARTING if progress.run.started_at else RunStatus.QUEUED


def _show_state(actor: Actor, progress: RunProgress, newest_id: int) -> None:
    run = progress.run
    if is_active(run.status):
        words = (
            "Cancelling; the present round is still being ended" if run.cancel_requested else progress.stage
        )
        done = len(evaluated_rounds(progress)) / run.num_rounds if run.num_rounds else 0.0
        st.progress(min(done, 1.0), text=plain(words))
    elif run.status == RunStatus.FAILED:
        st.error(plain(run.error or "The run failed."), icon=":material/error:")
        _offer_to_resume(actor, progress, newest_id, "An administrator can start another run.")
    elif run.status == RunStatus.CANCELLED:
        st.warning(
            "This run was cancelled. The model in use was not touched.", icon=":material/do_not_disturb_on:"
        )
        _offer_to_resume(actor, progress, newest_id, "")
    elif progress.model_version:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.success(
                f"This run made model version **{plain(progress.model_version)}**.",
                icon=":material/check_circle:",
                width="stretch",
            )
            st.page_link(page("models"), label="See the model", icon=":material/arrow_forward:")
    _show_facts(progress)


def _offer_to_resume(actor: Actor, progress: RunProgress, newest_id: int, otherwise: str) -> None:
    run = progress.run
    failed = "The model in use was not touched." if run.status == RunStatus.FAILED else ""
    if not run.saved_round:
        if failed or otherwise:
            st.markdown(f"{failed} {otherwise}")
        return
    saved = "Round 1 is saved." if run.saved_round == 1 else f"Its rounds up to {run.saved_round} are saved."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{failed} {saved}", width="content")
        if actor.may(Permission.TRAINING_CONTROL) and st.button(
            f"Resume after round {run.saved_round}", icon=":material/resume:", key="training_resume"
        ):
            resume(run.id, newest_id)


def _show_facts(progress: RunProgress) -> None:
    run = progress.run
    who = run.requested_by_name or (f"the trigger {run.trigger_name}" if run.trigger_name else "a rule")
    facts = [f"Requested by {plain(who)} on {plain(when(run.requested_at))}"]
    if run.started_at:
        until = run.finished_at or datetime.now(UTC)
        verb = "took" if run.finished_at else "running for"
        facts.append(f"{verb} {duration((until - run.started_at).total_seconds())}")
    if run.kind == RunKind.FEDERATED:
        known = STRATEGIES.get(run.strategy)
        facts.append(f"strategy {plain(known.label if known else run.strategy)}")
        if run.start_version:
            facts.append(f"started from {plain(run.start_version)}")
    else:
        facts.append(plain(RUN_KIND_NAMES[run.kind]))
    if run.resumed_from_id:
        facts.append(f"goes on with [run {run.resumed_from_id}](?run={run.resumed_from_id})")
    st.caption(" · ".join(facts))


def _show_last_round(progress: RunProgress) -> None:
    rounds = evaluated_rounds(progress)
    last = rounds[-1] if rounds else None
    after = f"after round {last.round_number}" if last else "after the first round"
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            (
                "R²",
                number(last.r2) if last else "–",
                "Share of the variation in cost that the model explains.",
            ),
            (
                "MAE (USD a year)",
                usd(last.mae if last else None),
                "Mean absolute error, in US dollars a year.",
            ),
            (
                "RMSE (USD a year)",
                usd(last.rmse if last else None),
                "Root mean squared error, in US dollars a year; large errors weigh more than in the MAE.",
            ),
            (
                "Hospitals",
                count(last.clients_participated) if last else "–",
                "Hospitals whose training was used in that round.",
            ),
        ):
            st.metric(label, plain(value), help=meaning, width=150)
    st.caption(f"On held-out patients of all hospitals, {after}. Held-out patients are never trained on.")


def _show_results(progress: RunProgress, names: Mapping[str, str]) -> None:
    run = progress.run
    if run.kind == RunKind.FEDERATED:
        show_gains(gains_of(run.results), names)
        return
    if run.status != RunStatus.COMPLETED:
        return
    if run.kind == RunKind.LEAST_SQUARES and (baseline := baseline_of(run.results)) is not None:
        show_baseline(baseline, names)
    elif run.kind == RunKind.EVALUATION and (evaluation := evaluation_of(run.results)) is not None:
        show_evaluation(evaluation, names)
        st.page_link(
            page("models"),
            label="Decide on the version",
            icon=":material/arrow_forward:",
            query_params={"version": evaluation.version},
        )
    elif run.kind == RunKind.COHORT and "cohort" in {entry.name for entry in PAGES}:
        st.page_link(page("cohort"), label="See the patients' description", icon=":material/arrow_forward:")
    else:
        st.markdown("This run is complete and left nothing to show here.")


def _show_participation(
    central: Session, actor: Actor, progress: RunProgress, answers: Sequence[AnswerCount]
) -> None:
    run = progress.run
    lines = shares(answers, sum(1 for point in progress.rounds if point.clients_participated))
    if not lines:
        return
    st.header("Who took part", anchor=False)
    if run.kind == RunKind.FEDERATED:
        at = choose_page(progress)
        rounds = grid_rounds(run.current_round, at, rounds_on_a_page())
        cells = participation_grid(central=central, actor=actor, run_id=run.id, rounds=rounds)
        show_grid(cells, every_site(answers), rounds)
    rows = [
        {
            "Hospital": plain(line.name),
            "Took part": line.took_part,
            "Rows trained on": count(line.training_rows),
            "Rows held out": count(line.held_out_rows),
            "Remark": plain(line.reason),
        }
        for line in lines
    ]
    table = pd.DataFrame(rows)
    if not any(line.reason for line in lines):
        table = table.drop(columns="Remark")
    if run.kind != RunKind.FEDERATED:
        table = table.drop(columns=["Rows trained on", "Rows held out"])
    with st.container(key="run_participation"):
        st.table(table, border="horizontal", hide_index=True)
