"""The services that describe a model version, and what the API answers of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.services import models
from app.services.model_card import model_card
from db.central import ModelVersion
from fl.intervals import Calibration, GroupInterval
from tests.integration.conftest import Consortium

AddModel = Callable[..., ModelVersion]
CELL = {"num_examples": 60, "loss": 0.2, "mae": 2800.0, "rmse": 4900.0, "r2": 0.81}
CALIBRATION = Calibration({"no": GroupInterval(-3000.0, 4500.0, 180, False), "yes": None})
METRICS = {
    "groups": {"smoker": {"no": CELL, "yes": None}, "hair": {"red": CELL}},
    "calibration": CALIBRATION.to_json(),
}


def test_a_loaded_model_brings_its_intervals(
    consortium: Consortium, central: Session, add_model: AddModel
) -> None:
    add_model("v1", metrics=METRICS)
    loaded = models.champion(central=central)
    assert loaded.calibration == CALIBRATION
    assert loaded.calibration.offsets("no") == (-3000.0, 4500.0)


@pytest.mark.parametrize("metrics", [{}, {"calibration": None}])
def test_a_version_without_intervals_still_loads(
    consortium: Consortium, central: Session, add_model: AddModel, metrics: dict[str, Any]
) -> None:
    add_model("v1", metrics=metrics)
    assert models.champion(central=central).calibration is None
    card = model_card(central=central, actor=consortium.actors["nurse"])
    assert (card.groups, card.intervals) == ([], [])


def test_the_api_answers_groups_and_intervals_of_the_model_in_use(
    consortium: Consortium,
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    add_model: AddModel,
) -> None:
    """A feature that this release does not know, as after an update, is left out."""
    add_model("v1", metrics=METRICS)
    answer = api.get("/model/metrics", headers=token_of("nurse")).json()
    assert [(group["label"], group["withheld"], group["num_examples"]) for group in answer["groups"]] == [
        ("Smoker: no", False, 60),
        ("Smoker: yes", True, None),
    ]
    assert [(each["smoker"], each["low"], each["high"]) for each in answer["intervals"]] == [
        ("no", -3000.0, 4500.0),
        ("yes", None, None),
    ]
