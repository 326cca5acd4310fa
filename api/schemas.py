"""What all bodies share: their bases, errors, amounts of money, and the features as the feature table has them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StrictInt, StrictStr, field_validator

from fl.features import FEATURES, Feature

T = TypeVar("T")

Usd = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]
VALUE_TYPES: dict[str, type] = {"integer": int, "number": float, "category": str}


class Request(BaseModel):
    """A request's body; a field that is not declared is refused rather than ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        # JSON can say both, and no database keeps them.
        if isinstance(value, str) and any(one == "\0" or "\ud800" <= one <= "\udfff" for one in value):
            raise ValueError("holds a character that no text has")
        return value


class Answer(BaseModel):
    """An answer's body, read from a model of the database or from a dataclass."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())


class Items(Answer, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        description="send it as `cursor` for the page after; null on the last page"
    )
    previous_cursor: str | None = Field(
        default=None, description="send it as `cursor` for the page before; null on the first page"
    )


class Problem(BaseModel):
    """One thing that is wrong."""

    field: str = Field(description="of the request; of a file, its column")
    message: str = Field(description="a sentence that says what is wrong and what is expected")
    row: int | None = Field(
        default=None, description="of a file, counted as a spreadsheet does; the headings are row 1"
    )


class ErrorBody(BaseModel):
    """Every error (RFC 9457): its kind, a sentence, and the fields it is about if it is about fields."""

    type: str = Field(description="its kind: an address below /api/problems that describes it")
    title: str = Field(description="its kind in some words, the same each time")
    status: int
    detail: str = Field(description="a sentence that a clinician understands")
    instance: str = Field(description="the path that was asked for")
    request_id: str | None = Field(default=None, description="as the header X-Request-ID says it")
    problems: list[Problem] | None = Field(default=None, description="the first of them, if there are many")
    total: int | None = Field(default=None, description="how many problems there are")


def errors(
    *statuses: int, special: dict[int, type[BaseModel]] | None = None, token: bool = True
) -> dict[int | str, dict[str, Any]]:
    """Return what a route documents of its errors.

    Parameters
    ----------
    special
        Status -> body, of those that say more than other errors.
    token
        The route needs an access token.
    """
    bodies = dict.fromkeys((*statuses, *((401, 403) if token else ())), ErrorBody) | (special or {})
    return {status: {"model": bodies[status], "description": REASONS[status]} for status in sorted(bodies)}


REASONS = {
    400: "The body is not what its content type says.",
    401: "No access token, or one that is not valid any more.",
    403: "The role does not include this.",
    404: "There is no such thing in the caller's own hospital.",
    409: "The request does not fit the present state.",
    412: "The patient is not any more what If-Match says; nothing was changed.",
    413: "The body is larger than this address accepts.",
    415: "The body is of a type that this address does not accept.",
    422: "Something in the request is not accepted; every problem is named.",
    428: "If-Match is missing.",
    429: "More requests came than are accepted in that time.",
    500: "A mistake of ours; the log has more under the reference in detail.",
    503: "A database does not answer.",
}


def accepted(feature: Feature) -> Any:
    """Return the annotation of a feature in a request.

    Ranges and categories are documented here and checked by `fl.features.validate`, so that the API, the form and
    the import say the same sentence.
    """
    described = f"{feature.label}: {feature.expectation}."
    if feature.kind == "category":
        return Annotated[
            StrictStr, Field(description=described, json_schema_extra={"enum": [*feature.values]})
        ]
    limits = {"minimum": feature.minimum, "maximum": feature.maximum}
    if feature.kind == "integer":
        schema: dict[str, Any] = {**limits, "type": "integer"}
        return Annotated[StrictInt, Field(description=described, json_schema_extra=schema)]
    return Annotated[float, Field(strict=True, description=described, json_schema_extra={**limits})]


def features_accepted() -> dict[str, Any]:
    """Return the fields of all features in a request, for `create_model`."""
    return {feature.name: (accepted(feature), ...) for feature in FEATURES}


def features_answered() -> dict[str, Any]:
    """Return the fields of all features in an answer, for `create_model`."""
    return {
        feature.name: (
            VALUE_TYPES[feature.kind],
            Field(description=f"{feature.label}{f' ({feature.unit})' if feature.unit else ''}"),
        )
        for feature in FEATURES
    }


def features_of(request: BaseModel) -> dict[str, object]:
    """Return the features of a request by name."""
    return {feature.name: getattr(request, feature.name) for feature in FEATURES}
