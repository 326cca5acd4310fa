"""The training page over Runs in the database: asking, cancelling, watching, and looking back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.services import monitoring
from db.central import ModelVersion, TrainingRound, TrainingRun
from db.federation import RunEvent
from db.states import RunKind, RunStatus
from tests.integration.conftest import AddRun, Consortium
from tests.integration.page_scripts import has_key, page_of, words


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


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_an_ended_run_with_a_saved_round_is_resumed(
    consortium: Consortium, add_run: AddRun, status: str
) -> None:
    error = "The server stopped." if status == RunStatus.FAILED else None
    ended = add_run(status, rounds=2, error=error)
    app = page_of(consortium, "admin", "training")
    assert not has_key(app, "training_resume")
    with consortium.central() as central:
        saved = update(TrainingRound).where(TrainingRound.round_number == 1).values(weights=b"1234")
        central.execute(saved)
        central.commit()
    assert not has_key(page_of(consortium, "scientist", "training"), "training_resume")
    app.run()
    assert "Round 1 is saved" in words(app)
    app.button(key="training_resume").click().run()
    assert not app.exception
    with consortium.central() as central:
        run = central.scalars(select(TrainingRun).order_by(TrainingRun.id.desc())).first()
    assert run is not None
    assert (run.resumed_from_id, run.status) == (ended, RunStatus.QUEUED)
    assert f"goes on with [run {ended}]" in words(app)


def test_the_grid_says_what_each_hospital_did_in_each_round(consortium: Consortium, add_run: AddRun) -> None:
    reason = "Too few patients with a known cost (12 of at least 30)."
    add_run(RunStatus.COMPLETED, rounds=30, num_rounds=30, excluded={"southwest": reason})
    app = page_of(consortium, "scientist", "training")
    grid = next(each.body for each in app.html if "fc-grid" in each.body)
    assert 'title="Northeast Hospital, round 30: Used. 240 patients.">✓<i>Used</i></td>' in grid
    assert ">5</th>" not in grid
    app.button(key="training_grid_earlier").click().run()
    grid = next(each.body for each in app.html if "fc-grid" in each.body)
    assert f'title="Southwest Hospital, statistics: Sat out. {reason}"' in grid
    assert ">5</th>" in grid
    assert ">30</th>" not in grid


def test_the_log_and_what_taking_part_brings_stand_below(consortium: Consortium, add_run: AddRun) -> None:
    gain = {"r2_federated": 0.86, "r2_local": 0.8, "num_examples": 54}
    usd = ("gain_rmse_usd", "gain_low_usd", "gain_high_usd")
    run_id = add_run(
        RunStatus.COMPLETED,
        rounds=2,
        results={
            "baseline": {"r2": 0.85, "mae": 2400.0, "rmse": 4500.0, "loss": 0.15, "num_examples": 240},
            "local_only": {
                "northeast": gain | dict(zip(usd, (420, 120, 710), strict=True)),
                "northwest": gain | dict(zip(usd, (30, -80, 140), strict=True)),
                "southeast": gain | dict(zip(usd, (-300, -500, -90), strict=True)),
                "southwest": {"r2_federated": None},
            },
        },
    )
    with consortium.central() as central:
        central.add(RunEvent(run_id=run_id, severity="warning", message="A hospital is <late>."))
        central.commit()
    app = page_of(consortium, "scientist", "training")
    said = words(app)
    assert "**Northeast Hospital**: yes. The common model errs by $420 a year less" in said
    assert "(90 % interval +$120 to +$710, 54 patients)" in said
    assert "**Northwest Hospital**: cannot be told. The difference of +$30 a year may be chance" in said
    assert "**Southeast Hospital**: no. A model trained here alone errs by $300 a year less" in said
    assert "**Southwest Hospital**: not known" in said
    assert "Warning:</b> A hospital is &lt;late&gt;." in said
    charts = [json.loads(each.proto.json) for each in app.get("bidi_component")]
    lines = [chart["figure"]["layout"]["shapes"][0]["y0"] for chart in charts[:3]]
    assert lines == [0.15, 2400.0, 0.85]


@pytest.mark.parametrize(
    ("kind", "results", "said"),
    [
        (
            RunKind.LEAST_SQUARES,
            {"baseline": {"r2": 0.85, "mae": 2400.0, "institutions": {"northeast": {"r2": 0.8}}}},
            "Least squares with interactions",
        ),
        (
            RunKind.EVALUATION,
            {
                "evaluation": {
                    "version": "v9",
                    "champion": "v5",
                    "overall": {"version": {"r2": 0.86}, "champion": {"r2": 0.85}},
                    "institutions": {"northeast": {"version": {"r2": 0.8}, "champion": None}},
                    "decision": "Better at every hospital.",
                    "promotes": True,
                }
            },
            "Better at every hospital.",
        ),
        (RunKind.COHORT, {"cohort": {}}, "Completed"),
        (RunKind.LEAST_SQUARES, {}, "left nothing to show here"),
    ],
)
def test_runs_that_train_nothing_show_what_they_found(
    consortium: Consortium, add_run: AddRun, kind: str, results: dict[str, Any], said: str
) -> None:
    version = None
    if kind == RunKind.EVALUATION:
        with consortium.central() as central:
            version = _imported(central)
    add_run(RunStatus.COMPLETED, num_rounds=0, kind=kind, results=results, start_version_id=version)
    app = page_of(consortium, "scientist", "training")
    assert not app.exception
    assert said in words(app)
    assert not app.get("bidi_component")[:-1]  # the list, and no chart
    assert "Round 0" not in words(app)


@pytest.mark.parametrize("status", list(RunStatus))
@pytest.mark.parametrize("kind", [RunKind.FEDERATED, RunKind.COHORT])
def test_a_run_in_every_state_is_drawn(
    consortium: Consortium, add_run: AddRun, status: str, kind: str
) -> None:
    error = "It failed." if status == RunStatus.FAILED else None
    add_run(status, num_rounds=5 if kind == RunKind.FEDERATED else 0, kind=kind, error=error)
    app = page_of(consortium, "scientist", "training")
    assert not app.exception
    assert not [each.value for each in app.error if each.value.replace("\\", "") != error]
    assert app.get("bidi_component")


def test_the_list_can_be_limited_to_a_kind(consortium: Consortium, add_run: AddRun) -> None:
    add_run(RunStatus.COMPLETED, rounds=3)
    add_run(RunStatus.COMPLETED, num_rounds=0, kind=RunKind.COHORT)
    app = page_of(consortium, "scientist", "training")

    def kinds() -> list[str]:
        listed = json.loads(app.get("bidi_component")[-1].proto.json)["rows"]
        return [row["cells"][1] for row in listed]

    assert kinds() == ["Patients described", "Training, FedAvg"]
    app.pills(key="training_kind_listed").set_value(RunKind.FEDERATED).run()
    assert kinds() == ["Training, FedAvg"]
    app.pills(key="training_kind_listed").set_value(RunKind.EVALUATION).run()
    assert "There is no run of this kind yet." in words(app)


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


def _imported(central: Session) -> int:
    version = ModelVersion(
        version="v9",
        model_path="models/v9.keras",
        origin="import",
        preprocessing={},
        weights=b"",
        weights_sha256="0" * 64,
        num_examples=0,
        metrics={},
    )
    central.add(version)
    central.commit()
    return version.id


def _status(consortium: Consortium, run_id: int) -> str:
    with consortium.central() as central:
        return central.scalars(select(TrainingRun.status).where(TrainingRun.id == run_id)).one()
