"""What the tests of the patients pages share: an address followed, what a page shows of it, records and events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from app.databases import site_session
from app.services import patient_records
from db.site import AccessEvent, Patient
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import page_of

RECORD = {"age": 40, "sex": "female", "bmi": 27.5, "children": 1, "smoker": "no", "region": "northeast"}


TYPED = {"age": "45", "sex": "male", "bmi": "31.5", "children": "2", "smoker": "yes", "region": "southeast"}


KINDS = {"sex": "segmented_control", "smoker": "segmented_control", "region": "selectbox"}


def at(app: AppTest, **address: str) -> AppTest:
    """Follow an address to the page that is open."""
    for name in list(app.query_params):
        del app.query_params[name]
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def followed(app: AppTest, page: str, **address: str) -> AppTest:
    """Let a script that switched the page by itself go on there: AppTest goes back to the page before."""
    return at(app.switch_page(f"../pages/{page}.py"), **address)


def address(app: AppTest) -> dict[str, str]:
    return {name: value[0] if isinstance(value, list) else value for name, value in app.query_params.items()}


def table(app: AppTest) -> dict[str, Any]:
    """Return what the table of patients shows."""
    drawn = [part for part in app.get("bidi_component") if part.proto.component_name == "fedcost_row_table"]
    return json.loads(drawn[0].proto.json) if drawn else {"rows": []}


def names(app: AppTest) -> list[str]:
    return [row["cells"][0] for row in table(app)["rows"]]


def column(app: AppTest, label: str) -> list[str]:
    shown = table(app)
    place = [column["label"] for column in shown["columns"]].index(label)
    return [row["cells"][place] for row in shown["rows"]]


def fill(app: AppTest, prefix: str, **values: str) -> None:
    for name, value in values.items():
        getattr(app, KINDS.get(name, "text_input"))(key=f"{prefix}_{name}").set_value(value)


def record_of(consortium: Consortium, person: str, patient_id: uuid.UUID, **more: str) -> AppTest:
    return at(page_of(consortium, person, "patient"), patient=str(patient_id), **more)


def edited_by(
    consortium: Consortium, person: str, patient_id: uuid.UUID, version: int, **changes: Any
) -> None:
    """Change a record as another person does meanwhile."""
    actor = consortium.actors[person]
    entry = {"first_name": "Ann", "last_name": "Lee", "insurance_cost": "5000", **changes}
    inputs = {**RECORD, **entry.pop("inputs", {})}
    with site_session(actor) as site:
        patient_records.edit_patient(
            site=site, actor=actor, patient_id=patient_id, row_version=version, inputs=inputs, **entry
        )


def events(consortium: Consortium, action: str) -> Sequence[AccessEvent]:
    with consortium.site("northeast") as site:
        return site.scalars(select(AccessEvent).where(AccessEvent.action == action)).all()


def stored(consortium: Consortium, patient_id: uuid.UUID) -> Patient:
    with consortium.site("northeast") as site:
        patient = site.get(Patient, patient_id)
        assert patient is not None
        return patient


def count_of(consortium: Consortium) -> int:
    with consortium.site("northeast") as site:
        return site.scalar(select(func.count()).select_from(Patient)) or 0
