"""Bodies of a patient's export and erasure."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import Field

from api.schemas import Answer, Request


class ErasureRequest(Request):
    """The confirmation that this patient is to be erased for good."""

    confirm_patient_id: uuid.UUID = Field(description="the id in the address once more")


class ErasedAnswer(Answer):
    """What was erased with the record. Models trained so far are not changed."""

    patient_id: uuid.UUID
    changes: int = Field(description="rows of the record's history")
    predictions: int = Field(description="saved predictions")


class PersonAnswer(Answer):
    """Everything that the hospital holds on one patient; amounts are US dollars a year."""

    what: str
    institution: str | None
    made_at: str
    record: dict[str, Any]
    changes: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    accesses: list[dict[str, Any]] = Field(description="who read or changed it when, by the worker's number")
