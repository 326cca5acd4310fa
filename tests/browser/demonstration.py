"""What people of the demonstration do over the API so that there is something to look at; the same every time."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from app.settings import DEMO_PASSWORD
from fl.features import FEATURES
from tests.browser.conftest import Product

ADMIN, SCIENTIST = "admin@demo.local", "scientist@demo.local"
# Of a hospital that no other browser test works at.
DOCTOR, NURSE = "doctor@northwest.demo.local", "nurse@northwest.demo.local"
MANAGER = "manager@northwest.demo.local"
FEDERATION_LIMIT = 120.0  # seconds
RUN_LIMIT = 120.0
PREDICTED, COSTS_ENTERED = 12, 8  # patients
# By how much the actual cost is above the predicted one, USD, in turn; once like the generator's rare surcharge.
TURNED_OUT = (-900, 650, 1_200, -2_100, 2_900, -400, 14_500, 800)
SMALLEST_COST = 500.0  # USD


class Caller:
    """One signed-in person who calls the API."""

    def __init__(self, product: Product, email: str) -> None:
        self.address = product.address
        self.token = ""
        self.token = self.call("POST", "/auth/login", {"email": email, "password": DEMO_PASSWORD})[
            "access_token"
        ]

    def call(self, method: str, path: str, body: Any = None, seen: int | None = None) -> Any:
        """Return what the API answers, as JSON; `seen` is the `row_version` that a change was decided on."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.address}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.token}",
                **({} if seen is None else {"If-Match": f'"{seen}"'}),
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


def train(product: Product, rounds: int) -> int:
    """Have the administrator train a model, wait for it, and return the id of the Run."""
    return conduct(product, num_rounds=rounds)


def conduct(product: Product, **asked: Any) -> int:
    """Have the administrator start a Run, once the hospitals are connected, wait until it is completed; its id."""
    admin = Caller(product, ADMIN)
    deadline = time.monotonic() + FEDERATION_LIMIT
    while admin.call("GET", "/health")["federation"] != "up":
        assert time.monotonic() < deadline, "the federation did not come up"
        time.sleep(0.5)
    run = admin.call("POST", "/training/runs", asked)
    deadline = time.monotonic() + RUN_LIMIT
    while (status := admin.call("GET", f"/training/runs/{run['id']}")["status"]) != "completed":
        assert status not in ("failed", "cancelled") and time.monotonic() < deadline, status
        time.sleep(0.5)
    return int(run["id"])


def steer(product: Product) -> int:
    """Have the administrator count the patients, set two triggers, and train in another way; the id of that Run."""
    conduct(product, kind="cohort")
    admin = Caller(product, ADMIN)
    weekly = {
        "kind": "schedule",
        "cron": "0 3 * * 1",
        "timezone": "America/New_York",
        "only_if_new_data": True,
    }
    admin.call("POST", "/triggers", {"name": "Every Monday night", **weekly})
    admin.call("POST", "/triggers", {"name": "After 200 new patients", "kind": "new_records", "records": 200})
    return conduct(product, num_rounds=10, strategy="scaffold")


def work_at_a_hospital(product: Product) -> None:
    """Predict for patients whose cost is not known, learn some of these costs, and be refused once."""
    doctor, nurse = Caller(product, DOCTOR), Caller(product, NURSE)
    unknown = doctor.call("GET", f"/patients?cost_unknown=true&limit={PREDICTED}")["items"]
    for number, patient in enumerate(unknown):
        inputs = {feature.name: patient[feature.name] for feature in FEATURES}
        inputs["bmi"] = float(inputs["bmi"])
        who = nurse if number % 3 else doctor
        made = who.call("POST", "/predictions", {**inputs, "patient_id": patient["id"]})
        if number >= COSTS_ENTERED:
            continue
        names = {name: patient[name] for name in ("first_name", "last_name")}
        cost = max(float(made["predicted_cost"]) + TURNED_OUT[number % len(TURNED_OUT)], SMALLEST_COST)
        known = {**names, **inputs, "insurance_cost": round(cost, 2)}
        nurse.call("PUT", f"/patients/{patient['id']}", known, seen=patient["row_version"])
    try:
        nurse.call("GET", "/training/runs/1")
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 403
