"""A version in use with another as its shadow, for tests of shadows."""

from __future__ import annotations

from collections.abc import Callable

from app.databases import central_session
from app.services import models, registry
from db.central import ModelVersion
from tests.integration.conftest import Consortium

AddModel = Callable[..., ModelVersion]
INPUTS = {"age": 40, "sex": "female", "bmi": 27.5, "children": 1, "smoker": "no", "region": "northeast"}
COLUMNS = {name: [value] for name, value in INPUTS.items()}


def shadow_beside_the_champion(consortium: Consortium, add_model: AddModel) -> tuple[float, float]:
    """Put version v1 into use with v2 as its shadow; return what each predicts for `INPUTS`, USD a year."""
    costs = []
    for name, status, seed in (("v1", "champion", 1), ("v2", "candidate", 2)):
        row = add_model(name, status=status, seed=seed)
        costs.append(round(float(models.load(row).model.predict(COLUMNS)[0]), 2))
    with central_session() as central:
        registry.start_shadow(
            central=central, actor=consortium.actors["admin"], version="v2", reason="Try it on new patients"
        )
    assert costs[0] != costs[1]
    return costs[0], costs[1]
