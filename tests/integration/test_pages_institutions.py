"""Taking part, as a hospital's administrator sees it, and the institutions, as the consortium's does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from app.auth.one_time_link import link_holder
from app.databases import central_session
from db.central import Institution
from db.site import Participation, RunApproval
from tests.integration.conftest import Consortium
from tests.integration.institution_facts import add_run, answer_presence, ask_for_approval, say
from tests.integration.page_scripts import has_key, opened, page_of, words


def tables(app: AppTest) -> list[list[dict[str, Any]]]:
    return [table.value.to_dict("records") for table in app.table]


def figures(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def change_to(app: AppTest, consent: str, reason: str = "") -> AppTest:
    app.button("participation_open_change").click().run()
    app.radio("participation_consent").set_value(consent).run()
    app.text_area("participation_reason").set_value(reason)
    return app.button("participation_save").click().run()


def test_a_hospital_pauses_with_a_reason_and_takes_part_again(consortium: Consortium) -> None:
    app = page_of(consortium, "manager", "participation")
    assert "Takes part in every run" in words(app) and "Nobody has decided otherwise yet" in words(app)
    assert "Northeast Hospital" in words(app)
    change_to(app, "paused")
    assert [error.value for error in app.error] == ["Say in a few words why your hospital pauses."]
    app.text_area("participation_reason").set_value("A new database")
    app.button("participation_save").click().run()
    assert not app.error and not app.exception
    assert "Paused" in words(app) and "Reason: A new database" in words(app)
    assert "Decided by The manager" in words(app)
    change_to(app, "open")
    assert [row["Your hospital"] for row in tables(app)[-1]] == ["Takes part in every run", "Paused"]
    with consortium.site("northeast") as site:
        assert site.scalars(select(Participation.consent)).all() == ["open"]


def test_runs_wait_with_their_settings_in_plain_words_and_are_decided(consortium: Consortium) -> None:
    with consortium.site("northeast") as site:
        site.add(Participation(consent="approval", changed_by=1, changed_by_name="The manager"))
        site.commit()
    app = page_of(consortium, "manager", "participation")
    assert "No run is waiting" in words(app)
    ask_for_approval(consortium, "northeast", 5, local_epochs=1, approval_time_limit=600.0)
    ask_for_approval(consortium, "northeast", 6, kind="cohort", num_rounds=0)
    app.run()
    said = words(app)
    assert "Run 5 asks to train a model in 12 rounds with FedAvg." in said
    assert "trains the model once over its own patients, 32 at a time, with AdamW, weight decay 2" in said
    assert "80 % of its patients with a known cost train the model" in said
    assert "The run waits up to 10 min 0 s for your decision." in said
    assert "Run 6 asks to count what the hospitals' patients are like." in said
    assert "nothing of a group of fewer than ten" in said
    settings = {row["Setting"]: row["Value"] for row in tables(app)[1]}
    assert settings["local_epochs"] == "1" and settings["learning_rate"] == "0.001"
    app.button("participation_run_5_approve").click().run()
    app.button("participation_run_6_refuse").click().run()
    assert not app.exception and not app.error
    assert not has_key(app, "participation_run_5_approve") and not has_key(app, "participation_run_6_refuse")
    decided = tables(app)[0]
    assert [(row["Run"], row["Decision"]) for row in decided] == [("6", "Refused"), ("5", "Approved")]
    with consortium.site("northeast") as site:
        rows = site.scalars(select(RunApproval).order_by(RunApproval.run_id)).all()
    assert [(row.decision, row.decided_by_name) for row in rows] == [
        ("approved", "The manager"),
        ("refused", "The manager"),
    ]


def test_settings_that_changed_since_they_were_shown_are_not_approved(consortium: Consortium) -> None:
    ask_for_approval(consortium, "northeast", 5)
    app = page_of(consortium, "manager", "participation")
    with consortium.site("northeast") as site:
        site.get_one(RunApproval, 5).settings_sha256 = "b" * 64
        site.commit()
    app.button("participation_run_5_approve").click().run()
    assert "Run 5 asks for other settings now" in app.error[0].value
    assert has_key(app, "participation_run_5_approve")
    with consortium.site("northeast") as site:
        assert site.scalars(select(RunApproval.decision)).all() == ["waiting"]


def test_the_overview_of_a_hospitals_administrator(consortium: Consortium) -> None:
    app = opened(consortium, "manager").run()
    assert figures(app) == {
        "Your hospital": "Takes part in every run",
        "Runs waiting for your approval": "0",
        "Last run": "None yet",
        "Model in use": "None yet",
        "People who can sign in": "3",
    }
    assert "Northeast Hospital" in words(app)
    ask_for_approval(consortium, "northeast", 5)
    run_id = add_run(
        consortium,
        {"northeast": [("train", "excluded", "Waiting for approval of it."), ("train", "ok", None)]},
    )
    answer_presence(consortium, "northeast")
    app.run()
    assert figures(app)["Your part in the last run"] == "1 of 2 rounds"
    assert figures(app)["Runs waiting for your approval"] == "1"
    said = words(app)
    assert f"Run {run_id} of" in said and "trained on 240 patients" in said
    assert "Where it did not take part: Waiting for approval of it." in said
    assert "Run 5 asks to train a model in 12 rounds with FedAvg." in said
    assert "Its Site last answered" in said
    with consortium.central() as central:
        central.scalars(select(Institution).where(Institution.code == "northeast")).one().is_active = False
        central.commit()
    app.run()
    assert "The consortium has deactivated your hospital" in words(app)


def test_every_institution_stands_on_the_page_with_its_state(consortium: Consortium) -> None:
    say(consortium, {"northeast": "connected", "southeast": "starting"}, bundle="a" * 64)
    answer_presence(consortium, "northeast", consent="approval")
    answer_presence(consortium, "southwest", bundle="b" * 64, ago=500)
    add_run(consortium, {"southwest": [("statistics", "late", "No answer within 60 seconds.")]}, "failed")
    said = words(app := page_of(consortium, "admin", "institutions"))
    assert not app.exception
    assert "1 of 4 active institutions connected." in said
    assert "Online since" in said and "at least 300 patients with a known cost" in said
    assert "approves each run first" in said and "version 0.1.0, the same code as the hub" in said
    assert "other code than the hub" in said and "3 accounts" in said
    assert "Its Site has not answered yet" in said
    assert [(row["Answers used"], row["Why not"].replace("\\", "")) for row in tables(app)[0]] == [
        ("0 of 1", "No answer within 60 seconds.")
    ]


def test_an_institution_is_deactivated_and_taken_back_in_with_a_reason(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "institutions")
    app.button("institution_southeast_change").click().run()
    app.button("institution_change_confirmed").click().run()
    assert "Give a reason" in app.error[0].value
    app.text_input("institution_reason").set_value("It leaves")
    app.button("institution_change_confirmed").click().run()
    assert not app.error and not app.exception
    said = words(app)
    assert "Deactivated by The admin" in said and "It leaves" in said
    assert "0 of 3 active institutions connected." in said
    app.button("institution_southeast_change").click().run()
    app.text_input("institution_reason").set_value("It is back")
    app.button("institution_change_confirmed").click().run()
    with consortium.central() as central:
        assert all(central.scalars(select(Institution.is_active)).all())
    assert "Taken back in by The admin" in words(app)


def test_an_institution_is_added_and_its_links_are_shown_once(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "institutions")
    app.button("institution_open_add").click().run()
    entry = {
        "name": "Lakeside Hospital",
        "code": "Lakeside",
        "manager_name": "Mara Lake",
        "manager_email": "mara@lakeside.example.org",
    }
    for field, value in entry.items():
        app.text_input(f"institution_add_{field}").set_value(value)
    submit = next(button for button in app.button if button.label == "Add")
    submit.click().run()
    assert "small letters" in app.error[0].value
    app.text_input("institution_add_code").set_value("lakeside")
    next(button for button in app.button if button.label == "Add").click().run()
    assert not app.error and not app.exception
    said = words(app)
    assert "Lakeside Hospital was added." in said and "shown only now" in said
    link, commands = (code.value for code in app.code)
    assert "python -m fl.runtime.supernode" in commands and "INSTITUTION=lakeside" in commands
    assert "Mara Lake, hospital administrator" in said.replace("*", "")
    with central_session() as central:
        holder = link_holder(central, token=link.partition("/set_password#")[2])
    assert holder.email == "mara@lakeside.example.org"
    app.button("institution_added_done").click().run()
    assert not app.code and "institution_added" not in app.session_state
