"""Bodies of reading and writing patients; the features come from the feature table."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, StrictStr, create_model

from api.schemas import Answer, ErrorBody, Items, Request, Usd, features_accepted, features_answered
from app.services.metrics import finite

LARGEST_COST = 9_999_999_999.99  # USD, what the column holds


def _number(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


Recorded = Annotated[int | float | str | None, BeforeValidator(_number)]


class _PatientIdentity(Answer):
    id: uuid.UUID
    first_name: str
    last_name: str


class _PatientRecord(_PatientIdentity):
    insurance_cost: Usd | None = Field(description="USD a year; null if not known")
    cost_entered_at: datetime | None = Field(
        description="when a cost that was not known at first was entered; null otherwise"
    )
    row_version: int = Field(description="in quotes the ETag of the record, which a change needs as If-Match")
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = Field(description="null unless the patient was deleted")


class _PatientEntry(Request):
    first_name: StrictStr = Field(description="At most 255 characters.")
    last_name: StrictStr = Field(description="At most 255 characters.")
    insurance_cost: Annotated[
        float | None,
        Field(
            strict=True,
            description="USD a year; null if not known.",
            json_schema_extra={"minimum": 0, "maximum": LARGEST_COST},
        ),
    ] = None


if TYPE_CHECKING:
    PatientAnswer = _PatientRecord
    PatientEntry = _PatientEntry
    PatientEdit = _PatientEntry
else:
    PatientAnswer = create_model(
        "PatientAnswer",
        __base__=_PatientRecord,
        __doc__="One patient of the caller's own hospital.",
        **features_answered(),
    )
    PatientEntry = create_model(
        "PatientEntry", __base__=_PatientEntry, __doc__="A patient to add.", **features_accepted()
    )
    PatientEdit = create_model(
        "PatientEdit",
        __base__=_PatientEntry,
        __doc__="A patient as the record should be; an insurance_cost that is left out is not known.",
        **features_accepted(),
    )


class PatientItems(Items[PatientAnswer]):
    """One page of the list of patients."""

    count: int | None = Field(
        default=None, description="patients of all pages; only if `count=true` was asked for"
    )


class PossibleDuplicates(ErrorBody):
    """The patient was not added: there are patients of the same name and age."""

    possible_duplicates: list[uuid.UUID] = Field(description="their ids")


class Difference(Answer):
    """One field that two people want to be different."""

    field: str
    label: str = Field(description="as a clinician reads it")
    theirs: Recorded = Field(description="what the record holds now")
    yours: Recorded = Field(description="what this edit wanted")


class PatientChangedBody(ErrorBody):
    """The edit was not made: somebody changed the patient since."""

    current: PatientAnswer
    differences: list[Difference] = Field(description="empty if the patient was to be deleted")


class PatientChangeAnswer(Answer):
    """One change of a patient's record."""

    id: int
    occurred_at: datetime
    worker_id: int
    worker_name: str
    action: Literal["added", "imported", "edited", "deleted", "restored"]
    changes: dict[str, tuple[Recorded, Recorded]] = Field(description="field -> value before and value after")


class ImportAnswer(Answer):
    """What an import did or, if the file was only checked, would do."""

    checked_only: bool
    rows: int = Field(description="patients in the file")
    costs_known: int = Field(description="patients of the file whose cost it says")
    mapping: dict[str, str | None] = Field(description="field -> heading of the column that it was read from")
    ignored: list[str] = Field(description="headings of columns that were not read")
    notes: list[str] = Field(description="how the file was read")
    added: int
    already_there: int = Field(
        description="patients of the file who were on record; they are not added again"
    )
    costs_filled: int = Field(
        description="patients on record whose cost was not known and stands in the file"
    )
    costs_different: int | None = Field(
        default=None,
        description="patients with another cost on record, which stays; null if not only checked",
    )
    repeated: int | None = Field(
        default=None, description="rows that say the same as one before them; null if not only checked"
    )
    known_names: list[int] | None = Field(
        default=None,
        description="rows with the name of a patient on record whose values differ; null if not only checked",
    )


class CostDistributionAnswer(Answer):
    """How many of the hospital's patients have which known cost."""

    edges: list[Annotated[float | None, BeforeValidator(finite)]] = Field(
        description="USD a year; one more than counts. null: without end"
    )
    counts: list[int]
    count: int = Field(description="patients whose cost is known")
