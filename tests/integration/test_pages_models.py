"""The Models page by role: what is shown of a version, what can be decided, and what it says when that fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from app.databases import central_session
from app.services import registry
from db.central import Institution, ModelVersion, Promotion, TrainingRun
from db.federation import ShadowComparison
from db.states import RunKind
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, page_of, words

AddModel = Callable[..., ModelVersion]
CELL = {"num_examples": 60, "loss": 0.2, "mae": 2800.0, "rmse": 4900.0, "r2": 0.81}
WORSE = {**CELL, "mae": 3100.0, "r2": 0.75}
COMPARED = {
    "institutions": {"northeast": CELL},
    "groups": {"smoker": {"no": CELL, "yes": None}},
    "champion": {
        "version": "v1",
        "institutions": {"northeast": WORSE},
        "overall": WORSE,
        "groups": {"smoker": {"no": WORSE, "yes": None}},
    },
    "decision": "Better than v1 on the same held-out patients.",
}
LINEAGE = {"strategy": "fedavg", "seed": 5, "sites": {"northeast": 240}, "settings": {"local_epochs": 5}}
UNMEASURED = {"r2": None, "rmse": None, "mae": None, "mse": None}
IMPORTED = {
    "origin": "import",
    "run_id": None,
    "training_round": None,
    "num_examples": 0,
    "metrics": {},
    "lineage": {"file_name": "mine.keras", "imported_by": "The scientist"},
}


@pytest.fixture
def two(consortium: Consortium, add_model: AddModel) -> None:
    """Version v1 in use, v2 waiting."""
    add_model("v1")
    add_model("v2", status="candidate", seed=2, metrics=COMPARED, lineage=LINEAGE)


def _open(consortium: Consortium, person: str, version: str) -> AppTest:
    app = page_of(consortium, person, "models")
    app.query_params["version"] = version
    app.run()
    assert not app.exception
    return app


def _decide(app: AppTest, button: str, reason: str) -> AppTest:
    app.button(key=button).click().run()
    app.text_area(key="models_reason").input(reason).run()
    app.button(key="models_confirmed").click().run()
    assert not app.exception
    return app


def _states(consortium: Consortium) -> dict[str, str]:
    with consortium.central() as central:
        return dict(central.execute(select(ModelVersion.version, ModelVersion.status)).all())


def _keys(app: AppTest) -> set[str]:
    names = (
        "promote",
        "reject",
        "rollback",
        "propose",
        "shadow_start",
        "shadow_stop",
        "evaluate",
        "import",
    )
    return {name for name in names if has_key(app, f"models_{name}")}


def test_who_is_offered_what_for_a_version_as_it_stands(
    consortium: Consortium, two: None, add_model: AddModel
) -> None:
    add_model("v0", status="retired")
    add_model("vx", status="rejected")
    offered = {
        (person, version): _keys(_open(consortium, person, version))
        for person in ("admin", "scientist")
        for version in ("v0", "v1", "v2", "vx")
    }
    always = {"import", "evaluate"}
    assert offered == {
        ("admin", "v0"): {"rollback", *always},
        ("admin", "v1"): {"rollback", *always},
        ("admin", "v2"): {"promote", "reject", "shadow_start", *always},
        ("admin", "vx"): {"promote", *always},
        ("scientist", "v0"): {"import"},
        ("scientist", "v1"): {"import"},
        ("scientist", "v2"): {"propose", "import"},
        ("scientist", "vx"): {"import"},
    }


def test_a_version_is_shown_beside_the_one_in_use_and_with_where_it_comes_from(
    consortium: Consortium, two: None
) -> None:
    app = _open(consortium, "scientist", "v2")
    tables = [table.value.map(lambda text: str(text).replace("\\", "")) for table in app.table]
    compared = next(table for table in tables if "Patients of" in table)
    assert compared.iloc[0].to_list() == [
        "All hospitals",
        "60",
        "$3,000",
        "$3,100",
        "−$100",
        "0.800",
        "0.750",
    ]
    assert compared.iloc[1].to_list()[:5] == ["Northeast Hospital", "60", "$2,800", "$3,100", "−$300"]
    smoker = next(table for table in tables if "Smoker" in table and "Change" in table)
    assert smoker["Change"].to_list() == ["−$300", "–"]
    said = words(app)
    assert "Better than v1 on the same held-out patients." in said
    lineage = next(table for table in tables if "Value" in table)
    assert dict(zip(lineage["What"], lineage["Value"], strict=True)) == {
        "Strategy": "fedavg",
        "Seed": "5",
        "Rows of northeast": "240",
        "Settings": "local_epochs 5",
    }


def test_a_version_of_before_comparisons_were_kept_is_shown_without(
    consortium: Consortium, two: None, add_model: AddModel
) -> None:
    old = {
        "institutions": {"northeast": CELL},
        "champion": {"version": "v0", "institutions": {"northeast": WORSE}},
    }
    add_model("v3", status="candidate", metrics=old)
    said = words(_open(consortium, "admin", "v3"))
    assert "It was compared with v0, which was in use then. Now v1 is" in said
    assert "before that was told apart by group" in said
    said = words(_open(consortium, "admin", "v1"))
    assert "It was not compared with another version" in said


def test_an_administrator_promotes_with_a_reason_and_rolls_back(consortium: Consortium, two: None) -> None:
    app = _open(consortium, "admin", "v2")
    app = _decide(app, "models_promote", "Better for smokers")
    assert "Version v2 is in use now." in words(app)
    assert _states(consortium) == {"v1": "retired", "v2": "champion"}
    history = next(table.value for table in app.table if "Reason" in table.value)
    assert list(history.iloc[0])[1:] == ["Put into use, before: v1", "v2", "The admin", "Better for smokers"]

    app = _open(consortium, "admin", "v2")
    app = _decide(app, "models_rollback", "Worse for children")
    assert "Version v1 is in use again." in words(app)
    assert _states(consortium) == {"v1": "champion", "v2": "retired"}
    with consortium.central() as central:
        kept = [(one.action, one.reason) for one in central.scalars(select(Promotion).order_by(Promotion.id))]
    assert kept == [("promote", "Better for smokers"), ("rollback", "Worse for children")]


def test_without_a_reason_the_dialog_stays_and_says_so(consortium: Consortium, two: None) -> None:
    app = _decide(_open(consortium, "admin", "v2"), "models_reject", "  ")
    assert [error.value for error in app.error] == ["Say why, in 3 to 500 characters."]
    assert has_key(app, "models_confirmed") and _states(consortium)["v2"] == "candidate"
    app.text_area(key="models_reason").input("Worse in the south").run()
    app.button(key="models_confirmed").click().run()
    assert not app.error and "Version v2 is not adopted." in words(app)
    assert _states(consortium)["v2"] == "rejected"


def test_what_somebody_else_decided_meanwhile_is_said_and_stands(
    consortium: Consortium, two: None, add_model: AddModel
) -> None:
    add_model("v3", status="candidate")
    app = _open(consortium, "admin", "v2")
    app.button(key="models_promote").click().run()
    app.text_area(key="models_reason").input("Better").run()
    with central_session() as central:
        registry.promote(
            central=central, actor=consortium.actors["admin"], version="v3", reason="Even better"
        )
    app.button(key="models_confirmed").click().run()
    said = [error.value.replace("\\", "") for error in app.error]
    assert said and "Meanwhile version v3 is in use, not version v1" in said[0]
    assert _states(consortium) == {"v1": "retired", "v2": "candidate", "v3": "champion"}


def test_a_data_scientist_proposes_and_an_administrator_sees_it_with_the_reason(
    consortium: Consortium, two: None
) -> None:
    app = _decide(_open(consortium, "scientist", "v2"), "models_propose", "Half the error of smokers")
    assert "Version v2 is proposed. An administrator decides." in words(app)
    for version in ("v1", "v2"):
        said = words(_open(consortium, "admin", version))
        assert "The scientist" in said and "proposes to promote version v2" in said
        assert "Half the error of smokers" in said
    app = _decide(_open(consortium, "scientist", "v2"), "models_propose", "Half the error of smokers")
    assert "You have already proposed version v2" in app.error[0].value.replace("\\", "")


def test_an_imported_version_without_figures_is_shown_and_waits_for_its_evaluation(
    consortium: Consortium, two: None, add_model: AddModel
) -> None:
    add_model("import-1", status="candidate", **IMPORTED, **UNMEASURED)
    app = _open(consortium, "admin", "import-1")
    said = words(app)
    assert "Imported from a file on" in said and "Press **Evaluate** first." in said
    app = _decide(app, "models_promote", "Let us see")
    assert "Version import-1 has no figures yet" in app.error[0].value.replace("\\", "")
    app = _open(consortium, "admin", "import-1")
    app.button(key="models_evaluate").click().run()
    assert not app.exception and not app.error
    with consortium.central() as central:
        run = central.scalars(select(TrainingRun).order_by(TrainingRun.id.desc())).first()
        version = central.scalars(select(ModelVersion).where(ModelVersion.version == "import-1")).one()
    assert run is not None and (run.kind, run.start_version_id) == (RunKind.EVALUATION, version.id)
    assert f"Run {run.id} will evaluate the version." in words(app)


def test_a_card_of_an_imported_version_says_that_its_training_is_not_known(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("import-1", **IMPORTED)
    app = page_of(consortium, "nurse", "model_card")
    assert not app.exception
    assert "imported from a file on" in words(app)


def test_the_shadow_is_started_and_its_figures_are_told_with_the_verdict(
    consortium: Consortium, two: None
) -> None:
    app = _decide(_open(consortium, "admin", "v2"), "models_shadow_start", "Try it on new patients")
    said = words(app)
    assert "Version v2 predicts as the shadow." in said and "No hospital has told of ten patients yet" in said
    with consortium.central() as central:
        ids = dict(central.execute(select(ModelVersion.version, ModelVersion.id)).all())
        central.add(
            ShadowComparison(
                champion_version_id=ids["v1"],
                shadow_version_id=ids["v2"],
                institution_id=central.scalars(
                    select(Institution.id).where(Institution.code == "northeast")
                ).one(),
                num_examples=300,
                champion_error=900_000.0,
                shadow_error=750_000.0,
                difference=-150_000.0,
                difference_squared=300 * (500.0**2 + 1000.0**2),
            )
        )
        central.commit()
    app = _open(consortium, "scientist", "v2")
    table = next(table.value for table in app.table if "MAE shadow (USD)" in table.value)
    rows = table.map(lambda text: str(text).replace("\\", "")).to_numpy().tolist()
    assert rows[0][:5] == ["All hospitals", "300", "$3,000", "$2,500", "−$500"]
    assert rows[1][0] == "Northeast Hospital"
    assert "The shadow v2 is better than v1, by 500 USD a year on average" in words(app)
    app = _decide(_open(consortium, "admin", "v2"), "models_shadow_stop", "Enough is known")
    assert "The shadow v2 is stopped." in words(app) and "When it was the shadow" in words(app)


def test_an_import_dialog_says_what_it_accepts(consortium: Consortium, two: None) -> None:
    app = _open(consortium, "scientist", "v1")
    app.button(key="models_import").click().run()
    assert not app.exception
    assert "anything but this network is refused" in words(app)
    assert app.button(key="models_import_confirmed").disabled


def test_without_any_version_a_model_can_still_be_imported(consortium: Consortium) -> None:
    app = page_of(consortium, "scientist", "models")
    assert "No model exists yet" in words(app) and has_key(app, "models_import")
