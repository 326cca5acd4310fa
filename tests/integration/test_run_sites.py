"""What charts, grid, log and list read of a Run: whole, incrementally, and thinned out when it is long."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.errors import NotFound, PermissionRefused
from app.services import monitoring, run_answers, run_list, run_log, run_sites
from db.central import Institution, TrainingRound, TrainingRun, TrainingTrigger
from db.federation import RunEvent
from db.states import RunKind, RunStatus

CODES = ("northeast", "southwest")


@pytest.fixture
def long_run(consortium: Any, central: Session) -> TrainingRun:
    """A Run at work in Round 600; the second hospital was late in every hundredth Round."""
    now = datetime.now(UTC)
    run = TrainingRun(
        idempotency_key=uuid.uuid4().hex,
        status=RunStatus.TRAINING,
        num_rounds=1000,
        current_round=600,
        strategy="fedavg",
        settings={},
        seed=1,
        started_at=now,
    )
    central.add(run)
    central.flush()
    _add_rounds(central, run.id, 1, 600)
    central.commit()
    return run


def _add_rounds(central: Session, run_id: int, first: int, last: int) -> None:
    """Add Rounds as the ServerApp does: the last one was trained and is not evaluated yet."""
    span = {"run": run_id, "first": first, "last": last}
    central.execute(
        text(
            """
            INSERT INTO training_rounds (run_id, round_number, aggregation_method, clients_participated, status,
                                         loss, r2, completed_at)
            SELECT :run, n, 'fedavg', 2, 'completed', 1.0 / n, 1 - 1.0 / n, now()
            FROM generate_series(:first, :last - 1) n
            UNION ALL SELECT :run, :last, 'fedavg', 2, 'started', NULL, NULL, NULL
            """
        ),
        span,
    )
    sites = "SELECT id, code, (code = 'southwest')::int AS place FROM institutions WHERE code = ANY(:codes)"
    central.execute(
        text(
            f"""
            INSERT INTO site_results (run_id, round_number, phase, institution_id, outcome, reason, num_examples,
                                      seconds, update_norm)
            SELECT :run, n, 'train', id, CASE WHEN late THEN 'late' ELSE 'ok' END,
                   CASE WHEN late THEN 'No answer within 60 seconds.' END, CASE WHEN late THEN NULL ELSE 240 END,
                   CASE WHEN late THEN NULL ELSE 0.5 END, CASE WHEN late THEN NULL ELSE 1.5 END
            FROM ({sites}) s CROSS JOIN generate_series(:first, :last) n
            CROSS JOIN LATERAL (SELECT place = 1 AND n % 100 = 0 AS late) l
            """
        ),
        {**span, "codes": list(CODES)},
    )
    central.execute(
        text(
            f"""
            INSERT INTO site_results (run_id, round_number, phase, institution_id, outcome, num_examples, loss, r2)
            SELECT :run, n, 'evaluate', id, 'ok', 60, 1.0 / n + place, 0.5 + place / 10.0
            FROM ({sites}) s CROSS JOIN generate_series(:first, :last - 1) n
            """
        ),
        {**span, "codes": list(CODES)},
    )


def _lines(consortium: Any, central: Session, run: TrainingRun, **arguments: Any) -> run_sites.SiteLines:
    return run_sites.site_lines(
        central=central,
        actor=consortium.actors["scientist"],
        run_id=run.id,
        codes=CODES,
        current_round=run.current_round,
        **{"rounds": (1, 600), **arguments},
    )


def test_a_long_run_has_no_more_points_than_a_chart_shows(
    consortium: Any, central: Session, long_run: TrainingRun
) -> None:
    lines = _lines(consortium, central, long_run)
    numbers = [point.round_number for point in lines.lines["northeast"]]
    assert lines.step == 3
    assert len(numbers) <= run_sites.MAX_POINTS
    assert numbers[:3] == [1, 3, 6]
    assert numbers[-3:] == [597, 599, 600]
    third = lines.lines["northeast"][1]
    assert (third.loss, third.r2, third.seconds, third.update_norm) == (1 / 3, 0.5, 0.5, 1.5)


def test_a_shorter_span_has_every_round(consortium: Any, central: Session, long_run: TrainingRun) -> None:
    lines = _lines(consortium, central, long_run, rounds=(101, 200))
    assert [point.round_number for point in lines.lines["southwest"]] == list(range(101, 201))
    # Of the Round in which it was late there is what it evaluated, and nothing of training.
    assert (lines.lines["southwest"][-1].r2, lines.lines["southwest"][-1].seconds) == (0.6, None)


@pytest.mark.parametrize("rounds", [(1, 600), (1, 1000), (580, 620)])
def test_reading_what_is_new_gives_what_reading_everything_gives(
    consortium: Any, central: Session, long_run: TrainingRun, rounds: tuple[int, int]
) -> None:
    known = _lines(consortium, central, long_run, rounds=rounds)
    progress = monitoring.run_progress(
        central=central, actor=consortium.actors["scientist"], run_id=long_run.id
    )
    read = {"central": central, "actor": consortium.actors["scientist"], "run_id": long_run.id}
    band = run_sites.site_range(**read, rounds=rounds, current_round=600)
    counts = run_answers.answer_counts(**read, current_round=600)
    # The evaluation of Round 600 arrives, and Rounds 601 to 605.
    central.execute(
        update(TrainingRound)
        .where(TrainingRound.round_number == 600)
        .values(status="completed", loss=0.25, r2=0.75)
    )
    _add_rounds(central, long_run.id, 601, 605)
    long_run.current_round = 605
    central.commit()
    assert _lines(consortium, central, long_run, rounds=rounds, known=known) == _lines(
        consortium, central, long_run, rounds=rounds
    )
    newer, whole = (
        monitoring.run_progress(
            central=central, actor=consortium.actors["scientist"], run_id=long_run.id, known=before
        )
        for before in (progress, None)
    )
    assert newer.rounds == whole.rounds
    assert run_sites.site_range(**read, rounds=rounds, current_round=605, known=band) == run_sites.site_range(
        **read, rounds=rounds, current_round=605
    )
    again = run_answers.answer_counts(**read, current_round=605, known=counts)
    assert again == run_answers.answer_counts(**read, current_round=605)
    assert {each.count for each in again.answers if each.phase == "train" and each.outcome == "ok"} == {
        605,
        599,
    }
    assert (len(whole.rounds), whole.rounds[599].r2) == (605, 0.75)


def test_what_was_read_of_another_run_or_other_lines_is_not_used(
    consortium: Any, central: Session, long_run: TrainingRun
) -> None:
    known = _lines(consortium, central, long_run)
    other = TrainingRun(
        idempotency_key="other",
        status=RunStatus.QUEUED,
        num_rounds=600,
        strategy="fedavg",
        settings={},
        seed=1,
    )
    central.add(other)
    central.commit()
    assert _lines(consortium, central, other, known=known).lines == {code: [] for code in CODES}
    progress = monitoring.run_progress(central=central, actor=consortium.actors["admin"], run_id=long_run.id)
    unknown = monitoring.run_progress(
        central=central, actor=consortium.actors["admin"], run_id=other.id, known=progress
    )
    assert unknown.rounds == []
    assert len(_lines(consortium, central, long_run, rounds=(1, 100), known=known).lines["northeast"]) == 100


def test_the_range_of_all_hospitals(consortium: Any, central: Session, long_run: TrainingRun) -> None:
    band = run_sites.site_range(
        central=central,
        actor=consortium.actors["scientist"],
        run_id=long_run.id,
        rounds=(1, 600),
        current_round=600,
    ).points
    assert [each.round_number for each in band[:2]] == [1, 3]
    assert (band[0].loss, band[0].r2, band[0].mae) == ((1.0, 2.0), (0.5, 0.6), None)


def test_answers_are_counted_with_the_rounds_of_each_reason(
    consortium: Any, central: Session, long_run: TrainingRun
) -> None:
    counted = run_answers.answer_counts(
        central=central, actor=consortium.actors["scientist"], run_id=long_run.id, current_round=600
    ).answers
    found = {(each.code, each.phase, each.outcome): each for each in counted}
    late = found["southwest", "train", "late"]
    assert (late.count, late.rounds, late.name) == (6, [100, 200, 300, 400, 500, 600], "Southwest Hospital")
    used = found["northeast", "train", "ok"]
    assert (used.count, used.rounds, used.num_examples) == (600, [], 240)
    assert run_answers.every_site(counted) == {code: f"{code.capitalize()} Hospital" for code in CODES}


def test_the_grid_is_read_a_page_at_a_time(consortium: Any, central: Session, long_run: TrainingRun) -> None:
    assert run_answers.grid_rounds(600, 0, 25) == (576, 600)
    assert run_answers.grid_rounds(600, 23, 25) == (0, 25)
    assert run_answers.grid_rounds(3, 0, 25) == (0, 3)
    assert run_answers.grid_rounds(0, 0, 25) == (0, 0)
    assert (run_answers.grid_pages(600, 25), run_answers.grid_pages(0, 25)) == (24, 1)
    cells = run_answers.participation_grid(
        central=central, actor=consortium.actors["scientist"], run_id=long_run.id, rounds=(599, 600)
    )
    assert [(cell.code, cell.round_number, cell.phase, cell.outcome) for cell in cells] == [
        ("northeast", 599, "train", "ok"),
        ("northeast", 599, "evaluate", "ok"),
        ("northeast", 600, "train", "ok"),
        ("southwest", 599, "train", "ok"),
        ("southwest", 599, "evaluate", "ok"),
        ("southwest", 600, "train", "late"),
    ]
    assert cells[-1].reason == "No answer within 60 seconds."


def test_the_list_says_what_each_run_was_and_who_asked(
    consortium: Any, central: Session, long_run: TrainingRun
) -> None:
    trigger = TrainingTrigger(name="Every Monday", kind="schedule", settings={})
    central.add(trigger)
    central.flush()
    asked = TrainingRun(
        idempotency_key="cohort",
        kind=RunKind.COHORT,
        num_rounds=0,
        strategy="",
        settings={},
        seed=1,
        trigger_id=trigger.id,
    )
    central.add(asked)
    central.commit()
    scientist = consortium.actors["scientist"]
    cohort, training = run_list.run_lines(central=central, actor=scientist).items
    assert (cohort.kind, cohort.trigger, cohort.requested_by, cohort.r2) == (
        "cohort",
        "Every Monday",
        None,
        [],
    )
    assert (training.id, training.last_r2) == (long_run.id, 1 - 1 / 599)
    assert 30 <= len(training.r2) <= run_list.SPARK_POINTS + 2
    assert training.r2[0] == 0
    only = run_list.run_lines(central=central, actor=scientist, kind=RunKind.FEDERATED).items
    assert [line.id for line in only] == [long_run.id]
    assert run_list.running_run(central=central, actor=scientist) == long_run.id


def test_the_log_is_newest_first_and_can_be_limited_to_troubles(
    consortium: Any, central: Session, long_run: TrainingRun
) -> None:
    site = central.scalars(select(Institution.id).where(Institution.code == "northeast")).one()
    for number, severity in enumerate(("info", "warning", "info", "error"), start=1):
        central.add(
            RunEvent(
                run_id=long_run.id,
                severity=severity,
                message=f"Event {number}.",
                round_number=number,
                institution_id=site if number == 2 else None,
            )
        )
        central.flush()
    read = {"central": central, "actor": consortium.actors["scientist"], "run_id": long_run.id}
    log = run_log.run_log(**read, limit=3)
    assert (log.total, log.troubles) == (4, 2)
    assert [line.message for line in log.lines] == ["Event 4.", "Event 3.", "Event 2."]
    assert log.lines[2].institution == "Northeast Hospital"
    assert [line.severity for line in run_log.run_log(**read, only_troubles=True).lines] == [
        "error",
        "warning",
    ]
    with pytest.raises(NotFound):
        run_log.run_log(**{**read, "run_id": long_run.id + 1})


def test_clinicians_read_nothing_of_runs(consortium: Any, central: Session, long_run: TrainingRun) -> None:
    common = {"central": central, "actor": consortium.actors["doctor"]}
    span = {"run_id": long_run.id, "rounds": (1, 2)}
    for read, arguments in (
        (run_sites.site_lines, {**span, "codes": CODES, "current_round": 2}),
        (run_sites.site_range, {**span, "current_round": 2}),
        (run_answers.answer_counts, {"run_id": long_run.id, "current_round": 600}),
        (run_answers.participation_grid, span),
        (run_list.run_lines, {}),
        (run_list.running_run, {}),
        (run_log.run_log, {"run_id": long_run.id}),
    ):
        with pytest.raises(PermissionRefused):
            read(**common, **arguments)
