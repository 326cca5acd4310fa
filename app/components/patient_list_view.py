"""A view of the list of patients as its address says it: search, filters, order and page, read and written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.components.formats import feature_heading, feature_value
from app.errors import InvalidInput
from app.services.patient_query import PatientFilter, PatientSort
from fl.features import FEATURES, Feature, FieldProblem, parse_value

SEARCH, SORT, COST, CURSOR, NUMBER, DELETED = "q", "sort", "cost", "cursor", "page", "deleted"
UNKNOWN, YES = "unknown", "yes"
_FIELDS = {known.name for known in dataclasses.fields(PatientFilter)}
# What the list can be filtered by, in the order of the feature table.
CATEGORIES: tuple[Feature, ...] = tuple(
    feature for feature in FEATURES if feature.kind == "category" and feature.name in _FIELDS
)
RANGES: tuple[Feature, ...] = tuple(
    feature for feature in FEATURES if feature.kind != "category" and f"{feature.name}_from" in _FIELDS
)
_RANGE = re.compile(r"(?P<low>[0-9.]*)-(?P<high>[0-9.]*)|(?P<only>[0-9.]+)", re.ASCII)
_LARGEST_NUMBER = 10_000_000  # of a page; more is no page of any list


@dataclass(frozen=True)
class PatientListView:
    """What the list shows.

    Attributes
    ----------
    cursor
        Where the page begins; None is the first page.
    number
        Which page that was when it was reached; None if the address does not tell.
    deleted
        Whether the recently deleted patients are shown instead; the rest is what to come back to.
    """

    filter: PatientFilter = field(default_factory=PatientFilter)
    sort: PatientSort = PatientSort.NAME
    descending: bool = False
    cursor: str | None = None
    number: int | None = 1
    deleted: bool = False

    @property
    def filters(self) -> list[str]:
        """The filters that are active, by the names they have in the address; the search is none."""
        return [name for name in filter_address(self.filter) if name != SEARCH]

    @property
    def is_narrowed(self) -> bool:
        """Whether a search or a filter leaves anybody out."""
        return bool(filter_address(self.filter))

    def first_page(self, **changes: Any) -> PatientListView:
        """Return this view with `changes`, from its first page on."""
        return dataclasses.replace(self, cursor=None, number=1, **changes)

    def without(self, name: str) -> PatientListView:
        """Return this view without the filter that the address calls `name`."""
        kept = filter_address(self.filter)
        kept.pop(name, None)
        return self.first_page(filter=read_view(kept)[0].filter)

    def address(self) -> dict[str, str]:
        """Return the query of the address that shows this view; what is usual is left out."""
        said = filter_address(self.filter)
        if self.sort != PatientSort.NAME or self.descending:
            said[SORT] = f"{'-' if self.descending else ''}{self.sort.value}"
        if self.cursor is not None:
            said[CURSOR] = self.cursor
            if self.number is not None:
                said[NUMBER] = str(self.number)
        if self.deleted:
            said[DELETED] = YES
        return said


def filter_address(chosen: PatientFilter) -> dict[str, str]:
    """Return search and filters as an address says them; the batch page understands the same words."""
    said: dict[str, str] = {}
    if chosen.search:
        said[SEARCH] = chosen.search
    for feature in CATEGORIES:
        value = getattr(chosen, feature.name)
        if value is not None:
            said[feature.name] = value
    for feature in RANGES:
        low, high = getattr(chosen, f"{feature.name}_from"), getattr(chosen, f"{feature.name}_to")
        if low is not None or high is not None:
            said[feature.name] = f"{_short(low)}-{_short(high)}"
    if chosen.cost_unknown:
        said[COST] = UNKNOWN
    return said


def read_view(params: Mapping[str, str]) -> tuple[PatientListView, list[FieldProblem]]:
    """Read the query of an address.

    Returns
    -------
    tuple
        The view, made of all that could be understood, and a sentence on each part that could not.
    """
    chosen: dict[str, Any] = {}
    problems: list[FieldProblem] = []

    def refuse(name: str, label: str, expected: str) -> None:
        problems.append(FieldProblem(name, f"{label}: “{params[name][:40]}” is not {expected}."))

    search = " ".join(params.get(SEARCH, "").split())
    if search:
        try:
            PatientFilter(search=search).check()
            chosen["search"] = search
        except InvalidInput as error:
            problems.extend(FieldProblem(SEARCH, problem.message) for problem in error.problems)
    for feature in CATEGORIES:
        if params.get(feature.name):
            try:
                chosen[feature.name] = parse_value(feature, params[feature.name])
            except ValueError:
                refuse(feature.name, feature.label, feature.expectation)
    for feature in RANGES:
        if params.get(feature.name):
            try:
                chosen.update(_read_range(feature, params[feature.name]))
            except ValueError as error:
                problems.append(FieldProblem(feature.name, str(error)))
    if params.get(COST):
        if params[COST] == UNKNOWN:
            chosen["cost_unknown"] = True
        else:
            refuse(COST, "Cost", UNKNOWN)
    sort, descending = PatientSort.NAME, False
    if params.get(SORT):
        try:
            sort, descending = PatientSort(params[SORT].removeprefix("-")), params[SORT].startswith("-")
        except ValueError:
            refuse(SORT, "Order", f"one of {', '.join(PatientSort)}")
    cursor = params.get(CURSOR) or None
    number = None if cursor else 1
    if cursor and params.get(NUMBER):
        if (
            params[NUMBER].isascii()
            and params[NUMBER].isdigit()
            and 0 < int(params[NUMBER]) < _LARGEST_NUMBER
        ):
            number = int(params[NUMBER])
        else:
            refuse(NUMBER, "Page", "a page number")
    return (
        PatientListView(
            filter=PatientFilter(**chosen),
            sort=sort,
            descending=descending,
            cursor=cursor,
            number=number,
            deleted=params.get(DELETED) == YES,
        ),
        problems,
    )


def range_problem(feature: Feature, low: object, high: object) -> str | None:
    """Say what is wrong with the ends of a range as they were typed; None if nothing is."""
    try:
        _range_ends(feature, low, high)
    except ValueError as error:
        return str(error)
    return None


def describe_filter(name: str, chosen: PatientFilter) -> str:
    """Write one active filter for people: `Smoker: Yes`, `Age: 30 to 45 years`."""
    if name == COST:
        return "Cost unknown"
    feature = next(feature for feature in FEATURES if feature.name == name)
    label = feature_heading(feature).removesuffix(f" ({feature.unit})")
    if feature.kind == "category":
        return f"{label}: {feature_value(feature, getattr(chosen, name))}"
    low, high = _short(getattr(chosen, f"{name}_from")), _short(getattr(chosen, f"{name}_to"))
    span = f"{low} to {high}" if low and high else f"{low} and above" if low else f"up to {high}"
    return f"{label}: {span}{f' {feature.unit}' if feature.unit else ''}"


def _read_range(feature: Feature, text: str) -> dict[str, int | float]:
    found = _RANGE.fullmatch(text.strip())
    if found is None or text.strip() == "-":
        example = "30-45" if feature.kind == "integer" else "18.5-25"
        raise ValueError(f"{feature.label}: “{text[:40]}” is not a range such as {example}.")
    low, high = (found["only"], found["only"]) if found["only"] else (found["low"], found["high"])
    return _range_ends(feature, low, high)


def _range_ends(feature: Feature, low: object, high: object) -> dict[str, int | float]:
    ends: dict[str, int | float] = {}
    for end, raw in (("from", low), ("to", high)):
        if raw is not None and str(raw).strip():
            value = parse_value(feature, raw)
            assert not isinstance(value, str)
            ends[f"{feature.name}_{end}"] = value
    lowest, highest = ends.get(f"{feature.name}_from"), ends.get(f"{feature.name}_to")
    if lowest is not None and highest is not None and lowest > highest:
        raise ValueError(
            f"{feature.label} from {_short(lowest)} to {_short(highest)}: the first must not be the larger one."
        )
    return ends


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"
