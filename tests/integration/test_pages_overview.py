"""The first page of every role: its figures, where they lead, and what it says while there is nothing yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, select, text, update
from streamlit.testing.v1 import AppTest

from app.databases import site_session
from app.errors import PermissionRefused
from app.services import audit, overview
from app.services.consortium import consortium_overview, refusals, staff
from app.services.overview import Counted, clinic_overview
from db.central import AuditEvent, MedicalWorker, ModelVersion, TrainingRound, TrainingRun
from db.engines import engine_for
from db.site import AccessEvent, PatientAction, PatientChange, Prediction
from db.states import RoundStatus, RunStatus
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words

AddModel = Callable[..., ModelVersion]
NOW = datetime.now(UTC)


def figures(app: AppTest) -> dict[str, str]:
    return {metric.label.replace("\\", ""): metric.value.replace("\\", "") for metric in app.metric}


def links(app: AppTest) -> dict[str, str]:
    """Return what the links of the page say, with where they lead and the query after it."""
    return {
        link.proto.label: f"{link.proto.page}?{link.proto.query_string}" for link in app.main.get("page_link")
    }


def predict(consortium: Consortium, patient: uuid.UUID | None, cost: str, **columns: object) -> None:
    with consortium.site("northeast") as site:
        site.add(
            Prediction(
                patient_id=patient,
                inputs={},
                predicted_cost=Decimal(cost),
                model_version="v1",
                worker_id=consortium.workers["nurse"].id,
                worker_name="The nurse",
                **columns,
            )
        )
        site.commit()


def change(
    consortium: Consortium, patient: uuid.UUID, action: str, at: datetime = NOW, **changes: object
) -> None:
    with consortium.site("northeast") as site:
        site.add(
            PatientChange(
                patient_id=patient,
                occurred_at=at,
                worker_id=1,
                worker_name="Dr. Example",
                action=action,
                changes=changes,
            )
        )
        site.commit()


def add_run(consortium: Consortium, status: str, r2: tuple[float, ...] = ()) -> int:
    with consortium.central() as central:
        run = TrainingRun(
            idempotency_key=uuid.uuid4().hex,
            status=status,
            requested_by=consortium.workers["admin"].id,
            num_rounds=3,
            strategy="fedavg",
            settings={},
            seed=1,
            current_round=len(r2),
            started_at=NOW - timedelta(seconds=9),
            finished_at=NOW if status == RunStatus.COMPLETED else None,
        )
        central.add(run)
        central.flush()
        central.add_all(
            TrainingRound(
                run_id=run.id,
                round_number=number,
                aggregation_method="fedavg",
                status=RoundStatus.COMPLETED,
                completed_at=NOW,
                loss=0.3,
                mae=3000.0,
                rmse=5000.0,
                r2=value,
            )
            for number, value in enumerate(r2, 1)
        )
        central.commit()
        return run.id


@pytest.mark.parametrize(
    ("person", "next_step", "leads_to"),
    [
        ("doctor", "Bring a CSV or Excel file of your patients", "Import a file"),
        ("nurse", "ask a doctor to import a file", "Add a patient"),
        ("scientist", "An administrator starts the first training", "Open training"),
        ("admin", "Press **Start round** to train the first model", "Open training"),
    ],
)
def test_while_there_is_nothing_the_first_page_says_what_to_do_next(
    consortium: Consortium, person: str, next_step: str, leads_to: str
) -> None:
    app = opened(consortium, person).run()
    assert not app.exception
    assert not app.error
    assert app.title[0].value == "Overview"
    assert next_step in words(app)
    assert leads_to in links(app)
    assert figures(app)["Model in use"] == "None yet"
    assert has_key(app, "training_start") is (person == "admin")
    assert ("Import a file" in links(app)) is (person == "doctor")


def test_a_clinicians_figures_are_those_of_the_own_hospital_and_lead_somewhere(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v7")
    consortium.add_patient("southwest", "Not", "Ours", insurance_cost=None)
    known = consortium.add_patient("northeast", "Ada", "Known")
    unknown = consortium.add_patient("northeast", "Ben", "Unknown", insurance_cost=None)
    consortium.add_patient("northeast", "Cy", "Deleted", insurance_cost=None, deleted_at=NOW)
    predict(consortium, unknown, "4321")
    predict(consortium, None, "9000", created_at=NOW - timedelta(days=8))
    change(consortium, known, PatientAction.EDITED, insurance_cost=["4999.00", "5000.00"])
    change(consortium, unknown, PatientAction.ADDED, at=NOW - timedelta(days=8))
    app = opened(consortium, "nurse").run()
    assert not app.exception
    assert figures(app) == {
        "Patients": "2",
        "Costs not known yet": "1",
        "Changes in the last 7 days": "1",
        "Predictions in the last 7 days": "1",
        "How predictions turned out": "Too early to say",
        "Model in use": "v7",
    }
    said = words(app)
    assert "On average $3,000 a year off" in said
    assert "**$4,321** a year predicted" in said
    assert "Edited: known cost" in said
    assert "4999" not in said
    assert "Ours" not in said
    leading = links(app)
    assert leading["See who they are"] == "patients?cost=unknown"
    assert leading["See the latest"] == "patients?sort=-changed"
    assert leading["Unknown, Ben"] == f"patient?patient={unknown}"
    assert leading["Read the model card"] == "model_card?"


def test_how_predictions_turned_out_counts_only_costs_entered_afterwards(consortium: Consortium) -> None:
    def patient(name: str, cost: str, **columns: object) -> uuid.UUID:
        return consortium.add_patient("northeast", "A", name, insurance_cost=Decimal(cost), **columns)

    before, after = NOW - timedelta(days=2), NOW - timedelta(days=1)
    interval = {"interval_low": Decimal(900), "interval_high": Decimal(1100)}
    predict(consortium, patient("In", "1100", cost_entered_at=after), "1000", created_at=before, **interval)
    predict(consortium, patient("Out", "1400", cost_entered_at=after), "1000", created_at=before, **interval)
    predict(consortium, patient("Known", "9000"), "1000", created_at=before, **interval)
    predict(consortium, patient("Earlier", "9000", cost_entered_at=before), "1000", created_at=after)
    gone = patient("Gone", "9000", cost_entered_at=after, deleted_at=NOW)
    predict(consortium, gone, "1000", created_at=before)
    app = opened(consortium, "doctor").run()
    assert figures(app)["How predictions turned out"] == "$250 off"
    assert "over 2 predictions" in words(app)
    assert "50 % lay within their 90 % interval" in words(app)


def test_looking_at_the_overview_leaves_an_access_event_without_a_name(consortium: Consortium) -> None:
    patient = consortium.add_patient("northeast", "Ada", "Known")
    change(consortium, patient, PatientAction.ADDED)
    opened(consortium, "doctor").run()
    with consortium.site("northeast") as site:
        events = site.scalars(select(AccessEvent).where(AccessEvent.action == "overview_read")).all()
    assert [(seen.worker_id, seen.details) for seen in events] == [
        (consortium.workers["doctor"].id, {"patient_ids": [str(patient)]})
    ]


def test_counting_stops_early_and_the_rest_is_an_estimate(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "COUNT_LIMIT", 3)
    for number in range(6):
        patient = consortium.add_patient("northeast", "A", f"B{number}", insurance_cost=None)
        change(consortium, patient, PatientAction.ADDED)
        predict(consortium, patient, "1000")
    with consortium.site("northeast") as site:
        site.execute(text("ANALYZE patients"))
        site.commit()
    with site_session(consortium.actors["doctor"]) as site:
        seen = clinic_overview(site=site, actor=consortium.actors["doctor"])
    assert seen.patients == Counted(6, more=True)
    assert seen.costs_unknown == seen.predictions == Counted(3, more=True)
    assert seen.changes == {PatientAction.ADDED: Counted(3, more=True)}
    app = opened(consortium, "doctor").run()
    assert figures(app)["Costs not known yet"] == "over 3"


def test_the_overview_costs_few_queries_and_reads_costs_by_their_index(consortium: Consortium) -> None:
    actor = consortium.actors["doctor"]
    statements: list[str] = []
    engine = engine_for(consortium.urls.app_sites["northeast"])
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with site_session(actor) as site:
        clinic_overview(site=site, actor=actor)
    assert len(statements) <= 6
    with consortium.site("northeast") as site:
        site.execute(text("SET LOCAL enable_seqscan = off"))
        plan = site.execute(
            text(
                "EXPLAIN SELECT 1 FROM patients WHERE deleted_at IS NULL AND insurance_cost IS NULL "
                f"AND {overview.COST_UNKNOWN_LAST_SQL} = 'Infinity'::numeric LIMIT 10"
            )
        ).scalars()
        assert "Index" in "\n".join(plan)


def test_a_scientist_sees_run_model_and_hospitals_but_no_people(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v7", metrics={"institutions": {"northeast": {"r2": 0.81, "mae": 2900.0, "num_examples": 60}}})
    run_id = add_run(consortium, RunStatus.COMPLETED, r2=(0.5, 0.7, 0.8))
    app = opened(consortium, "scientist").run()
    assert not app.exception
    seen = figures(app)
    assert seen[f"Last run: {run_id}"] == "Completed"
    assert seen["Model in use"] == "v7"
    assert seen["R²"] == "0.800"
    assert seen["Mean absolute error (MAE)"] == "$3,000"
    assert seen["Federation"] == "Down"
    assert "Started by The admin" in words(app)
    assert links(app)["See its rounds"] == f"training?run={run_id}"
    assert links(app)["See the version"] == "models?version=v7"
    assert "The model in use at each hospital" in words(app)
    assert "People who can sign in" not in words(app)
    assert "Refused attempts in the last 7 days" not in seen
    assert not has_key(app, "training_start")


def test_an_administrator_sees_what_waits_people_and_refusals(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v7")
    add_model("v8", status="candidate", metrics={"decision": "It harms Northeast."})
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker).where(MedicalWorker.email.startswith("nurse")).values(is_active=False)
        )
        audit.record(central=central, actor=None, action="sign_in", outcome="refused")
        central.commit()
    audit.record_refusal(actor=consortium.actors["nurse"], action="pages/training.py show_page")
    audit.record_refusal(actor=consortium.actors["nurse"], action="GET /runs")
    app = opened(consortium, "admin").run()
    assert not app.exception
    seen = figures(app)
    assert seen["Versions waiting for a decision"] == "1"
    assert seen["Refused attempts in the last 7 days"] == "3"
    assert "v8: It harms Northeast." in words(app)
    assert links(app)["Look at it"] == "models?version=v8"
    people, refused = (table.value for table in app.table[-2:])
    assert list(people["Switched off"]).count("1") == 1
    assert set(people["Last signed in"]) == {"never"}
    assert set(refused["What"]) == {"Signing in", "Page Training", "API request GET /runs"}


def test_an_administrator_starts_a_run_from_the_first_page(consortium: Consortium) -> None:
    app = opened(consortium, "admin").run()
    app.button(key="training_start").click().run()
    app.text_input(key="training_num_rounds").set_value("4").run()
    app.button(key="training_start_confirmed").click().run()
    assert not app.exception
    assert app.title[0].value == "Training"
    with consortium.central() as central:
        assert central.scalars(select(TrainingRun.num_rounds)).all() == [4]
    assert figures(page_of(consortium, "admin", "overview"))["Run at work"] == "Waiting to start"


def test_refusals_older_than_a_week_are_not_counted(consortium: Consortium) -> None:
    with consortium.central() as central:
        old = NOW - timedelta(days=8)
        central.add(AuditEvent(action="sign_in", outcome="refused", details={}, occurred_at=old))
        central.commit()
    app = opened(consortium, "admin").run()
    assert figures(app)["Refused attempts in the last 7 days"] == "0"


def test_the_services_ask_for_the_permission_themselves(consortium: Consortium) -> None:
    with consortium.site("northeast") as site, pytest.raises(PermissionRefused):
        clinic_overview(site=site, actor=consortium.actors["scientist"])
    with consortium.central() as central:
        for person in ("doctor", "nurse"):
            with pytest.raises(PermissionRefused):
                consortium_overview(central=central, actor=consortium.actors[person])
        for service in (staff, refusals):
            with pytest.raises(PermissionRefused):
                service(central=central, actor=consortium.actors["scientist"])
