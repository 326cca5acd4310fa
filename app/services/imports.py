"""Reading a file of patients: all that is wrong is listed by row, and it is imported whole or not at all."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import InvalidInput
from app.permissions import Permission
from app.services.access import record_access
from app.services.patient_records import column_values, parse_cost, parse_name
from db.site import Patient
from fl.features import FEATURE_NAMES, FEATURES, TARGET_NAME, FeatureValue, FieldProblem, parse_value

MAX_ROWS = 200_000
COST_COLUMNS = (TARGET_NAME, "charges")  # the second is the name in the public insurance data
NAME_COLUMNS = ("first_name", "last_name")
_LABELS = {"first_name": "First name", "last_name": "Last name"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class PatientRow:
    """One valid row of a file.

    Attributes
    ----------
    row
        Line of the file on which it begins; the header is line 1.
    inputs
        The six features as validated.
    insurance_cost
        USD a year; None if the file does not say.
    first_name, last_name
        None if the file has no such columns.
    """

    row: int
    inputs: dict[str, FeatureValue]
    insurance_cost: Decimal | None = None
    first_name: str | None = None
    last_name: str | None = None


@dataclass(frozen=True)
class RowProblem:
    """One thing wrong with a file: the line, the column if it is one column's, and a sentence."""

    row: int
    column: str | None
    message: str


@dataclass(frozen=True)
class ImportCheck:
    """What a file holds. If `problems` is not empty nothing of it may be imported.

    `ignored` names columns that have no place in the patient table.
    """

    rows: list[PatientRow] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def check_file(content: bytes) -> ImportCheck:
    """Read a CSV file of patients.

    Columns, in any order: the six features; `insurance_cost` or `charges` (USD a year, may be empty);
    `first_name` and `last_name` together, or neither. Delimited by comma, semicolon or tab; a
    semicolon file may have decimal commas.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _refused("The file is not text in UTF-8. In a spreadsheet choose “CSV UTF-8” when saving it.")
    if "\x00" in text:
        return _refused("The file is not a CSV file.")
    if not text.strip():
        return _refused("The file is empty.")
    header_line = next(line for line in text.splitlines() if line.strip())
    delimiter = max(",;\t", key=header_line.count)
    check = ImportCheck()
    lines = _records(text, delimiter, check.problems)
    first = next(lines, None)
    if first is None:
        return check if check.problems else _refused("The file is empty.")
    header_row, header = first
    columns = _columns(header_row, header, check)
    if columns is None:
        return check
    for row, cells in lines:
        if len(check.rows) >= MAX_ROWS:
            message = f"The file has more than {MAX_ROWS:,} patients. Split it."
            check.problems.append(RowProblem(row, None, message))
            break
        if len(cells) != len(header):
            message = f"This row has {len(cells)} values; the header names {len(header)} columns."
            check.problems.append(RowProblem(row, None, message))
            continue
        named = {name: cells[index] for name, index in columns.items()}
        _read_row(row, named, decimal_comma=delimiter == ";", check=check)
    if not check.rows and not check.problems:
        check.problems.append(RowProblem(header_row, None, "The file has a header but no patients."))
    return check


def import_patients(*, site: Session, actor: Actor, check: ImportCheck) -> int:
    """Add every patient of a checked file, all or none, and return how many.

    Raises
    ------
    InvalidInput
        If the check found any problem.
    """
    actor.require(Permission.PATIENTS_IMPORT)
    if check.problems:
        raise InvalidInput(
            [
                FieldProblem(problem.column or "file", f"Row {problem.row}: {problem.message}")
                for problem in check.problems
            ]
        )
    if not check.rows:
        raise InvalidInput([FieldProblem("file", "The file has no patients.")])
    site.execute(
        insert(Patient),
        [
            {
                "first_name": row.first_name or f"row {row.row}",
                "last_name": row.last_name or "Imported",
                **column_values(row.inputs),
                "insurance_cost": row.insurance_cost,
                "created_by": actor.worker_id,
            }
            for row in check.rows
        ],
    )
    record_access(site, actor, "patients_imported", details={"count": len(check.rows)})
    return len(check.rows)


def _refused(message: str) -> ImportCheck:
    return ImportCheck(problems=[RowProblem(1, None, message)])


def _records(text: str, delimiter: str, problems: list[RowProblem]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins, and its cells; blank lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        row = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            message = "The file cannot be read from here on: a quotation mark does not close."
            problems.append(RowProblem(row, None, message))
            return
        if any(cell.strip() for cell in cells):
            yield row, cells


def _columns(row: int, header: Sequence[str], check: ImportCheck) -> dict[str, int] | None:
    """Return the place of each column we know; None, with problems, if the header will not do."""
    names = [name.strip().lower() for name in header]
    problems: list[RowProblem] = []
    for name in dict.fromkeys(names):
        if name and names.count(name) > 1:
            problems.append(RowProblem(row, name[:40], f"Column {name[:40]!r} is there more than once."))
    for name in FEATURE_NAMES:
        if name not in names:
            message = f"Column {name!r} is missing. Needed are: {', '.join(FEATURE_NAMES)}."
            problems.append(RowProblem(row, name, message))
    if all(name in names for name in COST_COLUMNS):
        message = "The file has both 'insurance_cost' and 'charges'; keep one of them."
        problems.append(RowProblem(row, "charges", message))
    for name, other in (NAME_COLUMNS, NAME_COLUMNS[::-1]):
        if name in names and other not in names:
            message = f"Column {other!r} is missing; first_name and last_name belong together."
            problems.append(RowProblem(row, other, message))
    known = {*FEATURE_NAMES, *COST_COLUMNS, *NAME_COLUMNS}
    check.ignored.extend(name[:40] for name in names if name and name not in known)
    check.problems.extend(problems)
    return None if problems else {name: names.index(name) for name in names if name in known}


def _read_row(row: int, cells: dict[str, str], *, decimal_comma: bool, check: ImportCheck) -> None:
    problems: list[RowProblem] = []
    inputs: dict[str, FeatureValue] = {}
    for feature in FEATURES:
        raw = cells[feature.name]
        if feature.kind != "category" and decimal_comma:
            raw = _with_point(raw)
        try:
            inputs[feature.name] = parse_value(feature, raw)
        except ValueError as error:
            problems.append(RowProblem(row, feature.name, str(error)))
    cost: Decimal | None = None
    for column in COST_COLUMNS:
        if column in cells:
            raw = _with_point(cells[column]) if decimal_comma else cells[column]
            try:
                cost = parse_cost(raw)
            except ValueError as error:
                problems.append(RowProblem(row, column, str(error)))
    names: dict[str, str] = {}
    for column in NAME_COLUMNS:
        if column in cells:
            try:
                names[column] = parse_name(_LABELS[column], cells[column])
            except ValueError as error:
                problems.append(RowProblem(row, column, str(error)))
    if problems:
        check.problems.extend(problems)
    else:
        check.rows.append(PatientRow(row, inputs, cost, **names))


def _with_point(raw: str) -> str:
    text = raw.strip()
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text
