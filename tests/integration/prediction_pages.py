"""What the tests of prediction pages share: a filled form, what a page shows of it, saved predictions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from streamlit.testing.v1 import AppTest

from app.auth.sessions import actor_for_session, open_session
from app.databases import central_session
from db.central import ModelVersion
from db.site import Prediction
from fl.intervals import Calibration, GroupInterval
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import page_of

AddModel = Callable[..., ModelVersion]
VALUES = {"age": 45, "sex": "male", "bmi": 31.5, "children": 2, "smoker": "yes", "region": "southeast"}
KINDS = {"sex": "segmented_control", "smoker": "segmented_control", "region": "selectbox"}
CALIBRATED = {
    "calibration": Calibration(
        {
            "yes": GroupInterval(-4000.0, 6000.0, 100, all_patients=False),
            "no": GroupInterval(-2000.0, 3000.0, 400, all_patients=False),
        }
    ).to_json()
}
NOW = datetime.now(UTC)


def fill(app: AppTest, **values: object) -> AppTest:
    """Type values into the form and let the page answer; no button is pressed."""
    for name, value in values.items():
        kind = KINDS.get(name, "text_input")
        getattr(app, kind)(key=f"predict_{name}").set_value(value if name in KINDS else str(value))
    return app.run()


def predicted(app: AppTest) -> str | None:
    """Return the large number, None while there is none."""
    return next((str(part.body) for part in app.html if "amount" in str(part.body)), None)


def chart(app: AppTest, key: str) -> dict[str, Any]:
    """Return a chart as it is sent to the browser."""
    found = next(part for part in app.get("plotly_chart") if f"-{key}" in part.proto.id)
    drawn: dict[str, Any] = json.loads(found.proto.spec)
    return drawn


def listed(app: AppTest) -> list[list[str]]:
    """Return the cells of the history's table."""
    return [
        row["cells"] for table in app.get("bidi_component") for row in json.loads(table.proto.json)["rows"]
    ]


def saved(
    consortium: Consortium,
    patient_id: uuid.UUID | None,
    cost: str = "8000",
    *,
    days_ago: float = 1,
    person: str = "nurse",
    **columns: Any,
) -> None:
    """Put a prediction into the northeast's history."""
    with consortium.site("northeast") as site:
        site.add(
            Prediction(
                patient_id=patient_id,
                inputs=VALUES,
                predicted_cost=Decimal(cost),
                worker_id=consortium.workers[person].id,
                worker_name=consortium.workers[person].name,
                created_at=NOW - timedelta(days=days_ago),
                **{"model_version": "v1", **columns},
            )
        )
        site.commit()


def history_at(consortium: Consortium, person: str = "doctor", **address: str) -> AppTest:
    """Open the history as a copied address would."""
    app = page_of(consortium, person, "history")
    app.query_params.clear()
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def address_of(app: AppTest) -> dict[str, str]:
    """Return the query of the page's address."""
    query = {name: app.query_params[name] for name in app.query_params}
    return {name: value if isinstance(value, str) else value[0] for name, value in query.items()}


def page_actor(consortium: Consortium, person: str) -> Any:
    """Return who acts in a page that `person` has open."""
    with central_session() as central:
        session, _ = open_session(central, worker=consortium.workers[person])
        return actor_for_session(central, session_id=session.id, address=None)
