"""The history of predictions: its filters and pages in the address, errors once a cost is known, the export."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from app.components.downloads import DownloadFailed, file_content
from app.components.prediction_accuracy import accuracy_in_words
from app.components.prediction_table import export_headings, export_row
from app.databases import site_session
from app.permissions import Permission
from app.services import prediction_history
from app.services.prediction_history import MonthAccuracy
from app.services.tabular import read_table, write_csv
from db.site import AccessEvent, Patient
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import page_of, words
from tests.integration.prediction_pages import (
    NOW,
    address_of,
    chart,
    history_at,
    listed,
    page_actor,
    saved,
)


def test_an_empty_history_says_what_to_do(consortium: Consortium) -> None:
    said = words(page_of(consortium, "doctor", "history"))
    assert "No prediction has been saved yet" in said
    assert "No prediction can be checked yet" in said


def test_an_address_shows_its_part_of_the_history_and_sets_the_filters(consortium: Consortium) -> None:
    saved(consortium, consortium.add_patient("northeast", "Ann", "Lee"), days_ago=8)
    bob = consortium.add_patient("northeast", "Bob", "Ng", insurance_cost=None)
    saved(consortium, bob, days_ago=0.02, person="doctor")
    saved(consortium, None, days_ago=0.01, model_version="v2")
    doctor = consortium.workers["doctor"].id
    yesterday, last_week = (f"{NOW - timedelta(days=days):%Y-%m-%d}" for days in (1, 7))
    everybody = ["no patient", "Ng, Bob", "Lee, Ann"]
    shown: list[tuple[dict[str, str], list[str]]] = [
        ({}, everybody),
        ({"patient": "le"}, ["Lee, Ann"]),
        ({"by": str(doctor)}, ["Ng, Bob"]),
        ({"model": "v2"}, ["no patient"]),
        ({"from": yesterday}, ["no patient", "Ng, Bob"]),
        ({"to": last_week}, ["Lee, Ann"]),
        ({"known": "yes", "patient_id": str(bob)}, []),
        # What an address says wrongly is left out of it.
        (
            {"by": "99999999999", "model": "v9", "from": "soon", "to": "0001-01-01", "patient_id": "7"},
            everybody,
        ),
    ]
    app = page_of(consortium, "nurse", "history")
    for address, names in shown:
        app.query_params.clear()
        for name, value in address.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        assert [cells[0] for cells in listed(app)] == names, address
        assert app.selectbox(key="history_by").value == (
            doctor if "by" in address and names != everybody else None
        )
        assert app.text_input(key="history_patient").value == address.get("patient", "")


def test_a_filter_stands_in_the_address_and_what_fits_nothing_says_so(consortium: Consortium) -> None:
    saved(consortium, consortium.add_patient("northeast", "Ann", "Lee"))
    app = history_at(consortium)
    app.text_input(key="history_patient").set_value("zz").run()
    assert address_of(app) == {"patient": "zz"}
    assert "No prediction fits" in words(app)
    app.button(key="history_show_all").click().run()
    assert address_of(app) == {}
    assert app.text_input(key="history_patient").value == ""
    assert len(listed(app)) == 1


def test_a_long_history_is_read_in_pages_that_have_an_address(consortium: Consortium) -> None:
    for number in range(25):
        saved(consortium, None, str(1000 + number), days_ago=1 + number)
    app = history_at(consortium)
    first = [cells[2] for cells in listed(app)]
    assert (len(first), first[0]) == (20, "$1,000")
    app.button(key="history_next").click().run()
    second = [cells[2] for cells in listed(app)]
    assert second == ["$1,020", "$1,021", "$1,022", "$1,023", "$1,024"]
    assert "Page 2" in words(app)
    again = history_at(consortium, **address_of(app))
    assert [cells[2] for cells in listed(again)] == second
    app.button(key="history_previous").click().run()
    assert [cells[2] for cells in listed(app)] == first


def test_a_page_that_is_gone_leads_back_to_the_beginning(consortium: Consortium) -> None:
    saved(consortium, None)
    app = history_at(consortium, cursor="not a page")
    assert "Start again from its first page." in words(app)
    app.button(key="history_show_all").click().run()
    assert len(listed(app)) == 1


def test_an_error_appears_once_the_cost_is_known_and_counts_only_if_it_came_later(
    consortium: Consortium,
) -> None:
    later = consortium.add_patient("northeast", "Ann", "Later", insurance_cost=None)
    before = consortium.add_patient("northeast", "Bob", "Before", insurance_cost=Decimal(7000))
    for patient_id in (later, before):
        saved(consortium, patient_id, "8000", interval_low=Decimal(7000), interval_high=Decimal(9500))
    app = history_at(consortium)
    assert {cells[0]: cells[5] for cells in listed(app)} == {"Later, Ann": "–", "Before, Bob": "+$1,000*"}
    assert "No prediction can be checked yet" in words(app)
    with consortium.site("northeast") as site:
        known = {"insurance_cost": Decimal(9000), "cost_entered_at": NOW}
        site.execute(update(Patient).where(Patient.id == later).values(**known))
        site.commit()
    app = history_at(consortium)
    assert {cells[0]: cells[5] for cells in listed(app)} == {
        "Later, Ann": "−$1,000",
        "Before, Bob": "+$1,000*",
    }
    said = words(app).replace("\xa0", " ")
    assert "1 prediction could be checked against a cost that came in later." in said
    assert "1 of 1 actual costs (100 %) lay inside the interval that promises 90 %." in said
    (line,) = chart(app, "history_error")["data"]
    assert (line["y"], line["text"]) == ([1000.0], ["1"])
    kept, promised = chart(app, "history_coverage")["data"]
    assert (kept["y"], promised["y"]) == ([1.0], [0.9, 0.9])


def test_months_are_weighed_by_their_predictions() -> None:
    months = [
        MonthAccuracy(date(2026, 9, 1), "v1", 30, 1000.0, 500.0, 0.9, 20),
        MonthAccuracy(date(2026, 10, 1), "v2", 10, 3000.0, -3500.0, None, 0),
    ]
    said = accuracy_in_words(months).replace("\xa0", " ")
    assert "40 predictions could be checked" in said
    assert "off by $1,500 a year; taken together they were $500 too low." in said
    assert "18 of 20 actual costs (90 %)" in said
    assert "chance" not in said
    assert "chance plays a large part" in accuracy_in_words(months[1:])


def test_an_export_holds_every_prediction_of_the_filter_and_is_recorded(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "=Lee", insurance_cost=Decimal(5000))
    saved(consortium, patient_id, "8000.50", interval_low=Decimal(7000), interval_high=Decimal(9500))
    actor = page_actor(consortium, "doctor")
    with site_session(actor) as site:
        outcomes = list(prediction_history.history_for_export(site=site, actor=actor))
    content = write_csv(export_headings(), [export_row(outcome) for outcome in outcomes])
    table = read_table(content, "predictions.csv")
    row = dict(zip(table.header, table.rows[0][1], strict=True))
    assert row["Predicted (USD a year)"] == "8000.50"
    assert row["Error, predicted less actual (USD a year)"] == "3000.50"
    assert (row["Actual within interval"], row["Actual known before prediction"]) == ("no", "yes")
    assert row["Model version"] == "v1"
    with consortium.site("northeast") as site:
        assert "predictions_exported" in site.scalars(select(AccessEvent.action)).all()


def test_a_file_is_made_for_who_presses_then_and_an_ended_session_gets_none(consortium: Consortium) -> None:
    nurse, doctor = page_actor(consortium, "nurse"), page_actor(consortium, "doctor")
    assert (
        file_content(doctor, Permission.PATIENTS_EXPORT, lambda presses: presses.name.encode())
        == b"The doctor"
    )
    with pytest.raises(DownloadFailed, match="Your role does not include this"):
        file_content(nurse, Permission.PATIENTS_EXPORT, lambda _: b"")
    with consortium.central() as central:
        central.execute(
            update(type(consortium.workers["doctor"]))
            .where(type(consortium.workers["doctor"]).id == doctor.worker_id)
            .values(is_active=False)
        )
        central.commit()
    with pytest.raises(DownloadFailed, match="session has ended"):
        file_content(doctor, Permission.PATIENTS_EXPORT, lambda _: b"")
