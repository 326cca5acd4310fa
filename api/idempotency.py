"""Idempotency-Key: a request that is sent again with the same key changes nothing again and gets the first answer."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.actor import Actor
from app.databases import central_session, site_session
from app.errors import DatabaseUnavailable, FedcostError, InvalidInput
from app.request_keys import RequestKey, changing_once
from app.services.idempotency import KeptAnswer, earlier_answer, keep_answer
from app.waiting import outlasting
from fl.features import FieldProblem

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_ACCEPTED = re.compile(r"[\x20-\x7e]{1,255}")
_BOUNDARY = re.compile(r'boundary="?([^";,]+)', re.IGNORECASE)
_KEPT_HEADERS = ("content-type", "etag", "location")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Once:
    """How a route changes something once.

    Attributes
    ----------
    database
        The one in which it makes its change.
    keeps_answer
        Its answer may be kept.
    """

    database: Literal["central", "site"]
    keeps_answer: bool = True


CENTRAL, SITE = Once("central"), Once("site")
# One-time links are shown once and nowhere kept.
SHOWN_ONCE = Once("central", keeps_answer=False)
# The answer may hold everything on thousands of patients, or follows an erasure.
OF_PATIENTS = Once("site", keeps_answer=False)

# POST routes that accept the header.
ONCE: dict[str, Once] = {
    "/patients": SITE,
    "/patients/{patient_id}/restore": SITE,
    "/patients/{patient_id}/erasure": OF_PATIENTS,
    "/patients/import": SITE,
    "/predictions": SITE,
    "/predictions/batch": OF_PATIENTS,
    "/models/import": CENTRAL,
    "/models/{version}/promote": CENTRAL,
    "/models/{version}/rollback": CENTRAL,
    "/models/{version}/reject": CENTRAL,
    "/models/{version}/propose": CENTRAL,
    "/models/{version}/shadow": CENTRAL,
    "/training/runs": CENTRAL,
    "/training/runs/{run_id}/cancel": CENTRAL,
    "/training/queue/pause": CENTRAL,
    "/training/queue/resume": CENTRAL,
    "/training/queue/{run_id}/front": CENTRAL,
    "/triggers": CENTRAL,
    "/triggers/{trigger_id}/pause": CENTRAL,
    "/triggers/{trigger_id}/resume": CENTRAL,
    "/triggers/{trigger_id}/run": CENTRAL,
    "/participation/approvals/{run_id}": SITE,
    "/institutions": SHOWN_ONCE,
    "/institutions/{code}/deactivate": CENTRAL,
    "/institutions/{code}/reactivate": CENTRAL,
    "/institutions/{code}/keys": CENTRAL,
    "/institutions/{code}/keys/{key_id}/revoke": CENTRAL,
    "/workers": SHOWN_ONCE,
    "/workers/{worker_id}/reset-link": SHOWN_ONCE,
    "/workers/{worker_id}/end-sessions": CENTRAL,
}
# POST routes that do not, and why.
REPEATABLE: dict[str, str] = {
    "/auth/login": "a second session is another one; there is no caller yet whose key it could be",
    "/auth/refresh": "a refresh token is used once by itself",
    "/auth/logout": "an ended session cannot be ended again",
    "/predictions/explain": "keeps nothing",
    "/retention/run": "a second run finds nothing to delete",
}


async def answered_once(request: Request, path: str, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Return what `answer` answers; of a request that comes again with its key, what it was answered before.

    Parameters
    ----------
    request
        Of a caller who is known and may do this.
    path
        The route's address, without ids.

    Raises
    ------
    KeyUsedOtherwise, RequestUnderWay, AlreadyDone
        If the key came before and there is no such answer.
    """
    once = ONCE.get(path) if request.method == "POST" else None
    sent = request.headers.getlist(HEADER)
    if once is None or not sent:
        return await answer()
    if len(sent) > 1 or not _ACCEPTED.fullmatch(sent[0]):
        sentence = f"{HEADER} must be one text of 1 to 255 printable ASCII characters."
        raise InvalidInput([FieldProblem(HEADER, sentence)])
    actor: Actor = request.state.actor
    key = RequestKey(once.database, actor.worker_id, sent[0], path, await _request_sha256(request))
    earlier = await run_in_threadpool(outlasting, lambda: _earlier(actor, key, once), repeatable=True)
    if earlier is not None:
        return earlier
    with changing_once(key):
        try:
            response = await answer()
        except FedcostError as error:
            # Perhaps it failed because the same request was faster.
            try:
                earlier = await run_in_threadpool(_earlier, actor, key, once)
            except DatabaseUnavailable:
                raise error from None
            if earlier is None:
                raise
            return earlier
    if key.marked and once.keeps_answer and response.status_code < 300:
        await run_in_threadpool(_keep, request, actor, key, response)
    return response


async def _request_sha256(request: Request) -> str:
    """Return a digest that two requests share if they ask for the same."""
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(400) from None
    content_type = request.headers.get("content-type", "")
    boundary = _BOUNDARY.search(content_type) if content_type.lower().startswith("multipart/") else None
    if boundary is not None:  # clients draw another one each time
        body = body.replace(boundary[1].strip().encode("latin-1"), b"")
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.url.path.encode(), request.url.query.encode(), body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


def _session_of(actor: Actor, key: RequestKey) -> Any:
    if key.database == "site":
        return site_session(actor, changes=False)
    return central_session(changes=False)


def _earlier(actor: Actor, key: RequestKey, once: Once) -> Response | None:
    with _session_of(actor, key) as session:
        kept = earlier_answer(session=session, key=key, keeps_answer=once.keeps_answer)
    if kept is None:
        return None
    return Response(kept.body, kept.status, {**kept.headers, REPLAYED: "true"})


def _keep(request: Request, actor: Actor, key: RequestKey, response: Response) -> None:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    body = bytes(response.body).decode()
    patient_id = _patient_of(request, key, body) if key.database == "site" else None
    try:
        with _session_of(actor, key) as session:
            answer = KeptAnswer(response.status_code, headers, body)
            keep_answer(session=session, key=key, answer=answer, patient_id=patient_id)
    except DatabaseUnavailable:
        logger.warning("an answer could not be kept; the same request will be told that it was carried out")


def _patient_of(request: Request, key: RequestKey, body: str) -> uuid.UUID | None:
    """Return the patient whom an answer is about, if any."""
    if "patient_id" in request.path_params:
        return uuid.UUID(request.path_params["patient_id"])
    named = json.loads(body).get("id" if key.route == "/patients" else "patient_id")
    return uuid.UUID(named) if named else None
