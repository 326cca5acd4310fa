"""The model card and the Models page tell everybody who trained a version, how good it is for whom and how sure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from db.central import Institution, ModelVersion, SiteResult
from db.states import Phase, SiteOutcome
from fl.groups import GROUPS
from fl.intervals import Calibration, GroupInterval
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import page_of, words

AddModel = Callable[..., ModelVersion]
WITHHELD = "withheld (fewer than 10 patients)"
CELL = {"num_examples": 60, "loss": 0.2, "mae": 2800.0, "rmse": 4900.0, "r2": 0.81}
CALIBRATION = Calibration(
    {"no": GroupInterval(-3000.0, 4500.0, 180, False), "yes": GroupInterval(-3500.0, 9000.0, 220, True)}
)


def _metrics(**changes: Any) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        groups.setdefault(group.feature, {})[group.code] = CELL
    groups["bmi"] = {**groups["bmi"], "-18.5": None}
    return {
        "institutions": {"northeast": CELL, "southwest": {**CELL, "r2": 0.75}},
        "groups": groups,
        "calibration": CALIBRATION.to_json(),
        **changes,
    }


def _train_in(consortium: Consortium, version: ModelVersion, rows: dict[str, int]) -> None:
    """Record what hospitals trained in the Round that made the version, and other figures that are not its own."""
    with consortium.central() as central:
        for institution in central.scalars(select(Institution)).all():
            for number, count in ((3, rows.get(institution.code)), (2, 999)):
                if count is None:
                    continue
                central.add(
                    SiteResult(
                        run_id=version.run_id,
                        round_number=number,
                        phase=Phase.TRAIN,
                        institution_id=institution.id,
                        outcome=SiteOutcome.OK,
                        num_examples=count,
                    )
                )
        central.commit()


def _tables(app: Any) -> list[pd.DataFrame]:
    """Return all tables as people read them, each by its first column."""
    frames = [table.value.map(lambda text: str(text).replace("\\", "")) for table in app.table]
    frames = [frame.rename(columns=lambda name: name.replace("\\", "")) for frame in frames]
    return [frame.set_index(frame.columns[0]) for frame in frames]


def _table(app: Any, column: str) -> pd.DataFrame:
    """Return the table that has this column."""
    return next(frame for frame in _tables(app) if column in [frame.index.name, *frame.columns])


@pytest.mark.parametrize("person", ["nurse", "doctor", "scientist", "admin"])
def test_everybody_reads_by_whom_it_was_trained_and_how_good_it_is_for_whom(
    consortium: Consortium, add_model: AddModel, person: str
) -> None:
    _train_in(consortium, add_model("v3", metrics=_metrics()), {"northeast": 240, "southeast": 210})
    app = page_of(consortium, person, "model_card")
    assert not app.exception
    said = words(app)
    assert "**Version v3** (in use)" in said and "by 2 hospitals on 1,000 patients" in said

    hospitals = _table(app, "Rows trained on")
    assert dict(hospitals["Rows trained on"]) == {
        "Northeast Hospital": "240",
        "Southeast Hospital": "210",
        "Southwest Hospital": "took no part",
    }
    assert hospitals.loc["Southeast Hospital", "Held-out patients"] == "not told"
    assert hospitals.loc["Southwest Hospital", "R²"] == "0.750"

    bmi = _table(app, "Body mass index (BMI)")
    assert bmi.loc["Under 18.5 kg/m²"].to_list() == [WITHHELD, "–", "–", "–"]
    assert bmi.loc["35 kg/m² and over"].to_list() == ["60", "$2,800", "$4,900", "0.810"]
    assert {"Smoker", "Sex", "Age", "Region"} <= {str(frame.index.name) for frame in _tables(app)}

    intervals = _table(app, "Width (USD)")
    assert intervals.loc["Smoker: no"].to_list() == ["−$3,000", "+$4,500", "$7,500", "180"]
    assert "Smoker: yes: too few of these patients could be told of" in said
    assert "age outside 18–64 years" in said and "What it must not be used for" in said


def test_only_a_demonstration_says_that_its_patients_are_generated(
    consortium: Consortium, add_model: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.settings import get_settings

    add_model("v1", metrics=_metrics())
    assert "The patients are generated" not in words(page_of(consortium, "doctor", "model_card"))
    monkeypatch.setenv("DEMO_MODE", "true")
    get_settings.cache_clear()
    assert "The patients are generated, not real" in words(page_of(consortium, "doctor", "model_card"))


def test_without_a_model_the_card_still_says_what_it_would_be(consortium: Consortium) -> None:
    said = words(page_of(consortium, "nurse", "model_card"))
    assert "No model exists yet" in said
    assert "from 6 facts: age, sex, body mass index (BMI)" in said
    assert "to set a premium, or to grant or refuse insurance" in said


def test_a_version_of_before_there_were_groups_and_intervals_says_so(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v1")
    app = page_of(consortium, "doctor", "model_card")
    assert not app.exception
    said = words(app)
    assert "trained before metrics were told apart by group" in said
    assert "this version has no intervals" in said


def test_a_card_has_an_address_and_says_when_its_version_is_not_in_use(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v1", status="retired", metrics=_metrics())
    add_model("v2", metrics=_metrics(), r2=0.85)
    app = page_of(consortium, "doctor", "model_card")
    app.query_params["version"] = "v1"
    app.run()
    assert "**Version v1** (retired)" in words(app)
    assert "This version is not in use" in words(app)


@pytest.mark.parametrize(("person", "shown"), [("nurse", False), ("doctor", False), ("scientist", True)])
def test_a_version_that_never_came_into_use_is_for_those_who_compare_models(
    consortium: Consortium, add_model: AddModel, person: str, shown: bool
) -> None:
    add_model("v1", metrics=_metrics())
    add_model("v2", status="candidate", metrics=_metrics())
    app = page_of(consortium, person, "model_card")
    app.query_params["version"] = "v2"
    app.run()
    said = words(app)
    assert ("**Version v2** (waiting for a decision)" in said) == shown
    assert ("There is no model version 'v2'." in said) != shown


@pytest.mark.parametrize("person", ["scientist", "admin"])
def test_models_shows_groups_and_intervals_of_any_version(
    consortium: Consortium, add_model: AddModel, person: str
) -> None:
    add_model("v1", metrics=_metrics(champion={"version": "v0", "institutions": {"northeast": {"r2": 0.7}}}))
    app = page_of(consortium, person, "models")
    assert not app.exception
    hospitals = _table(app, "Rows trained on")
    assert hospitals.loc["Northeast Hospital", "R² of v0"] == "0.700"
    assert _table(app, "Width (USD)").loc["Smoker: yes", "Width (USD)"] == "$12,500"
    assert _table(app, "Smoker").loc["Yes", "MAE (USD)"] == "$2,800"
