"""Errors as clients of the API see them: each becomes the problem of its kind."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.conditional import etag_of
from api.problems import (
    INVALID_FILE,
    INVALID_REQUEST,
    OF_STATUS,
    OUR_MISTAKE,
    POSSIBLE_DUPLICATE,
    REFUSED,
    UNREADABLE,
    WRONG_MEDIA_TYPE,
    Kind,
    kind_of,
    problem,
)
from api.schemas import Problem
from api.schemas_patients import Difference, PatientAnswer
from app.actor import Actor
from app.errors import (
    Conflict,
    FedcostError,
    InvalidInput,
    PatientChanged,
    PermissionRefused,
    TooManyRequests,
)
from app.log_privacy import log_fault
from app.services import audit
from app.services.imports import RowProblem
from fl.features import FEATURE_BY_NAME, FieldProblem

logger = logging.getLogger(__name__)

MOST_PROBLEMS = 1000  # that an answer lists; it says how many there are
_MOST_IN_A_SENTENCE = 10


class DuplicatePatient(Conflict):
    """A patient was to be added of whom there may be a record already; `patients` are the ids of those."""

    def __init__(self, patients: Sequence[uuid.UUID]) -> None:
        self.patients = list(patients)
        super().__init__(
            "There is a patient of the same name and age already. Send the request again with "
            "accept_duplicate=true if this is somebody else."
        )


class InvalidTable(FedcostError):
    """Rows of a file or of a request are wrong; nothing of it was used. `problems` is everything wrong."""

    def __init__(self, problems: Iterable[RowProblem]) -> None:
        self.problems = [
            Problem(row=problem.row, field=problem.column or "file", message=problem.message)
            for problem in problems
        ]
        count = len(self.problems)
        super().__init__(
            f"{count:,} {'problem was' if count == 1 else 'problems were'} found; nothing was used. The first, in "
            f"row {self.problems[0].row}: {self.problems[0].message}"
        )


_KINDS: dict[type[FedcostError], Kind] = {DuplicatePatient: POSSIBLE_DUPLICATE, InvalidTable: INVALID_FILE}
_SENTENCES = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not accept that method.",
    413: "The request is larger than any this address accepts.",
    415: "The body must be of a type that this address reads; Content-Type says which one it is.",
}


def _field_problems(found: Sequence[FieldProblem]) -> tuple[str, dict[str, Any]]:
    sentences = [problem.message for problem in found[:_MOST_IN_A_SENTENCE]]
    if len(found) > _MOST_IN_A_SENTENCE:
        sentences.append(f"There are {len(found):,} problems in all.")
    return " ".join(sentences), _listed(
        [Problem(field=each.field, message=each.message) for each in found[:MOST_PROBLEMS]], len(found)
    )


def _listed(problems: Sequence[Problem], total: int) -> dict[str, Any]:
    shown = [each.model_dump(exclude_none=True) for each in problems[:MOST_PROBLEMS]]
    return {"problems": shown, "total": total}


def _more(error: FedcostError) -> dict[str, Any]:
    """Return what an error says beside its sentence."""
    if isinstance(error, InvalidInput):
        return _field_problems(error.problems)[1]
    if isinstance(error, InvalidTable):
        return _listed(error.problems, len(error.problems))
    if isinstance(error, DuplicatePatient):
        return {"possible_duplicates": [str(patient) for patient in error.patients]}
    if isinstance(error, PatientChanged):
        current = PatientAnswer.model_validate(error.current)
        differences = [Difference.model_validate(difference) for difference in error.differences]
        return {
            "current": current.model_dump(mode="json"),
            "differences": [difference.model_dump(mode="json") for difference in differences],
        }
    return {}


def _headers_of(error: FedcostError, status: int) -> dict[str, str] | None:
    if isinstance(error, PatientChanged):
        return {"ETag": etag_of(error.current)}
    if isinstance(error, TooManyRequests):
        return error.headers
    return {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "10"}}.get(status)


def install(api: FastAPI) -> None:
    """Make `api` answer every error in that shape."""
    api.add_exception_handler(FedcostError, _named_error)
    api.add_exception_handler(RequestValidationError, _invalid_request)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _our_fault)


async def _named_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FedcostError)
    kind = _KINDS.get(type(error)) or kind_of(error)
    actor: Actor | None = getattr(request.state, "actor", None)
    if isinstance(error, PermissionRefused) and actor is not None:
        action = f"{request.method} {_route_path(request)}"
        await run_in_threadpool(audit.record_refusal, actor=actor, action=action)
    sentence = _field_problems(error.problems)[0] if isinstance(error, InvalidInput) else str(error)
    headers = _headers_of(error, kind.status)
    return problem(request.scope, kind, sentence, more=_more(error), headers=headers)


def _route_path(request: Request) -> str:
    route = request.scope.get("route")
    return str(getattr(route, "path", "unknown"))


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return problem(request.scope, UNREADABLE, "The request is not valid JSON.")
    if any(each["loc"] == ("body",) and each["type"] != "missing" for each in found) and not _is_json(
        request
    ):
        return problem(request.scope, WRONG_MEDIA_TYPE, _SENTENCES[415])
    sentence, more = _field_problems([_problem_of(each) for each in found])
    return problem(request.scope, INVALID_REQUEST, sentence, more=more)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _problem_of(found: dict[str, Any]) -> FieldProblem:
    """Say in a sentence what the validation of a request found; never quotes what was sent."""
    field = ".".join(str(part) for part in found["loc"][1:] if isinstance(part, str | int)) or "body"
    field = field[:80]
    feature = FEATURE_BY_NAME.get(str(found["loc"][-1]))
    if found["type"] == "missing":
        expected = f"; expected {feature.expectation}" if feature else ""
        message = f"{feature.label if feature else field} is missing{expected}."
    elif found["type"] == "extra_forbidden":
        message = f"{field} is not a field of this request."
    elif feature is not None:
        message = f"{feature.label} is not accepted; expected {feature.expectation}."
    else:
        message = f"{field}: {str(found['msg'])[:200]}."
    return FieldProblem(field, message)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentence = _SENTENCES.get(error.status_code, "The request was refused.")
    kind = OF_STATUS.get(error.status_code, REFUSED)
    headers = dict(error.headers) if error.headers else None
    return problem(request.scope, kind, sentence, headers=headers)


async def _our_fault(request: Request, error: Exception) -> JSONResponse:
    reference = log_fault(logger, error, at=f"{request.method} {_route_path(request)}")
    return problem(
        request.scope,
        OUR_MISTAKE,
        f"Something went wrong on our side. Please report reference {reference}.",
    )
