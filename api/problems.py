"""The kinds of problems that the API answers (RFC 9457): one table of name, status, title and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse
from starlette.types import Scope

from api.schemas import ErrorBody
from app.errors import (
    AlreadyDone,
    CentralUnavailable,
    Conflict,
    FedcostError,
    InvalidInput,
    KeyUsedOtherwise,
    NoModelYet,
    NotFound,
    PatientChanged,
    PermissionRefused,
    PreconditionMissing,
    RequestUnderWay,
    SessionEnded,
    SignInRefused,
    SiteUnavailable,
    TooManyRequests,
)
from app.request_id import current_request_id

MEDIA_TYPE = "application/problem+json"
WHERE = "/api/problems/"  # each kind is described below this address


@dataclass(frozen=True)
class Kind:
    """One kind of problem; `meaning` says in a sentence what it is and what helps."""

    name: str
    status: int
    title: str
    meaning: str

    @property
    def type(self) -> str:
        """The URI of this kind, which leads to its description."""
        return WHERE + self.name


UNREADABLE = Kind(
    "unreadable",
    400,
    "The request cannot be read",
    "The body is not what its content type says, for example not valid JSON.",
)
NO_SUCH_ADDRESS = Kind(
    "no-such-address", 404, "No such address", "There is no route at this address; /api/docs lists all."
)
WRONG_METHOD = Kind(
    "wrong-method",
    405,
    "The method is not accepted",
    "The address exists and does not accept this method; Allow says which it does.",
)
TOO_LARGE = Kind(
    "too-large",
    413,
    "The request is too large",
    "The body is larger than its address accepts; a file can be split.",
)
WRONG_MEDIA_TYPE = Kind(
    "wrong-media-type",
    415,
    "The content type is not accepted",
    "The body must be of a type that the address reads, mostly application/json, and Content-Type must say so.",
)
INVALID_REQUEST = Kind(
    "invalid-request",
    422,
    "The request is not accepted",
    "Something in the address, its query, a header or the body is not accepted; problems names each in a sentence.",
)
INVALID_FILE = Kind(
    "invalid-file",
    422,
    "The file is not accepted",
    "Rows of a file or of a batch are wrong and nothing of it was used; problems names each by row and column.",
)
POSSIBLE_DUPLICATE = Kind(
    "possible-duplicate",
    409,
    "There may be a record already",
    "There are patients of the same name and age: possible_duplicates has their ids, accept_duplicate=true adds "
    "another.",
)
OUR_MISTAKE = Kind(
    "our-mistake",
    500,
    "Something went wrong on our side",
    "A mistake of ours; the reference in detail finds it in the log.",
)
CONFLICT = Kind(
    "conflict",
    409,
    "It does not fit the present state",
    "What was asked for does not fit how things are, as a cancel of a Run that has ended; read the state again.",
)
REFUSED = Kind("refused", 400, "The request was refused", "The request was refused for the reason in detail.")

# The most particular class first: NoModelYet is a Conflict.
KIND_OF: dict[type[FedcostError], Kind] = {
    SignInRefused: Kind(
        "sign-in-refused",
        401,
        "Sign-in was refused",
        "E-mail address and password do not match an account that can sign in now.",
    ),
    SessionEnded: Kind(
        "not-signed-in",
        401,
        "Not signed in",
        "There is no access token, or one that is not valid any more; sign in or refresh.",
    ),
    PermissionRefused: Kind(
        "not-permitted", 403, "The role does not include this", "Another role is needed; the refusal is kept."
    ),
    NotFound: Kind(
        "not-found",
        404,
        "There is no such thing",
        "There is nothing of that id that the caller may know of; another hospital's ids are not told apart from ids "
        "that never were.",
    ),
    PatientChanged: Kind(
        "patient-changed",
        412,
        "The patient was changed since",
        "Somebody changed the patient since it was read, and nothing was overwritten: current and differences show "
        "both versions. Send the edit again with the new ETag as If-Match to overwrite it knowingly.",
    ),
    PreconditionMissing: Kind(
        "precondition-missing",
        428,
        "If-Match is missing",
        "A change of a patient needs the ETag that its editor saw as If-Match, so that nobody's change is lost.",
    ),
    RequestUnderWay: Kind(
        "request-under-way",
        409,
        "The first request is under way",
        "A request with the same Idempotency-Key has not been answered yet; send it again a moment later.",
    ),
    AlreadyDone: Kind(
        "already-done",
        409,
        "It was carried out before",
        "A request with the same Idempotency-Key was carried out, once, and its answer is not kept: read what it has "
        "changed.",
    ),
    NoModelYet: Kind(
        "no-model-yet",
        409,
        "There is no model yet",
        "No model is in use; an administrator starts a training.",
    ),
    Conflict: CONFLICT,
    KeyUsedOtherwise: Kind(
        "key-used-otherwise",
        422,
        "The Idempotency-Key belongs to another request",
        "The same key came with another body or address before; a new request needs a new key.",
    ),
    InvalidInput: INVALID_REQUEST,
    TooManyRequests: Kind(
        "too-many-requests",
        429,
        "Too many requests",
        "More requests came than are accepted in that time; Retry-After says in how many seconds to go on.",
    ),
    CentralUnavailable: Kind(
        "consortium-unavailable",
        503,
        "The consortium's database does not answer",
        "Try again after Retry-After seconds; nothing was changed.",
    ),
    SiteUnavailable: Kind(
        "hospital-unavailable",
        503,
        "The hospital's database does not answer",
        "This address does not serve the hospital's patients, or their database does not answer; nothing was changed.",
    ),
}
OF_STATUS = {
    400: UNREADABLE,
    404: NO_SUCH_ADDRESS,
    405: WRONG_METHOD,
    413: TOO_LARGE,
    415: WRONG_MEDIA_TYPE,
    422: INVALID_REQUEST,
    500: OUR_MISTAKE,
}
KINDS = {
    kind.name: kind
    for kind in (
        *OF_STATUS.values(),
        INVALID_FILE,
        POSSIBLE_DUPLICATE,
        REFUSED,
        *KIND_OF.values(),
    )
}


def kind_of(error: FedcostError) -> Kind:
    """Return the kind of an error."""
    return next((kind for of, kind in KIND_OF.items() if isinstance(error, of)), REFUSED)


def problem(
    scope: Scope,
    kind: Kind,
    detail: str,
    *,
    more: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return the answer to a request that had a problem.

    Parameters
    ----------
    detail
        A sentence on this one time.
    more
        What this kind says besides, by name.
    """
    body = ErrorBody(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=quote(scope["path"], errors="replace"),
        request_id=current_request_id(),
    )
    content = {**body.model_dump(exclude_none=True), **(more or {})}
    return JSONResponse(content, kind.status, headers, media_type=MEDIA_TYPE)
