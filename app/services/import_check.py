"""What a table of patients holds, row by row, and all that is wrong with it by row and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from app.errors import InvalidInput
from app.services.import_mapping import (
    FIELD_BY_NAME,
    FIELDS,
    FIRST_NAME,
    FULL_NAME,
    LAST_NAME,
    guess_mapping,
    split_name,
    unclear_columns,
)
from app.services.patient_cells import cost_reader, feature_reader
from app.services.patient_entry import parse_name
from app.services.tabular import Table, read_table
from fl.features import FEATURES, TARGET_NAME, FeatureValue

MAX_PROBLEMS = 100_000  # a wrong column makes one in every row; beyond these nobody reads on
_STEP = 5000  # rows between two reports of progress

Mapped = Mapping[str, str | None]  # field of the record -> heading of the file, as `guess_mapping` returns
Progress = Callable[[float], object]  # is told the share that is done, 0 to 1


@dataclass(frozen=True, slots=True)
class PatientRow:
    """One valid row of a file.

    Attributes
    ----------
    row
        Row or line of the file on which it begins.
    inputs
        The features as validated.
    insurance_cost
        USD a year; None if the file does not say.
    first_name, last_name
        None if the file has no names.
    """

    row: int
    inputs: dict[str, FeatureValue]
    insurance_cost: Decimal | None = None
    first_name: str | None = None
    last_name: str | None = None


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong with a file: the row, the heading of the column if it is one column's, and a sentence."""

    row: int
    column: str | None
    message: str


@dataclass(frozen=True)
class ImportCheck:
    """What a file holds. If `problems` is not empty nothing of it may be imported.

    `ignored` are the headings of columns that were not chosen for any field.
    """

    rows: list[PatientRow] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def check_file(content: bytes, file_name: str = "The file") -> ImportCheck:
    """Read and check a file whose columns nobody is there to choose: what is not clear is a problem."""
    try:
        table = read_table(content, file_name)
    except InvalidInput as error:
        return ImportCheck(problems=[RowProblem(1, None, str(error))])
    unclear = [
        RowProblem(1, headings[-1], f"{_spoken(headings)} may each be {FIELD_BY_NAME[name].label}; keep one.")
        for name, headings in unclear_columns(table.header).items()
    ]
    if unclear:
        return ImportCheck(problems=unclear)
    return check_table(table, guess_mapping(table.header))


def check_table(table: Table, mapping: Mapped, *, progress: Progress | None = None) -> ImportCheck:
    """Check every row of a table.

    Parameters
    ----------
    mapping
        Which heading is which field. All features are needed; first and last name together, or the whole name,
        or none; the cost may be missing.
    progress
        Called now and then with the share of rows that are done, 0 to 1.
    """
    problems = mapping_problems(table.header, mapping)
    check = ImportCheck(problems=problems, ignored=_ignored(table.header, mapping))
    if problems:
        return check
    read_row = _row_reader(table, mapping)
    width = len(table.header)
    for done, (number, cells) in enumerate(table.rows):
        if progress and done % _STEP == 0:
            progress(done / len(table.rows))
        if len(cells) != width:
            message = f"This row has {len(cells)} values; there are {width} columns."
            problems.append(RowProblem(number, None, message))
        else:
            found, wrong = read_row(number, cells)
            if wrong:
                problems.extend(wrong)
            else:
                check.rows.append(found)
        if len(problems) >= MAX_PROBLEMS:
            message = f"The first {MAX_PROBLEMS:,} problems are listed; the rest of the file was not checked."
            problems.append(RowProblem(number, None, message))
            break
    if not check.rows and not problems:
        problems.append(RowProblem(1, None, "The file has headings but no patients."))
    return check


def mapping_problems(header: tuple[str, ...], mapping: Mapped) -> list[RowProblem]:
    """Return what is wrong with a choice of columns, before any row is read."""
    chosen = {name: heading for name, heading in mapping.items() if heading is not None}
    problems: list[RowProblem] = []
    for name, heading in chosen.items():
        if heading not in header:
            problems.append(RowProblem(1, heading, f"The file has no column {heading[:40]!r}."))
        sharing = [FIELD_BY_NAME[other].label for other in chosen if chosen[other] == heading]
        if len(sharing) > 1 and name == next(other for other in chosen if chosen[other] == heading):
            problems.append(RowProblem(1, heading, f"One column is chosen for {_spoken(sharing)}."))
    for wanted in FIELDS:
        if wanted.required and wanted.name not in chosen:
            message = f"No column is {wanted.label}; expected {wanted.expectation}."
            problems.append(RowProblem(1, None, message))
    for name, other in ((FIRST_NAME, LAST_NAME), (LAST_NAME, FIRST_NAME)):
        if name in chosen and FULL_NAME in chosen:
            message = "Choose either first and last name or the whole name, not both."
            problems.append(RowProblem(1, chosen[FULL_NAME], message))
            break
        if name in chosen and other not in chosen:
            message = f"No column is {FIELD_BY_NAME[other].label}; first and last name belong together."
            problems.append(RowProblem(1, None, message))
    return problems


def _row_reader(
    table: Table, mapping: Mapped
) -> Callable[[int, tuple[str, ...]], tuple[PatientRow, list[RowProblem]]]:
    """Return a function from a row's number and cells to the patient and every problem."""
    place = {
        name: (table.header.index(heading), heading)
        for name, heading in mapping.items()
        if heading is not None
    }
    style = {"decimal_comma": table.decimal_comma, "decimal_point": table.decimal_point}
    readers = [(feature.name, *place[feature.name], feature_reader(feature, **style)) for feature in FEATURES]
    cost_at = place.get(TARGET_NAME)
    read_cost = cost_reader(**style)

    def read(number: int, cells: tuple[str, ...]) -> tuple[PatientRow, list[RowProblem]]:
        wrong: list[RowProblem] = []
        inputs: dict[str, FeatureValue] = {}
        cost: Decimal | None = None
        for name, index, heading, read_feature in readers:
            try:
                inputs[name] = read_feature(cells[index])
            except ValueError as error:
                wrong.append(RowProblem(number, heading, str(error)))
        if cost_at:
            try:
                cost = read_cost(cells[cost_at[0]])
            except ValueError as error:
                wrong.append(RowProblem(number, cost_at[1], str(error)))
        names: dict[str, Any] = {}
        for name, heading, text in _name_texts(place, cells, number, wrong):
            try:
                names[name] = parse_name(FIELD_BY_NAME[name].label, text)
            except ValueError as error:
                wrong.append(RowProblem(number, heading, str(error)))
        return PatientRow(number, inputs, cost, **names), wrong

    return read


def _name_texts(
    place: Mapping[str, tuple[int, str]], cells: tuple[str, ...], number: int, wrong: list[RowProblem]
) -> Iterator[tuple[str, str, str]]:
    """Yield name field, heading and text of the names that the file has."""
    if FULL_NAME in place:
        index, heading = place[FULL_NAME]
        try:
            first, last = split_name(cells[index])
        except ValueError as error:
            wrong.append(RowProblem(number, heading, str(error)))
            return
        yield FIRST_NAME, heading, first
        yield LAST_NAME, heading, last
    elif FIRST_NAME in place:
        for name in (FIRST_NAME, LAST_NAME):
            index, heading = place[name]
            yield name, heading, cells[index]


def _ignored(header: tuple[str, ...], mapping: Mapped) -> list[str]:
    chosen = set(mapping.values())
    return [heading[:40] for heading in header if heading and heading not in chosen]


def _spoken(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
