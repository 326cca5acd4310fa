"""The training page over Runs in the database: asking, cancelling, watching, and looking back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.services import monitoring
from db.central import Institution, ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.states import Phase, RoundStatus, RunStatus, SiteOutcome
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, page_of, words

AddRun = Callable[..., int]


@pytest.fixture
def add_run(consortium: Consortium) -> AddRun:
    """Insert a Run with its Rounds and what every institution sent, as the ServerApp writes them."""

    def add(status: str, rounds: int = 0, excluded: dict[str, str] | None = None, **columns: Any) -> int:
        now = datetime.now(UTC)
        excluded = excluded or {}
        with consortium.central() as central:
            run = TrainingRun(
                idempotency_key=uuid.uuid4().hex,
                status=status,
                requested_by=consortium.workers["admin"].id,
                num_rounds=columns.pop("num_rounds", 5),
                strategy="fedavg",
                settings={},
                seed=1,
                current_round=rounds,
                started_at=None if status == RunStatus.QUEUED else now - timedelta(seconds=9),
                finished_at=now if status in ("completed", "failed", "cancelled") else None,
                **columns,
            )
            central.add(run)
            central.flush()
            for institution in central.scalars(select(Institution)).all():
                outcome = SiteOutcome.EXCLUDED if institution.code in excluded else SiteOutcome.OK
                about = {"run_id": run.id, "institution_id": institution.id}
                if status != RunStatus.QUEUED:
                    central.add(
                        SiteResult(
                            **about,
                            round_number=0,
                            phase=Phase.STATISTICS,
                            outcome=outcome,
                            reason=excluded.get(institution.code),
                            num_examples=240,
                        )
                    )
                if outcome == SiteOutcome.EXCLUDED:
                    continue
                for number in range(1, rounds + 1):
                    metrics = {"loss": 0.5 / number, "mae": 4000 / number, "rmse": 6000 / number, "r2": 0.8}
                    for phase, seen, values in (
                        (Phase.TRAIN, 240, {}),
                        (Phase.EVALUATE, 60, metrics),
                    ):
                        central.add(
                            SiteResult(
                                **about,
                                round_number=number,
                                phase=phase,
                                outcome=SiteOutcome.OK,
                                num_examples=seen,
                                **values,
                            )
                        )
            for number in range(1, rounds + 1):
                central.add(
                    TrainingRound(
                        run_id=run.id,
                        round_number=number,
                        clients_participated=4 - len(excluded),
                        aggregation_method="fedavg",
                        status=RoundStatus.COMPLETED,
                        loss=0.5 / number,
                        mae=4000 / number,
                        rmse=6000 / number,
                        r2=0.8,
                        num_examples=240,
                        completed_at=now,
                    )
                )
            central.commit()
            return run.id

    return add


def test_without_a_model_an_administrator_is_told_to_start(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    assert "No model exists yet" in words(app)
    assert has_key(app, "training_start")


def test_without_a_model_a_scientist_is_told_who_starts(consortium: Consortium) -> None:
    app = page_of(consortium, "scientist", "training")
    assert "An administrator starts the first training" in words(app)
    assert not has_key(app, "training_start")


def test_starting_asks_for_rounds_and_shows_the_run_queued(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    app.button(key="training_start").click().run()
    rounds = app.text_input(key="training_num_rounds")
    assert rounds.value == "10"
    rounds.set_value("4").run()
    app.button(key="training_start_confirmed").click().run()
    assert not app.exception
    with consortium.central() as central:
        run = central.scalars(select(TrainingRun)).one()
    assert (run.status, run.num_rounds) == (RunStatus.QUEUED, 4)
    assert f"Run {run.id}" in words(app)
    assert 'aria-current=step><span class="dot" aria-hidden="true">1<' in words(app)
    assert has_key(app, "training_start")
    assert has_key(app, "training_cancel")


def test_a_cancel_is_confirmed_first(consortium: Consortium, add_run: AddRun) -> None:
    run_id = add_run(RunStatus.QUEUED)
    app = page_of(consortium, "admin", "training")
    app.button(key="training_cancel").click().run()
    app.button(key="training_cancel_kept").click().run()
    assert _status(consortium, run_id) == RunStatus.QUEUED
    app.button(key="training_cancel").click().run()
    app.button(key="training_cancel_confirmed").click().run()
    assert _status(consortium, run_id) == RunStatus.CANCELLED
    assert "This run was cancelled" in words(app)


def test_a_scientist_watches_without_controls(consortium: Consortium, add_run: AddRun) -> None:
    add_run(RunStatus.TRAINING, rounds=2)
    app = page_of(consortium, "scientist", "training")
    assert not app.exception
    assert not has_key(app, "training_cancel")
    assert "Round 2 of 5" in words(app)
    assert {metric.label: metric.value for metric in app.metric}["MAE (USD a year)"] == r"\$2,000"
    assert len(app.get("bidi_component")) == 6


def test_who_took_part_and_who_sat_out_and_why(consortium: Consortium, add_run: AddRun) -> None:
    reason = "Too few patients with a known cost (12 of at least 30)."
    add_run(RunStatus.COMPLETED, rounds=3, excluded={"southwest": reason})
    app = page_of(consortium, "scientist", "training")
    table = app.table[0].value
    by_hospital = {row["Hospital"]: row for row in table.to_dict("records")}
    assert by_hospital["Northeast Hospital"]["Took part"] == "Yes, all 3 rounds"
    assert by_hospital["Northeast Hospital"]["Rows trained on"] == "240"
    assert by_hospital["Northeast Hospital"]["Rows held out"] == "60"
    assert by_hospital["Southwest Hospital"]["Took part"] == "Sat out"
    assert by_hospital["Southwest Hospital"]["Remark"].replace("\\", "") == reason


def test_a_failed_run_says_why(consortium: Consortium, add_run: AddRun) -> None:
    reason = "Only 1 of at least 2 hospitals answered. Start again when the others are connected."
    add_run(RunStatus.FAILED, rounds=1, error=reason)
    app = page_of(consortium, "admin", "training")
    assert app.error[-1].value.replace("\\", "") == reason
    assert has_key(app, "training_start")


def test_a_completed_run_names_its_version(
    consortium: Consortium, add_model: Callable[..., ModelVersion]
) -> None:
    add_model("v7")
    app = page_of(consortium, "scientist", "training")
    assert "This run made model version **v7**" in words(app)


def test_an_earlier_run_can_be_chosen(consortium: Consortium, add_run: AddRun) -> None:
    earlier = add_run(RunStatus.COMPLETED, rounds=2)
    newest = add_run(RunStatus.COMPLETED, rounds=3)
    app = page_of(consortium, "scientist", "training")
    assert f"Run {newest}" in words(app)
    app.query_params["run"] = str(earlier)
    app.run()
    assert f"Run {earlier}" in words(app)
    app.button(key="training_newest").click().run()
    assert f"Run {newest}" in words(app)


def test_a_run_that_does_not_exist_is_a_sentence(consortium: Consortium, add_run: AddRun) -> None:
    add_run(RunStatus.COMPLETED, rounds=1)
    app = page_of(consortium, "scientist", "training")
    app.query_params["run"] = "999999"
    app.run()
    assert "There is no Run 999999." in words(app)
    assert not app.exception


def test_an_unexpected_failure_is_a_sentence_with_a_reference(
    consortium: Consortium, add_run: AddRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_run(RunStatus.COMPLETED, rounds=1)

    quoted_row = "Jane"

    def fails(**_: object) -> None:
        raise RuntimeError(quoted_row)

    monkeypatch.setattr(monitoring, "run_progress", fails)
    app = page_of(consortium, "scientist", "training")
    assert not app.exception
    assert "Something went wrong on our side" in words(app)
    assert quoted_row not in words(app)
    assert quoted_row not in caplog.text


def _status(consortium: Consortium, run_id: int) -> str:
    with consortium.central() as central:
        return central.scalars(select(TrainingRun.status).where(TrainingRun.id == run_id)).one()
