"""The page of triggers: adding and editing with live checks, pausing, firing, deleting, the history and the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest

from app.databases import central_session
from app.services import run_queue, training, triggers
from app.services.trigger_request import TriggerRequest
from db.central import TrainingRun, TrainingTrigger
from fl.triggers import evaluate_triggers
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words

MONDAYS = TriggerRequest("Mondays", "schedule", cron="0 3 * * 1", timezone="Europe/Berlin")


def add(consortium: Consortium, request: TriggerRequest = MONDAYS) -> int:
    with central_session() as central:
        actor = consortium.actors["admin"]
        return triggers.add_trigger(central=central, actor=actor, request=request).id


def kept(consortium: Consortium) -> list[TrainingTrigger]:
    with consortium.central() as central:
        return list(central.scalars(select(TrainingTrigger).order_by(TrainingTrigger.id)))


def opened_form(consortium: Consortium) -> AppTest:
    app = page_of(consortium, "admin", "triggers")
    return app.button(key="trigger_add").click().run()


def test_without_a_trigger_the_page_says_what_to_do(consortium: Consortium) -> None:
    said = words(page_of(consortium, "admin", "triggers"))
    assert "No trigger yet" in said and "Press **Add a trigger**" in said and "No run waits." in said
    assert "History" not in said


def test_a_schedule_is_checked_while_one_types_and_shows_its_next_times(consortium: Consortium) -> None:
    app = opened_form(consortium)
    assert "Next: Mon " in words(app)
    app.text_input(key="trigger_field_cron").input("61 * * * *").run()
    assert "Minutes are 0 to 59" in words(app) and "Example: 0 3 * * 1 is every Monday at 03:00" in words(app)
    assert "Next:" not in words(app)
    app.button(key="trigger_form_save").click().run()
    assert "Please correct 2 fields first; nothing was saved." in words(app)
    assert "A trigger has a name of 1 to 100 printable characters." in words(app)
    assert kept(consortium) == []

    app.text_input(key="trigger_field_cron").input("30 2 * * *").run()
    app.selectbox(key="trigger_field_timezone").select("Europe/Berlin").run()
    app.text_input(key="trigger_field_name").input("Nightly").run()
    app.text_input(key="trigger_field_num_rounds").input("4").run()
    app.multiselect(key="trigger_field_changed").select("local_epochs").run()
    app.text_input(key="trigger_field_set_local_epochs").input("two").run()
    assert "must be a whole number" in words(app)
    app.text_input(key="trigger_field_set_local_epochs").input("2").run()
    app.button(key="trigger_form_save").click().run()
    [trigger] = kept(consortium)
    assert (trigger.name, trigger.kind, trigger.is_active) == ("Nightly", "schedule", True)
    assert trigger.settings["cron"] == "30 2 * * *" and trigger.settings["timezone"] == "Europe/Berlin"
    assert trigger.settings["run"]["num_rounds"] == 4
    assert trigger.settings["run"]["settings"] == {"local_epochs": 2}
    said = words(app)
    assert "Nightly" in said and "4 rounds" in said and "1 setting of its own" in said
    assert "02:30 CE" in said and "UTC)" in said and "It has not fired yet." in said


def test_by_new_patients_and_a_saved_start(consortium: Consortium) -> None:
    app = opened_form(consortium)
    app.text_input(key="trigger_field_name").input("Enough").run()
    app.segmented_control(key="trigger_field_kind").set_value("new_records").run()
    assert "At the moment: at least 0, as 0 hospitals told." in words(app)
    app.text_input(key="trigger_field_records").input("5").run()
    assert "must be from 10 to 10,000,000, not 5" in words(app)
    app.text_input(key="trigger_field_records").input("250").run()
    app.button(key="trigger_form_save").click().run()
    assert "When hospitals have told of 250 new patients with a known cost" in words(app)
    [trigger] = kept(consortium)
    assert (trigger.kind, trigger.settings["records"], trigger.next_fire_at) == ("new_records", 250, None)


def test_editing_begins_with_what_the_trigger_says(consortium: Consortium) -> None:
    changes: dict[str, Any] = {"num_rounds": 7, "run_settings": {"learning_rate": 0.002, "local_only": False}}
    trigger_id = add(consortium, TriggerRequest(**{**vars(MONDAYS), **changes}))
    app = page_of(consortium, "admin", "triggers")
    app.button(key=f"trigger_edit_{trigger_id}").click().run()
    assert app.text_input(key="trigger_field_cron").value == "0 3 * * 1"
    assert app.text_input(key="trigger_field_set_learning_rate").value == "0.002"
    app.checkbox(key="trigger_field_only_if_new_data").check().run()
    app.button(key="trigger_form_save").click().run()
    [trigger] = kept(consortium)
    assert trigger.settings["only_if_new_data"] is True
    assert trigger.settings["run"]["num_rounds"] == 7
    assert trigger.settings["run"]["settings"] == changes["run_settings"]
    assert "and only if there are new patients" in words(app)


def test_pausing_firing_and_deleting(consortium: Consortium) -> None:
    trigger_id = add(consortium)
    app = page_of(consortium, "admin", "triggers")
    assert "**Next:** Mon " in words(app)
    app.button(key=f"trigger_active_{trigger_id}").click().run()
    assert "**Next:**" not in words(app) and not kept(consortium)[0].is_active
    app.button(key=f"trigger_active_{trigger_id}").click().run()
    assert kept(consortium)[0].is_active

    app.button(key=f"trigger_run_{trigger_id}").click().run()
    with consortium.central() as central:
        [run] = central.scalars(select(TrainingRun)).all()
    said = words(app)
    assert f"Mondays: run {run.id} was asked for." in said and "One run waits to be started." in said
    assert "The admin, trigger “Mondays”" in said and "The admin asked for it." in said
    app.button(key=f"trigger_run_{trigger_id}").click().run()
    assert f"Mondays did not fire. The admin asked for it. Run {run.id}, which this trigger" in words(app)

    app.button(key=f"trigger_delete_{trigger_id}").click().run()
    assert "asks for no run any more" in words(app)
    app.button(key="trigger_delete_confirmed").click().run()
    assert "No trigger yet" in words(app) and "The admin asked for it." in words(app)
    assert kept(consortium)[0].deleted_at is not None


def test_why_a_trigger_did_not_fire_stands_with_it_and_in_the_history(consortium: Consortium) -> None:
    add(consortium, TriggerRequest(**{**vars(MONDAYS), "only_if_new_data": True}))
    with consortium.central() as central, central.begin():
        due = datetime(2026, 11, 23, 2, tzinfo=UTC)
        central.execute(update(TrainingTrigger).values(next_fire_at=due))
        evaluate_triggers(central, due + timedelta(seconds=1))
    said = words(page_of(consortium, "admin", "triggers"))
    assert said.count("Scheduled for 23 Nov 2026, 03:00 CET. No hospital has told yet") == 2


def test_the_queue_is_steered_from_the_page(consortium: Consortium) -> None:
    admin = consortium.actors["admin"]
    with central_session() as central:
        runs = [training.start_run(central=central, actor=admin, num_rounds=2).id for _ in range(3)]
    app = page_of(consortium, "admin", "triggers")
    assert "3 runs wait to be started, one after the other." in words(app)
    assert not has_key(app, f"trigger_front_{runs[0]}")
    app.button(key=f"trigger_front_{runs[2]}").click().run()
    app.button(key=f"trigger_cancel_{runs[0]}").click().run()
    app.button(key="trigger_queue_pause").click().run()
    assert "The queue was paused by The admin" in words(app)
    with consortium.central() as central:
        state = run_queue.queue_state(central)
    assert state.is_paused and [run.id for run in state.waiting] == [runs[2], runs[1]]
    app.button(key="trigger_queue_pause").click().run()
    assert "2 runs wait to be started" in words(app)


@pytest.mark.parametrize("person", ["scientist", "doctor"])
def test_who_does_not_steer_the_training_sees_nothing_of_it(consortium: Consortium, person: str) -> None:
    add(consortium)
    said = words(opened(consortium, person, "pages/triggers.py").run())
    assert "Your role does not include this" in said and "Mondays" not in said
