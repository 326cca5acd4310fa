"""Every file that the API gives away: what somebody typed is text in a spreadsheet, never a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
from fastapi.testclient import TestClient

from db.central import MedicalWorker
from tests.integration.conftest import Consortium

FEATURES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
FORMULAS = (
    '=HYPERLINK("http://elsewhere.example","x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(A1:A9)",
    "＝1+1",
    "\t=1+1",
)
# Addresses that answer a table, and how each is asked; a new one without a line fails the test.
TABLES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/patients/export"): {"who": "doctor"},
    ("GET", "/predictions/export"): {"who": "doctor"},
    ("POST", "/predictions/batch"): {"who": "doctor", "json": {"patients": {}}},
    ("GET", "/audit/export"): {"who": "admin"},
}
# Files that are no tables.
OTHERS = {("GET", "/models/{version}/export"), ("GET", "/patients/{patient_id}/export")}


def _file_routes(api: TestClient) -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, methods in api.get("/openapi.json").json()["paths"].items()
        for method, operation in methods.items()
        if "export" in path
        or any(
            kind.startswith(("text/csv", "application/vnd"))
            for kind in operation["responses"].get("200", {}).get("content", {})
        )
    }


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_no_file_holds_a_formula(
    kind: str,
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    consortium: Consortium,
    add_model: Callable[..., Any],
) -> None:
    add_model()
    routes = _file_routes(api)
    assert routes - set(TABLES) - OTHERS == set()
    with consortium.central() as central:
        central.get_one(MedicalWorker, consortium.workers["doctor"].id).name = FORMULAS[0]
        central.commit()
    doctor = token_of("doctor")
    for formula in FORMULAS:
        patient = consortium.add_patient("northeast", formula, formula, insurance_cost=None)
        made = api.post("/predictions", headers=doctor, json={**FEATURES, "patient_id": str(patient)})
        assert made.status_code == 200
    for method, path in sorted(routes - OTHERS):
        how = dict(TABLES[method, path])
        answer = api.request(
            method, path, headers=token_of(how.pop("who")), params={"format": kind}, json=how.get("json")
        )
        assert answer.status_code == 200, (path, answer.text)
        cells = _cells_of_csv(answer.text) if kind == "csv" else _cells_of_excel(answer.content)
        assert len(cells) > len(FORMULAS), path
        for cell in cells:
            assert not cell.startswith(("=", "@", "＝")), (path, cell)
            assert not cell.startswith(("+", "-", "\t", "\r")) or _is_number(cell), (path, cell)


def _cells_of_csv(content: str) -> list[str]:
    delimiter = ";" if ";" in content.split("\n", 1)[0] else ","
    return [
        cell for row in csv.reader(io.StringIO(content.lstrip("\ufeff")), delimiter=delimiter) for cell in row
    ]


def _cells_of_excel(content: bytes) -> list[str]:
    sheet = openpyxl.load_workbook(io.BytesIO(content)).active
    assert sheet is not None
    found = []
    for row in sheet.iter_rows():
        for cell in row:
            assert cell.data_type != "f" and cell.hyperlink is None
            found.append("" if cell.value is None else str(cell.value))
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
