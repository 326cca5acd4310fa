"""Importing a checked file of patients: all of it or none, and nobody who is on record already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import InvalidInput
from app.permissions import Permission
from app.services.access import record_access
from app.services.import_check import ImportCheck, PatientRow, Progress, RowProblem, check_file, check_table
from app.services.import_matching import COLUMNS, match_rows, rows_of_known_names
from app.services.tabular import MAX_ROWS
from db.site import PatientAction
from fl.features import TARGET_NAME, FieldProblem

__all__ = [
    "MAX_ROWS",
    "ImportCheck",
    "ImportComparison",
    "ImportResult",
    "PatientRow",
    "RowProblem",
    "check_file",
    "check_table",
    "compare_with_record",
    "import_patients",
]

_ONE_IMPORT = 4_270_912_001  # advisory lock: imports into one site come one after another
_CHUNK = 10_000  # rows between two reports of progress
_LISTED = ", ".join(COLUMNS)

_COUNTS = text(
    """SELECT count(*),
      count(*) FILTER (WHERE record_cost IS NULL AND file_cost IS NOT NULL),
      count(*) FILTER (WHERE record_cost <> file_cost)
    FROM import_matches"""
)
_REPEATED = text("SELECT count(*) - count(DISTINCT person) FROM import_people")
_ADD = text(
    f"""WITH added AS (
      INSERT INTO patients ({_LISTED}, created_by)
      SELECT {_LISTED}, :worker_id FROM import_rows
      WHERE position >= :first AND position < :last
        AND NOT EXISTS (SELECT FROM import_matches WHERE import_matches.position = import_rows.position)
      ORDER BY position
      RETURNING id
    )
    INSERT INTO patient_changes (patient_id, worker_id, worker_name, action)
    SELECT id, :worker_id, :worker_name, :action FROM added"""  # the names of our own columns  # noqa: S608  # nosec B608
)
# The cost of a patient edited at this moment by somebody else stays as that person entered it.
_FILL_COSTS = text(
    f"""WITH filled AS (
      UPDATE patients SET {TARGET_NAME} = file_cost, cost_entered_at = now(), updated_at = now(),
        row_version = row_version + 1
      FROM import_matches
      WHERE import_matches.id = patients.id AND file_cost IS NOT NULL
        AND patients.{TARGET_NAME} IS NULL AND patients.deleted_at IS NULL
      RETURNING patients.id, patients.{TARGET_NAME} AS cost
    )
    INSERT INTO patient_changes (patient_id, worker_id, worker_name, action, changes)
    SELECT id, :worker_id, :worker_name, :action,
      jsonb_build_object('{TARGET_NAME}', jsonb_build_array(NULL, cost))
    FROM filled"""  # the names of our own columns  # noqa: S608  # nosec B608
)


@dataclass(frozen=True)
class ImportComparison:
    """What an import would do, found before it.

    Attributes
    ----------
    new
        Rows that would become patients.
    already_there
        Rows that are on record: same name and same features.
    costs_to_fill
        Of those already there, patients whose cost is not known and stands in the file.
    costs_different
        Of those already there, patients with another cost on record; it would stay.
    repeated
        Rows that say the same of the same name as a row before them; each is a person of their own.
    known_names
        Row numbers of new rows with the name of a patient on record whose features differ.
    """

    new: int
    already_there: int
    costs_to_fill: int
    costs_different: int
    repeated: int
    known_names: list[int]


@dataclass(frozen=True)
class ImportResult:
    """What an import did: patients added, rows that were there already, and costs that it filled in."""

    added: int
    already_there: int
    costs_filled: int


def compare_with_record(*, site: Session, actor: Actor, check: ImportCheck) -> ImportComparison:
    """Tell what importing a checked file would do to this institution's patients; nothing is changed.

    Raises
    ------
    InvalidInput
        If the check found any problem, or no patient.
    """
    actor.require(Permission.PATIENTS_IMPORT)
    _refuse_problems(check)
    match_rows(site, check.rows)
    matched, fillable, different = site.execute(_COUNTS).one()
    comparison = ImportComparison(
        new=len(check.rows) - matched,
        already_there=matched,
        costs_to_fill=fillable,
        costs_different=different,
        repeated=site.scalar(_REPEATED) or 0,
        known_names=[check.rows[position].row for position in rows_of_known_names(site)],
    )
    record_access(site, actor, "import_compared", details={"rows": len(check.rows), "already_there": matched})
    return comparison


def import_patients(
    *, site: Session, actor: Actor, check: ImportCheck, progress: Progress | None = None
) -> ImportResult:
    """Add every patient of a checked file who is not on record already.

    A row is on record if a patient, not deleted, has the same name (upper case ignored) and the same features;
    both sides are counted, so a file may hold two people alike. Where such a patient's cost is not known and the
    file knows it, it is filled in; a cost on record is never replaced. Patients of a file without names are called
    "Imported, patient" and a code that follows from their features.

    All happens in the caller's transaction: if anything fails, nothing of it stays. A second import into the same
    institution waits until this transaction ends.

    Parameters
    ----------
    progress
        Called now and then with the share that is done, 0 to 1.

    Raises
    ------
    InvalidInput
        If the check found any problem, or no patient.
    """
    actor.require(Permission.PATIENTS_IMPORT)
    _refuse_problems(check)
    report = progress or (lambda share: None)
    report(0.0)
    site.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_IMPORT})
    match_rows(site, check.rows)
    report(0.25)
    already_there = site.execute(_COUNTS).one()[0]
    by = {
        "worker_id": actor.worker_id,
        "worker_name": actor.name,
        "action": PatientAction.IMPORTED.value,
    }
    filled = _changed(site, _FILL_COSTS, by)
    added = 0
    for first in range(0, len(check.rows), _CHUNK):
        added += _changed(site, _ADD, {**by, "first": first, "last": first + _CHUNK})
        report(0.3 + 0.7 * min(1.0, (first + _CHUNK) / len(check.rows)))
    result = ImportResult(added, already_there, filled)
    details = {"count": added, "already_there": already_there, "costs_filled": filled}
    record_access(site, actor, "patients_imported", details=details)
    return result


def _refuse_problems(check: ImportCheck) -> None:
    if check.problems:
        raise InvalidInput(
            [
                FieldProblem(problem.column or "file", f"Row {problem.row}: {problem.message}")
                for problem in check.problems
            ]
        )
    if not check.rows:
        raise InvalidInput([FieldProblem("file", "The file has no patients.")])


def _changed(site: Session, statement: TextClause, values: dict[str, Any]) -> int:
    """Run a statement and return how many rows it wrote."""
    result = cast("CursorResult[Any]", site.execute(statement, values))
    return result.rowcount
