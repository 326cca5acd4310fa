"""Takes the saved Rounds of an earlier Run over into the one that goes on with it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.central import SiteResult, TrainingRound, TrainingRun
from db.states import Phase, RoundStatus
from fl.plan import Progress

# Of `training_runs.results`: what is found out in the first Round, which is not made again.
RESULTS_OF_THE_FIRST_ROUND = ("baseline",)


def adopt_rounds(session: Session, run_id: int, progress: Progress) -> None:
    """Copy Rounds, what their Sites sent in them, and what they found out; done twice, it changes nothing.

    The model of the last of these Rounds is evaluated again by the first Round that follows.
    """
    run, earlier = session.get_one(TrainingRun, run_id), session.get_one(TrainingRun, progress.run_id)
    run.current_round = progress.last_round
    found = {name: earlier.results[name] for name in RESULTS_OF_THE_FIRST_ROUND if name in earlier.results}
    run.results = {**run.results, **found}
    session.flush()
    _copy(session, TrainingRound, run_id, progress, TrainingRound.round_number <= progress.last_round)
    session.execute(
        update(TrainingRound).where(TrainingRound.run_id == run_id).values(status=RoundStatus.COMPLETED)
    )
    sent = (SiteResult.phase == Phase.TRAIN) & (SiteResult.round_number <= progress.last_round)
    told = (SiteResult.phase == Phase.EVALUATE) & (SiteResult.round_number < progress.last_round)
    _copy(session, SiteResult, run_id, progress, sent | told)


def _copy(
    session: Session,
    table: type[TrainingRound] | type[SiteResult],
    run_id: int,
    progress: Progress,
    which: Any,
) -> None:
    columns = [column for column in table.__table__.columns if column.name not in ("id", "run_id")]
    rows = select(literal(run_id), *columns).where(table.run_id == progress.run_id, which)
    names = ["run_id", *(column.name for column in columns)]
    session.execute(insert(table).from_select(names, rows).on_conflict_do_nothing())
