"""Errors as clients of the API see them: one table from error class to status, one shape of body."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.schemas import ErrorBody, Problem
from api.schemas_patients import Difference, PatientAnswer, PatientChangedBody, PossibleDuplicates
from app.actor import Actor
from app.errors import (
    CentralUnavailable,
    Conflict,
    FedcostError,
    InvalidInput,
    NotFound,
    PatientChanged,
    PermissionRefused,
    SessionEnded,
    SignInRefused,
    SiteUnavailable,
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


# The most particular class first; NoModelYet is a Conflict.
STATUS_OF: dict[type[FedcostError], int] = {
    SignInRefused: 401,
    SessionEnded: 401,
    PermissionRefused: 403,
    NotFound: 404,
    Conflict: 409,
    InvalidInput: 422,
    InvalidTable: 422,
    CentralUnavailable: 503,
    SiteUnavailable: 503,
}
_SENTENCES = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not accept that method.",
    413: "The request is larger than any this address accepts.",
    415: "The request must be JSON.",
}


def status_of(error: FedcostError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), 400)


def error_body(detail: str, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    """Return the one shape of every error: a sentence, and the fields that are wrong if it is about fields."""
    body = ErrorBody(detail=detail)
    if problems:
        body.problems, body.total = list(problems[:MOST_PROBLEMS]), len(problems)
    return body.model_dump(exclude_none=True)


def _invalid_input(error: FedcostError) -> dict[str, Any]:
    return _field_problems(cast(InvalidInput, error).problems)


def _invalid_table(error: FedcostError) -> dict[str, Any]:
    return error_body(str(error), cast(InvalidTable, error).problems)


def _duplicate(error: FedcostError) -> dict[str, Any]:
    ids = cast(DuplicatePatient, error).patients
    body = PossibleDuplicates(detail=str(error), possible_duplicates=ids)
    return body.model_dump(mode="json", exclude_none=True)


def _changed(error: FedcostError) -> dict[str, Any]:
    changed = cast(PatientChanged, error)
    body = PatientChangedBody(
        detail=str(error),
        current=PatientAnswer.model_validate(changed.current),
        differences=[Difference.model_validate(difference) for difference in changed.differences],
    )
    return {**error_body(str(error)), **body.model_dump(mode="json", include={"current", "differences"})}


# What an error says beside its sentence.
_BODY_OF: dict[type[FedcostError], Callable[[FedcostError], dict[str, Any]]] = {
    InvalidInput: _invalid_input,
    InvalidTable: _invalid_table,
    DuplicatePatient: _duplicate,
    PatientChanged: _changed,
}


def install(api: FastAPI) -> None:
    """Make `api` answer every error in that shape."""
    api.add_exception_handler(FedcostError, _named_error)
    api.add_exception_handler(RequestValidationError, _invalid_request)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _our_fault)


async def _named_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FedcostError)
    status = status_of(error)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "10"}}.get(status)
    actor: Actor | None = getattr(request.state, "actor", None)
    if isinstance(error, PermissionRefused) and actor is not None:
        action = f"{request.method} {_route_path(request)}"
        await run_in_threadpool(audit.record_refusal, actor=actor, action=action)
    body_of = _BODY_OF.get(type(error))
    return JSONResponse(body_of(error) if body_of else error_body(str(error)), status, headers)


def _route_path(request: Request) -> str:
    route = request.scope.get("route")
    return str(getattr(route, "path", "unknown"))


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(problem["type"] == "json_invalid" for problem in found):
        return JSONResponse(error_body("The request is not valid JSON."), 400)
    return JSONResponse(_field_problems([_problem_of(problem) for problem in found]), 422)


def _field_problems(found: Sequence[FieldProblem]) -> dict[str, Any]:
    sentences = [problem.message for problem in found[:_MOST_IN_A_SENTENCE]]
    if len(found) > _MOST_IN_A_SENTENCE:
        sentences.append(f"There are {len(found):,} problems in all.")
    problems = [Problem(field=problem.field, message=problem.message) for problem in found[:MOST_PROBLEMS]]
    return {**error_body(" ".join(sentences), problems), "total": len(found)}


def _problem_of(problem: dict[str, Any]) -> FieldProblem:
    """Say in a sentence what the validation of a request found; never quotes what was sent."""
    field = ".".join(str(part) for part in problem["loc"][1:] if isinstance(part, str | int)) or "body"
    field = field[:80]
    feature = FEATURE_BY_NAME.get(str(problem["loc"][-1]))
    if problem["type"] == "missing":
        expected = f"; expected {feature.expectation}" if feature else ""
        message = f"{feature.label if feature else field} is missing{expected}."
    elif problem["type"] == "extra_forbidden":
        message = f"{field} is not a field of this request."
    elif feature is not None:
        message = f"{feature.label} is not accepted; expected {feature.expectation}."
    else:
        message = f"{field}: {str(problem['msg'])[:200]}."
    return FieldProblem(field, message)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentence = _SENTENCES.get(error.status_code, "The request was refused.")
    return JSONResponse(error_body(sentence), error.status_code, error.headers)


async def _our_fault(request: Request, error: Exception) -> JSONResponse:
    reference = log_fault(logger, error, at=f"{request.method} {_route_path(request)}")
    return JSONResponse(
        error_body(f"Something went wrong on our side. Please report reference {reference}."), 500
    )
