"""What a page does with a person who may not: a sentence, and one event in the audit, even if it is hard to keep."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.components import guard
from app.errors import CentralUnavailable
from app.services import audit
from db.central import AuditEvent, MedicalWorker
from db.site import Patient
from db.states import Role
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import opened, page_of, words

REFUSED = "Your role does not include this. Ask an administrator if you need it."


def _refusals(consortium: Consortium) -> list[tuple[str, int | None, str | None]]:
    with consortium.central() as central:
        events = central.scalars(select(AuditEvent).where(AuditEvent.outcome == "refused")).all()
        return [(event.action, event.worker_id, event.role) for event in events]


def _at(app: AppTest, address: str) -> AppTest:
    """Go to an address as a bookmark does: AppTest itself only knows pages that are files."""
    app._page_hash = calc_hash(address)
    return app.run()


def test_the_address_of_a_page_that_the_role_may_not_open_says_so_and_leads_on(
    consortium: Consortium,
) -> None:
    app = _at(opened(consortium, "nurse").run(), "training")
    assert [error.value for error in app.error] == [REFUSED]
    assert app.title[0].value == "Training"
    assert [link.label for link in app.main.get("page_link")] == ["Go to Overview"]
    assert "Start round" not in words(app)
    assert not app.exception
    nurse = consortium.workers["nurse"].id
    assert _refusals(consortium) == [("pages/training.py", nurse, "nurse")]


def test_a_fragment_that_keeps_asking_is_one_refusal_and_a_later_attempt_is_another(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = _at(opened(consortium, "nurse").run(), "training")
    app.run()
    assert [error.value for error in app.error] == [REFUSED]
    assert len(_refusals(consortium)) == 1
    monkeypatch.setattr(guard, "SAME_REFUSAL_WITHIN", 0.0)
    app.run()
    assert len(_refusals(consortium)) == 2


def test_a_role_taken_away_ends_the_session_at_the_next_press_and_nothing_is_done(
    consortium: Consortium,
) -> None:
    patient = consortium.add_patient("northeast", "Bea", "Deleted", deleted_at=datetime.now(UTC))
    app = page_of(consortium, "doctor", "patients")
    app.button(key="patients_show_deleted").click().run()
    with consortium.central() as central:
        worker = consortium.workers["doctor"].id
        central.execute(update(MedicalWorker).where(MedicalWorker.id == worker).values(role=Role.NURSE))
        central.commit()
    app.button(key=f"patients_restore_{patient}").click().run()
    assert not app.exception
    assert not any(button.key == f"patients_restore_{patient}" for button in app.button)
    with consortium.site("northeast") as site:
        found = site.get(Patient, patient)
        assert found is not None
        assert found.deleted_at is not None
    assert "Your session has ended. Please sign in again." in [info.value for info in app.info]


def test_a_refusal_that_cannot_be_kept_is_refused_all_the_same_and_logged(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = opened(consortium, "nurse", "pages/training.py")

    def silent(**_: object) -> None:
        raise CentralUnavailable("The consortium's database does not answer.")

    # The database goes away between the question who it is and the record of the refusal.
    monkeypatch.setattr(audit, "central_session", silent)
    app.run()
    assert [error.value for error in app.error] == [REFUSED]
    assert not app.exception
    assert "a refusal could not be kept" in caplog.text
    assert _refusals(consortium) == []
