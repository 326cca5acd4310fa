"""The cohort page, its route and its warnings, over Runs of kind cohort in the database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.components.charts import Line
from app.components.cohort_view import histogram
from app.databases import central_session
from app.errors import NotFound, PermissionRefused
from app.services import cohort
from db.central import AuditEvent, Institution, SiteResult, TrainingRun
from db.cohort import generate
from db.states import Phase, RunKind, RunStatus, SiteOutcome
from fl.cohort_summary import MEASURES, pool, summarise
from fl.cohort_warnings import warnings_of
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, page_of, words

AddCount = Callable[..., int]
SITES = ("northeast", "northwest", "southeast")


@pytest.fixture
def add_count(consortium: Consortium) -> AddCount:
    """Insert a Run of kind cohort as the ServerApp writes it; the southwest sat out."""

    def add(status: str = RunStatus.COMPLETED, *, monthly: bool = False, **columns: Any) -> int:
        ended = status in (RunStatus.COMPLETED, RunStatus.FAILED)
        sites = {}
        for place, code in enumerate(SITES):
            people = generate(300, seed=place, region=code)
            values: dict[str, list[Any]] = {
                measure.name: list(getattr(people, measure.name)) for measure in MEASURES
            }
            if code == "northwest":
                values["insurance_cost"] = [None] * 120 + [
                    cost / (12 if monthly else 1) for cost in values["insurance_cost"][120:]
                ]
            sites[code] = summarise(values)
        found = {
            "institutions": {code: site.to_json() for code, site in sites.items()},
            "pooled": pool(list(sites.values())).to_json(),
            "warnings": [asdict(warning) for warning in warnings_of(sites)],
        }
        with consortium.central() as central:
            run = TrainingRun(
                idempotency_key=uuid.uuid4().hex,
                kind=RunKind.COHORT,
                status=status,
                num_rounds=0,
                strategy="",
                settings={},
                seed=1,
                started_at=datetime.now(UTC),
                finished_at=datetime.now(UTC) if ended else None,
                results={"cohort": found} if status == RunStatus.COMPLETED else {},
                **columns,
            )
            central.add(run)
            central.flush()
            away = central.scalars(select(Institution).where(Institution.code == "southwest")).one()
            central.add(
                SiteResult(
                    run_id=run.id,
                    round_number=0,
                    phase=Phase.COHORT,
                    institution_id=away.id,
                    outcome=SiteOutcome.EXCLUDED,
                    reason="Fewer than 30 patients.",
                )
            )
            central.commit()
            return run.id

    return add


def test_before_the_first_count_an_administrator_is_told_to_press_and_a_scientist_who_does(
    consortium: Consortium,
) -> None:
    app = page_of(consortium, "admin", "cohort")
    assert "Press Count patients" in words(app).replace("*", "") and has_key(app, "cohort_count")
    app = page_of(consortium, "scientist", "cohort")
    assert "An administrator counts the patients here" in words(app) and not has_key(app, "cohort_count")
    with central_session() as central:
        assert cohort.latest_warnings(central) == []
        with pytest.raises(NotFound, match="have not been counted yet"):
            cohort.cohort(central=central, actor=consortium.actors["scientist"])


def test_pressing_asks_for_one_count_and_says_that_it_is_going_on(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "cohort")
    app.button(key="cohort_count").click().run()
    assert not app.exception
    with consortium.central() as central:
        run = central.scalars(select(TrainingRun)).one()
        assert (run.kind, run.status, run.num_rounds) == (RunKind.COHORT, RunStatus.QUEUED, 0)
        assert central.scalars(select(AuditEvent.action)).all() == ["run_started"]
    assert not has_key(app, "cohort_count")
    assert any(f"Run {run.id} counts the patients" in bar.proto.text for bar in app.get("progress"))


def test_the_count_is_shown_with_its_warnings_first(consortium: Consortium, add_count: AddCount) -> None:
    run_id = add_count(monthly=True)
    app = page_of(consortium, "scientist", "cohort")
    assert not app.exception
    said = words(app)
    assert "Northwest Hospital: Costs are about 1" in said.replace("*", "")
    assert "40 % of the patients have no known cost" in said
    assert f"(run {run_id}): 900 patients of 3 hospitals" in said
    assert "Southwest Hospital is not counted. Fewer than 30 patients." in said
    table = app.table[0].value
    assert list(table["Hospital"]) == [
        "All hospitals",
        "Northeast Hospital",
        "Northwest Hospital",
        "Southeast Hospital",
    ]
    assert list(table["Patients"]) == ["900", "300", "300", "300"]
    assert table["Not known"][2].replace("\\", "") == "Cost: 120"
    assert len(app.get("plotly_chart")) == len(MEASURES)
    assert not has_key(app, "cohort_count")


def test_without_warnings_the_page_says_that_nothing_stands_out(
    consortium: Consortium, add_count: AddCount, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add_count()
    with consortium.central() as central:
        run = central.get_one(TrainingRun, run_id)
        run.results = {"cohort": {**run.results["cohort"], "warnings": []}}
        central.commit()
    app = page_of(consortium, "admin", "cohort")
    assert "Nothing stands out" in words(app) and has_key(app, "cohort_count")


def test_a_count_that_failed_keeps_the_one_before_and_says_why(
    consortium: Consortium, add_count: AddCount
) -> None:
    counted = add_count()
    add_count(RunStatus.FAILED, error="Only 1 of the at least 2 hospitals needed were connected.")
    app = page_of(consortium, "admin", "cohort")
    said = words(app)
    assert "The last count found nothing. Only 1 of the at least 2" in said and f"(run {counted})" in said


def test_withheld_bins_are_gaps_and_not_zeros(consortium: Consortium, add_count: AddCount) -> None:
    add_count()
    with central_session() as central:
        picture = cohort.cohort(central=central, actor=consortium.actors["scientist"])
    northeast = picture.institutions[0]
    bmi = next(measure for measure in northeast.features if measure.name == "bmi")
    hidden = [index for index, one in enumerate(bmi.bins) if one.patients is None]
    assert len(hidden) >= 2 and bmi.withheld >= 10
    assert sum(one.patients or 0 for one in bmi.bins) + bmi.withheld == northeast.count == 300
    assert [one.label for one in bmi.bins][:2] == ["under 15", "15–17.5"]
    pooled = next(measure for measure in picture.pooled.features if measure.name == "bmi")
    line = Line("northeast", "Northeast Hospital", "#0072B2", "circle", 1.8)
    figure = histogram(picture, pooled, lines=[line], shown=["northeast"])
    _, drawn = figure.data
    assert [index for index, share in enumerate(drawn.y) if share is None] == hidden
    assert "fewer than 10" in drawn.customdata[hidden[0]][1]


def test_training_is_told_what_the_newest_count_warns_of(consortium: Consortium, add_count: AddCount) -> None:
    add_count(monthly=True)
    with central_session() as central:
        said = cohort.latest_warnings(central)
    assert len(said) == 2 and all(sentence.startswith("Northwest Hospital: ") for sentence in said)
    add_count()
    with central_session() as central:
        assert len(cohort.latest_warnings(central)) == 1  # only the unknown costs are left


def test_the_api_answers_the_newest_count(
    consortium: Consortium, add_count: AddCount, api: TestClient, token_of: Callable[[str], dict[str, str]]
) -> None:
    headers = token_of("scientist")
    assert api.get("/cohort", headers=headers).status_code == 404
    run_id = add_count(monthly=True)
    answer = api.get("/cohort", headers=headers)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["run_id"], body["pooled"]["count"], len(body["institutions"])) == (run_id, 900, 3)
    assert {warning["feature"] for warning in body["warnings"]} == {"insurance_cost"}
    assert body["absent"] == [{"name": "Southwest Hospital", "reason": "Fewer than 30 patients."}]
    smoker = next(one for one in body["institutions"][0]["features"] if one["name"] == "smoker")
    assert sum(one["patients"] for one in smoker["bins"]) == 300
    assert api.get("/cohort", headers=token_of("doctor")).status_code == 403


def test_a_doctor_may_not_read_the_cohort(consortium: Consortium) -> None:
    with central_session() as central, pytest.raises(PermissionRefused):
        cohort.cohort_state(central=central, actor=consortium.actors["doctor"])
