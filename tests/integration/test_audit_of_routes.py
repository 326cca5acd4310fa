"""Every route of the API leaves the events that its line names, in the right trail, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import ROUTERS
from db.central import AuditEvent
from db.site import AccessEvent, RunApproval
from tests.integration.conftest import PASSWORD, PEOPLE, AddRun, Consortium

FEATURES = {"age": 61, "sex": "female", "bmi": 41.2, "children": 1, "smoker": "yes", "region": "southwest"}
ENTRY = {**FEATURES, "first_name": "Quirina", "last_name": "Zuckmayer"}
FILE = (
    b"First Name,Last Name,Age,Sex,BMI,Children,Smoker,Region,Charges\n"
    b"Neu,Zuckmayer,61,F,41.2,1,Y,southwest,54321\n"
)
REASON = {"reason": "because of it"}
TRIGGER = {"name": "Mondays", "kind": "schedule", "cron": "0 3 * * 1", "timezone": "UTC"}
HASH = "0" * 64
KEY = (
    ec.generate_private_key(ec.SECP384R1())
    .public_key()
    .public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    .decode()
)


@dataclass(frozen=True)
class Line:
    """One request, and what it leaves.

    Attributes
    ----------
    who
        Of the test's people; empty: nobody.
    path
        With names in braces that stand for ids.
    central, site
        Actions that the two trails get, in order; a refused or failed one with its outcome behind a slash.
    send
        Body and headers.
    """

    who: str
    method: str
    path: str
    central: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    send: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    query: str = ""


LISTED = ("patients_listed",)
PATIENT = "/patients/{patient_id}"
# In the order in which they are tried: each finds what those before have left.
# After the one edit.
SEEN = {"headers": {"If-Match": '"2"'}}
LINES = (
    Line("", "GET", "/health"),
    Line("", "GET", "/ready"),
    Line(
        "",
        "POST",
        "/auth/login",
        ("sign_in",),
        send={"json": {"email": PEOPLE["nurse"][0], "password": PASSWORD}},
    ),
    Line(
        "",
        "POST",
        "/auth/login",
        ("sign_in/refused",),
        send={"json": {"email": PEOPLE["nurse"][0], "password": "wrong"}},
        status=401,
    ),
    Line("", "POST", "/auth/refresh", send={"json": {"refresh_token": "unknown"}}, status=401),
    Line("nurse", "POST", "/auth/logout", ("sign_out",), status=204),
    Line("doctor", "GET", "/account"),
    Line(
        "doctor",
        "PUT",
        "/account/password",
        ("password_changed/refused",),
        send={"json": {"present_password": "wrong", "new_password": "quite another one"}},
        status=422,
    ),
    Line("doctor", "GET", "/account/sessions"),
    Line("doctor", "DELETE", "/account/sessions", ("sessions_ended",)),
    Line("doctor", "DELETE", "/account/sessions/{nobody}", status=404),
    Line(
        "doctor",
        "POST",
        "/patients",
        site=("possible_duplicates_searched", "patient_added"),
        send={"json": ENTRY},
        status=201,
    ),
    Line("doctor", "GET", "/patients", site=LISTED),
    Line("admin", "GET", "/patients", ("GET /patients/refused",), status=403),
    Line("doctor", "GET", "/patients/export", site=("patients_exported",)),
    Line("doctor", "GET", "/patients/deleted", site=("deleted_patients_listed",)),
    Line("doctor", "GET", "/patients/cost-distribution", site=("cost_distribution_read",)),
    Line("doctor", "GET", PATIENT, site=("patient_read",)),
    Line("doctor", "GET", "/patients/{nobody}", site=("patient_read/failed",), status=404),
    Line("manager", "GET", PATIENT, ("GET /patients/{patient_id}/refused",), status=403),
    Line(
        "doctor",
        "PUT",
        PATIENT,
        site=("patient_edited",),
        send={"json": {**ENTRY, "age": 62}, "headers": {"If-Match": '"1"'}},
    ),
    Line("doctor", "GET", PATIENT + "/changes", site=("patient_history_read",)),
    Line("doctor", "POST", "/predictions", site=("prediction_saved",), send={"json": FEATURES}),
    Line("doctor", "POST", "/predictions/explain", send={"json": FEATURES}),
    Line("doctor", "GET", PATIENT + "/predictions", site=("predictions_listed",)),
    Line("doctor", "GET", "/predictions/history", site=("predictions_listed",)),
    Line("doctor", "GET", "/predictions/export", site=("predictions_exported",)),
    Line("doctor", "GET", "/predictions/accuracy", site=("predictions_summarised",)),
    Line(
        "doctor",
        "POST",
        "/predictions/batch",
        site=("patients_predicted", "prediction_saved"),
        send={"json": {"patients": {}}},
    ),
    Line("doctor", "POST", "/patients/import", site=("patients_imported",), send={"content": FILE}),
    Line("doctor", "DELETE", PATIENT, site=("patient_deleted",), send=SEEN, status=204),
    Line("doctor", "DELETE", PATIENT, site=("patient_deleted/failed",), send=SEEN, status=404),
    Line("doctor", "POST", PATIENT + "/restore", site=("patient_restored",)),
    Line("doctor", "POST", PATIENT + "/restore", site=("patient_restored/failed",), status=409),
    Line("doctor", "GET", PATIENT + "/export", site=("person_exported",)),
    Line(
        "doctor",
        "POST",
        PATIENT + "/erasure",
        site=("patient_erased",),
        send={"json": {"confirm_patient_id": "ID"}},
    ),
    *(Line("doctor", "GET", f"/model/{what}") for what in ("status", "metrics", "card")),
    Line("scientist", "GET", "/model/versions"),
    Line("scientist", "GET", "/models"),
    Line("scientist", "GET", "/models/{version}"),
    Line("scientist", "GET", "/models/{version}/export", ("model_exported",), query="format=onnx"),
    Line("admin", "POST", "/models/import", send={"content": b"no model"}, status=422),
    Line(
        "scientist",
        "POST",
        "/models/{version}/propose",
        ("model_propose",),
        send={"json": REASON},
        status=204,
    ),
    Line(
        "admin",
        "POST",
        "/models/{version}/shadow",
        ("model_shadow_start",),
        send={"json": {**REASON, "active": True}},
    ),
    Line(
        "admin",
        "POST",
        "/models/{version}/promote",
        ("model_shadow_stop", "model_promote"),
        send={"json": REASON},
    ),
    Line("admin", "POST", "/models/{first}/rollback", ("model_rollback",), send={"json": REASON}),
    Line("admin", "POST", "/models/{third}/reject", ("model_reject",), send={"json": REASON}),
    Line("admin", "POST", "/training/runs", ("run_started",), send={"json": {"num_rounds": 1}}, status=202),
    Line("scientist", "GET", "/training/runs"),
    Line("scientist", "GET", "/training/runs/compare", send={"params": {"run": 1}}),
    Line("admin", "GET", "/training/runs/{run_id}"),
    Line("admin", "GET", "/training/runs/{run_id}/events"),
    Line("admin", "GET", "/training/queue"),
    Line("admin", "POST", "/training/queue/pause", ("queue_paused",)),
    Line("admin", "POST", "/training/queue/{run_id}/front", ("run_moved_to_front",)),
    Line("admin", "POST", "/training/queue/resume", ("queue_resumed",)),
    Line("admin", "POST", "/training/runs/{run_id}/cancel", ("run_cancelled",), status=202),
    Line("scientist", "GET", "/cohort", status=404),
    Line("admin", "POST", "/triggers", ("trigger_added",), send={"json": TRIGGER}, status=201),
    Line("admin", "GET", "/triggers"),
    Line("admin", "PUT", "/triggers/{trigger_id}", ("trigger_changed",), send={"json": TRIGGER}),
    Line("admin", "POST", "/triggers/{trigger_id}/pause", ("trigger_paused",)),
    Line("admin", "POST", "/triggers/{trigger_id}/resume", ("trigger_resumed",)),
    Line("admin", "POST", "/triggers/{trigger_id}/run", ("trigger_run",), status=202),
    Line("admin", "GET", "/triggers/{trigger_id}/events"),
    Line("admin", "DELETE", "/triggers/{trigger_id}", ("trigger_deleted",), status=204),
    Line("manager", "GET", "/participation"),
    Line(
        "manager",
        "PUT",
        "/participation",
        ("participation_changed",),
        ("participation_changed",),
        send={"json": {"consent": "approval", "reason": "Rules"}},
    ),
    Line(
        "manager",
        "POST",
        "/participation/approvals/{approval}",
        ("run_approval_decided",),
        ("run_approval_decided",),
        send={"json": {"approve": True, "settings_sha256": HASH}},
    ),
    Line("admin", "GET", "/institutions"),
    Line("admin", "POST", "/institutions", send={"json": {"code": "x"}}, status=422),
    Line(
        "admin",
        "POST",
        "/institutions/southeast/deactivate",
        ("institution_deactivated",),
        send={"json": REASON},
    ),
    Line(
        "admin",
        "POST",
        "/institutions/southeast/reactivate",
        ("institution_reactivated",),
        send={"json": REASON},
    ),
    Line(
        "admin",
        "POST",
        "/institutions/southeast/keys",
        ("supernode_key_registered",),
        send={"json": {"public_key": KEY}},
        status=201,
    ),
    Line("admin", "GET", "/institutions/southeast/keys"),
    Line(
        "admin",
        "POST",
        "/institutions/southeast/keys/{key_id}/revoke",
        ("supernode_key_revoked",),
        send={"json": REASON},
    ),
    Line("manager", "GET", "/workers"),
    Line(
        "manager",
        "POST",
        "/workers",
        ("worker_added",),
        send={
            "json": {
                "name": "Mara Lind",
                "email": "mara@test.local",
                "role": "nurse",
                "institution": "northeast",
            }
        },
        status=201,
    ),
    Line("manager", "GET", "/workers/{worker_id}"),
    Line(
        "manager",
        "PATCH",
        "/workers/{worker_id}",
        ("worker_changed",),
        send={"json": {"row_version": 1, "name": "Mara Lindt"}},
    ),
    Line("manager", "POST", "/workers/{worker_id}/reset-link", ("reset_link_made",), status=201),
    Line("manager", "POST", "/workers/{worker_id}/end-sessions", ("sessions_ended",)),
    Line("manager", "GET", "/audit"),
    Line("manager", "GET", "/audit/head"),
    Line("manager", "GET", "/audit/export", site=("audit_exported",)),
    Line("admin", "GET", "/audit/export", ("audit_exported",)),
    Line("admin", "GET", "/system"),
    Line("", "GET", "/problems"),
    Line("", "GET", "/problems/{problem}"),
    Line("manager", "GET", "/retention"),
    Line(
        "manager",
        "PUT",
        "/retention",
        site=("retention_changed",),
        send={"json": {"days": {"predictions": 365}, "daily": False}},
    ),
    Line("manager", "POST", "/retention/run", site=("retention_ran",)),
)
# Which route a line is of, where its path names somebody or something else.
SAME = {
    "/patients/{nobody}": PATIENT,
    "/account/sessions/{nobody}": "/account/sessions/{session_id}",
    "/problems/{problem}": "/problems/{name}",
    "/models/{first}/rollback": "/models/{version}/rollback",
    "/models/{third}/reject": "/models/{version}/reject",
    "/participation/approvals/{approval}": "/participation/approvals/{run_id}",
    "/institutions/southeast/deactivate": "/institutions/{code}/deactivate",
    "/institutions/southeast/reactivate": "/institutions/{code}/reactivate",
    "/institutions/southeast/keys": "/institutions/{code}/keys",
    "/institutions/southeast/keys/{key_id}/revoke": "/institutions/{code}/keys/{key_id}/revoke",
}


def test_every_route_has_a_line() -> None:
    routes = {
        (method, route.path) for router in ROUTERS for route in router.routes for method in route.methods
    }
    assert {(line.method, SAME.get(line.path, line.path)) for line in LINES} == routes


def test_every_route_leaves_its_events_and_no_other(
    consortium: Consortium,
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    add_model: Callable[..., Any],
    add_run: AddRun,
) -> None:
    add_model()
    add_model("v2", "candidate", seed=2)
    add_model("v3", "candidate", seed=3)
    approval = add_run("queued")
    with consortium.site("northeast") as site:
        site.add(RunApproval(run_id=approval, settings_sha256=HASH, settings={}))
        site.commit()
    headers = {who: token_of(who) for who in ("admin", "scientist", "doctor", "nurse", "manager")}
    ids = {
        "version": "v2",
        "first": "v1",
        "third": "v3",
        "problem": "not-found",
        "approval": str(approval),
        "nobody": "018f0000-0000-7000-8000-000000000000",
    }
    made = {
        "/patients": "patient_id",
        "/training/runs": "run_id",
        "/triggers": "trigger_id",
        "/institutions/southeast/keys": "key_id",
    }
    read = {AuditEvent: 0, AccessEvent: 0}

    def new(table: Any) -> list[str]:
        with consortium.central() if table is AuditEvent else consortium.site("northeast") as session:
            events = session.scalars(select(table).where(table.id > read[table]).order_by(table.id)).all()
        for event in events:
            read[table] = event.id
            assert "Zuckmayer" not in repr(vars(event)), event.action
            if line is not None and event.worker_id is not None:
                assert event.role is not None, event.action
                assert event.address == "testclient", event.action
                assert event.request_id == "of-the-line", event.action
        return [f"{event.action}/{event.outcome}".removesuffix("/ok") for event in events]

    wrong: list[tuple[Any, ...]] = []
    line = None
    new(AuditEvent), new(AccessEvent)
    for line in LINES:
        send = dict(line.send)
        if "confirm_patient_id" in send.get("json", {}):
            send["json"] = {"confirm_patient_id": ids["patient_id"]}
        address = line.path.format(**ids) + (f"?{line.query}" if line.query else "")
        caller = {**headers.get(line.who, {}), "X-Request-ID": "of-the-line", **send.pop("headers", {})}
        answer = api.request(line.method, address, headers=caller, **send)
        found = answer.status_code, new(AuditEvent), new(AccessEvent)
        if found != (line.status, list(line.central), list(line.site)):
            wrong.append((line.method, line.path, *found, answer.text[:200]))
        if line.method == "POST" and answer.status_code in (201, 202):
            if line.path in made:
                ids[made[line.path]] = str(answer.json()["id"])
            elif line.path == "/workers":
                ids["worker_id"] = str(answer.json()["worker"]["id"])
    assert wrong == []
