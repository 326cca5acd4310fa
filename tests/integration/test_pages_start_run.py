"""The form that starts a Run: its settings, what it refuses, and what it queues."""

from __future__ import annotations

from sqlalchemy import select

from db.central import TrainingRun
from db.states import RunKind, RunStatus
from fl.settings import STRATEGY_DEFAULTS, RunSettings
from tests.integration.conftest import AddRun, Consortium
from tests.integration.page_scripts import page_of, words


def test_more_settings_are_checked_as_one_types_and_nothing_is_lost(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    app.button(key="training_start").click().run()
    app.selectbox(key="training_strategy").set_value("fedprox").run()
    app.text_input(key="training_set_proximal_mu").set_value("lots").run()
    app.text_input(key="training_set_fraction_fit").set_value("0.3").run()
    app.text_input(key="training_num_rounds").set_value("0").run()
    said = words(app)
    for sentence in (
        "Enter a number from 0 to 10, not 'lots'.",
        "“Share of hospitals that train in a round” must be from 0.5 to 1, not 0.3.",
        "The number of rounds must be from 1 to 1000, not 0.",
    ):
        assert sentence in said
    app.button(key="training_start_confirmed").click().run()
    assert "Please correct 3 fields first; nothing was started." in words(app)
    assert app.text_input(key="training_set_proximal_mu").value == "lots"
    app.text_input(key="training_set_proximal_mu").set_value("0,25").run()
    app.text_input(key="training_set_fraction_fit").set_value("0.75").run()
    app.text_input(key="training_num_rounds").set_value("6").run()
    app.checkbox(key="training_set_local_only").uncheck().run()
    app.button(key="training_start_confirmed").click().run()
    assert not app.exception
    with consortium.central() as central:
        run = central.scalars(select(TrainingRun)).one()
    assert (run.strategy, run.num_rounds) == ("fedprox", 6)
    kept = RunSettings.from_json(run.settings)
    assert (kept.proximal_mu, kept.fraction_fit, kept.local_only, kept.local_epochs) == (0.25, 0.75, False, 5)


def test_another_strategy_brings_its_defaults_but_not_over_what_was_typed(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    app.button(key="training_start").click().run()
    app.text_input(key="training_set_learning_rate").set_value("0.3").run()
    app.selectbox(key="training_strategy").set_value("scaffold").run()
    assert app.selectbox(key="training_set_optimizer").value == "sgd"
    assert app.text_input(key="training_set_learning_rate").value == "0.3"
    app.button(key="training_defaults").click().run()
    default = STRATEGY_DEFAULTS["scaffold"]["learning_rate"]
    assert app.text_input(key="training_set_learning_rate").value == f"{default:g}"


def test_a_warm_start_without_a_model_is_refused_at_its_field(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    app.button(key="training_start").click().run()
    app.selectbox(key="training_set_start_from").set_value("champion").run()
    assert "No model is in use yet" in words(app)


def test_the_baseline_alone_is_a_kind_of_its_own(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    app.button(key="training_start").click().run()
    app.segmented_control(key="training_kind").set_value(RunKind.LEAST_SQUARES).run()
    assert "training_num_rounds" not in [field.key for field in app.text_input]
    app.button(key="training_start_confirmed").click().run()
    with consortium.central() as central:
        run = central.scalars(select(TrainingRun)).one()
    assert (run.kind, run.num_rounds, run.strategy) == ("least_squares", 0, "")
    assert "Asking the hospitals" in words(app)


def test_a_run_can_be_queued_behind_the_one_at_work(consortium: Consortium, add_run: AddRun) -> None:
    at_work = add_run(RunStatus.TRAINING, rounds=1)
    app = page_of(consortium, "admin", "training")
    app.button(key="training_start").click().run()
    assert f"Run {at_work} is at work. This one waits until it has ended." in words(app)
    app.button(key="training_start_confirmed").click().run()
    assert f"Run {at_work}" in words(app)
    assert "Round 1 of 5" in words(app)
