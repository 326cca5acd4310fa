"""Entity tags of patients: what a client saw, sent back with what it wants to change (RFC 9110)."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Header

from app.errors import InvalidInput, PreconditionMissing
from db.site import Patient
from fl.features import FieldProblem

_TAG = re.compile(r'"([1-9][0-9]{0,8})"')

IfMatch = Annotated[
    str | None,
    Header(max_length=100, description='ETag of the record that the change was decided on, as `"3"`'),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        max_length=1000, description="ETag of the record that the client has; 304 if it is still the same"
    ),
]
ETAG_HEADER: dict[str, Any] = {
    "ETag": {"description": "send it as If-Match with a change", "schema": {"type": "string"}}
}


def etag_of(patient: Patient) -> str:
    """Return the entity tag of a patient's record."""
    return f'"{patient.row_version}"'


def seen_version(if_match: str | None) -> int:
    """Return the `row_version` that a client saw.

    Raises
    ------
    PreconditionMissing
        If it does not say.
    InvalidInput
        If that is no ETag of a patient.
    """
    if if_match is None:
        raise PreconditionMissing(
            "Send the ETag of the patient as you read it as If-Match, so that nobody else's change is lost."
        )
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        raise InvalidInput(
            [FieldProblem("If-Match", 'If-Match must be the ETag of the patient as you read it, as "3".')]
        )
    return int(found[1])


def is_known(if_none_match: str | None, patient: Patient) -> bool:
    """Tell whether the client has the record as it is; weak tags count, as RFC 9110 has it."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag_of(patient) in tags
