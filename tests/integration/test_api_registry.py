"""The registry over the API: decisions with their reasons in the body, what a version's record says, files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from db.central import AuditEvent, ModelVersion
from tests.integration.conftest import Consortium

AddModel = Callable[..., ModelVersion]
Token = Callable[[str], dict[str, str]]
UNMEASURED = {"r2": None, "rmse": None, "mae": None, "mse": None}


@pytest.fixture
def admin(token_of: Token, add_model: AddModel) -> dict[str, str]:
    """Headers of an administrator, with version v1 in use and v2 waiting."""
    add_model("v1")
    add_model("v2", status="candidate", seed=2)
    return token_of("admin")


def _post(api: TestClient, path: str, headers: dict[str, str], **body: Any) -> Any:
    return api.post(path, headers=headers, json=body)


def test_a_version_is_promoted_rolled_back_from_and_all_of_it_is_told(
    consortium: Consortium, api: TestClient, admin: dict[str, str], token_of: Token
) -> None:
    answer = _post(api, "/models/v2/promote", admin, reason="Better", expected_champion="v1")
    assert (answer.status_code, answer.json()["status"]) == (200, "champion")
    assert api.get("/model/status", headers=admin).json()["version"] == "v2"
    answer = _post(api, "/models/v1/rollback", admin, reason="Not for children", expected_champion="v2")
    assert (answer.status_code, answer.json()["version"]) == (200, "v1")
    told = api.get("/models/v2", headers=token_of("scientist")).json()
    assert (told["status"], told["origin"], told["is_shadow"]) == ("retired", "run", False)
    assert [(one["action"], one["reason"], one["worker"], one["previous"]) for one in told["decisions"]] == [
        ("promote", "Better", "The admin", "v1")
    ]
    assert told["comparison"] is None and told["shadow"] == [] and told["proposals"] == []
    listed = api.get("/models", headers=admin).json()["items"]
    assert [(one["version"], one["status"]) for one in listed] == [("v2", "retired"), ("v1", "champion")]


def test_a_proposal_and_a_rejection(api: TestClient, admin: dict[str, str], token_of: Token) -> None:
    assert _post(api, "/models/v2/propose", token_of("scientist"), reason="Half the error").status_code == 204
    [proposal] = api.get("/models/v2", headers=admin).json()["proposals"]
    assert (proposal["worker"], proposal["reason"]) == ("The scientist", "Half the error")
    assert _post(api, "/models/v2/reject", admin, reason="Not yet").json()["status"] == "rejected"
    assert api.get("/models/v2", headers=admin).json()["proposals"] == []


def test_the_shadow_is_started_and_stopped(api: TestClient, admin: dict[str, str]) -> None:
    started = _post(api, "/models/v2/shadow", admin, reason="Try it", active=True).json()
    assert started["is_shadow"] is True
    [report] = api.get("/models/v2", headers=admin).json()["shadow"]
    assert (report["champion"], report["verdict"], report["overall"]) == ("v1", "go_on", None)
    stopped = _post(api, "/models/v2/shadow", admin, reason="Enough", active=False).json()
    assert stopped["is_shadow"] is False


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/models/v2/promote", {"reason": "no"}, 422, "Say why, in 3 to 500 characters."),
        ("/models/v2/promote", {}, 422, "reason is missing"),
        ("/models/v2/promote", {"reason": "Better", "why": "x"}, 422, "why is not a field"),
        ("/models/v2/promote", {"reason": "Better", "expected_champion": "v7"}, 409, "Meanwhile version v1"),
        ("/models/v1/promote", {"reason": "Better"}, 409, "already in use"),
        ("/models/v3/promote", {"reason": "Better"}, 409, "has no figures yet"),
        ("/models/v2/rollback", {"reason": "Worse"}, 409, "never in use"),
        ("/models/v9/reject", {"reason": "Worse"}, 404, "There is no model version"),
        ("/models/v2/shadow", {"reason": "Try it"}, 422, "active is missing"),
    ],
)
def test_what_cannot_be_decided_says_why_and_changes_nothing(
    consortium: Consortium,
    api: TestClient,
    admin: dict[str, str],
    add_model: AddModel,
    path: str,
    body: dict[str, Any],
    status: int,
    words: str,
) -> None:
    add_model("v3", status="candidate", **UNMEASURED)
    answer = api.post(path, headers=admin, json=body)
    assert answer.status_code == status and words in answer.json()["detail"]
    with consortium.central() as central:
        states = dict(central.execute(select(ModelVersion.version, ModelVersion.status)).all())
    assert states == {"v1": "champion", "v2": "candidate", "v3": "candidate"}


def test_an_export_is_a_file_that_works_and_is_kept(
    consortium: Consortium, api: TestClient, admin: dict[str, str]
) -> None:
    answer = api.get("/models/v2/export?format=onnx", headers=admin)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="fedcost-v2.onnx"'
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["version"] == "v2"
    assert api.get("/models/v2/export?format=pickle", headers=admin).status_code == 422
    with consortium.central() as central:
        events = central.scalars(select(AuditEvent.target).where(AuditEvent.action == "model_exported")).all()
    assert events == ["model version v2"]


def test_a_file_that_is_no_model_is_refused_as_a_body_and_as_a_form(
    api: TestClient, admin: dict[str, str]
) -> None:
    for answer in (
        api.post("/models/import", headers=admin, content=b"no model"),
        api.post("/models/import", headers=admin, files={"file": ("mine.keras", b"no model")}),
    ):
        assert answer.status_code == 422
        assert answer.json()["problems"] == [
            {"field": "file", "message": "The file is no .keras file as Keras 3 writes it."}
        ]
    too_large = api.post("/models/import", headers=admin, content=bytes(3 * 1024 * 1024))
    assert too_large.status_code == 413


def test_a_version_without_a_run_is_answered_everywhere(
    api: TestClient, token_of: Token, add_model: AddModel
) -> None:
    imported = {"origin": "import", "run_id": None, "training_round": None, "num_examples": 0, "metrics": {}}
    add_model("import-1", **imported, lineage={"file_name": "a.keras"})
    headers = token_of("admin")
    for path in ("/model/card", "/model/status", "/model/metrics", "/model/versions", "/models/import-1"):
        answer = api.get(path, headers=headers)
        assert answer.status_code == 200, path
    assert answer.json()["run_id"] is None and answer.json()["lineage"] == {"file_name": "a.keras"}
