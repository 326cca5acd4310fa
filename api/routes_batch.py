"""Predicting many patients with one request."""

from __future__ import annotations

import math
import uuid
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.dependencies import May
from api.errors import InvalidTable
from api.files import CSV, EXCEL, SentFile, download, file_body, mapping_of, sent_file
from api.filters import patient_filter
from api.routing import Routes
from api.schemas import errors, features_of
from api.schemas_predictions import MOST_ROWS, BatchAnswer, BatchRequest, BatchRow
from app.actor import Actor
from app.databases import central_session, site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import batch
from app.services.batch import BatchResult
from app.services.tabular import read_table
from fl.features import FEATURE_NAMES, FieldProblem

router = Routes("/predictions", "predictions")
BatchPredictor = Annotated[Actor, Depends(May(Permission.PREDICT_BATCH))]

_JSON_BODY = {"schema": {"$ref": "#/components/schemas/BatchRequest"}}
_FILE = {"schema": {"type": "string", "format": "binary"}}


def _body() -> dict[str, Any]:
    described = file_body()
    return {**described, "content": {"application/json": _JSON_BODY, **described["content"]}}


@router.post(
    "/batch",
    response_model=BatchAnswer,
    responses={
        200: {
            "description": "The predicted costs, in the order sent.",
            "content": {CSV: _FILE, EXCEL: _FILE},
        },
        **errors(400, 404, 409, 413, 422, 503),
    },
    openapi_extra={"requestBody": _body()},
)
def predict_batch(
    actor: BatchPredictor,
    sent: Annotated[SentFile, Depends(sent_file)],
    format: Annotated[Literal["json", "csv", "xlsx"], Query(description="of the answer")] = "json",
    mapping: Annotated[
        str | None,
        Query(
            description='of a file, JSON: feature -> heading of its column, as {"age": "Age"}; guessed if left out'
        ),
    ] = None,
) -> Response:
    """Predict up to 100,000 patients: rows of features, a CSV or Excel file, or patients of the own hospital.

    Rows and files are kept nowhere; predictions of the hospital's own patients are kept in the history.
    """
    result = _of_request(actor, _parsed(sent.content)) if sent.is_json else _of_file(actor, sent, mapping)
    if format != "json":
        return download(result.headings(), result.records(), name="batch", format=format)
    return Response(_answer(result).model_dump_json(), media_type="application/json")


def _parsed(content: bytes) -> BatchRequest:
    try:
        request = BatchRequest.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors(include_input=False)]
        ) from None
    given = [name for name in BatchRequest.model_fields if getattr(request, name) is not None]
    if len(given) != 1:
        names = ", ".join(BatchRequest.model_fields)
        raise InvalidInput([FieldProblem("body", f"Send exactly one of {names}.")])
    return request


def _of_request(actor: Actor, request: BatchRequest) -> BatchResult:
    with central_session() as central:
        if request.rows is not None:
            rows = [features_of(row) for row in request.rows]
            return batch.predict_rows(central=central, actor=actor, rows=rows)
        with site_session(actor) as site:
            return batch.predict_patients(
                central=central,
                site=site,
                actor=actor,
                filter=patient_filter(request.patients) if request.patients is not None else None,
                patient_ids=request.patient_ids,
            )


def _of_file(actor: Actor, sent: SentFile, mapping: str | None) -> BatchResult:
    table = read_table(sent.content, sent.name)
    if len(table.rows) > MOST_ROWS:
        raise InvalidInput([FieldProblem("file", f"A batch has at most {MOST_ROWS:,} rows. Split the file.")])
    chosen = mapping_of(sent.mapping or mapping, header=table.header, fields=FEATURE_NAMES)
    check = batch.check_batch(table, chosen)
    if check.problems:
        raise InvalidTable(check.problems)
    with central_session() as central:
        return batch.predict_batch(central=central, actor=actor, check=check)


def _answer(result: BatchResult) -> BatchAnswer:
    columns = [result.columns[name].tolist() for name in FEATURE_NAMES]
    ids: list[uuid.UUID] | list[None] = result.patient_ids or [None] * len(result)
    found = zip(
        result.rows.tolist(),
        ids,
        zip(*columns, strict=True),
        result.cost.tolist(),
        result.low.tolist(),
        result.high.tolist(),
        result.cautions,
        strict=True,
    )
    rows = [
        BatchRow.model_construct(
            row=row,
            patient_id=patient_id,
            inputs=dict(zip(FEATURE_NAMES, values, strict=True)),
            predicted_cost=cost,
            interval_low=None if math.isnan(low) else low,
            interval_high=None if math.isnan(high) else high,
            caution=caution,
        )
        for row, patient_id, values, cost, low, high, caution in found
    ]
    return BatchAnswer.model_construct(model_version=result.model_version, count=len(rows), rows=rows)
