"""Which rows of an import are patients on record already: rows go to a temporary table, and SQL pairs them."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.services.import_check import PatientRow
from app.services.patient_entry import column_values
from fl.features import FEATURE_NAMES, TARGET_NAME

UNNAMED = "Imported"  # last name of a patient whose file has no names

# The columns of a patient that a file can hold; names from our own table of features, never from a file.
COLUMNS: tuple[str, ...] = ("first_name", "last_name", *FEATURE_NAMES, TARGET_NAME)
_LISTED = ", ".join(COLUMNS)
_SAME_NAME = (
    "lower(patients.last_name) = lower(import_rows.last_name) "
    "AND lower(patients.first_name) = lower(import_rows.first_name)"
)
_SAME_FEATURES = " AND ".join(f"patients.{name} = import_rows.{name}" for name in FEATURE_NAMES)
_PERSON = f"lower(last_name), lower(first_name), {', '.join(FEATURE_NAMES)}"

_ROWS = (
    "DROP TABLE IF EXISTS import_rows, import_people, import_alike, import_matches",
    f"CREATE TEMPORARY TABLE import_rows ON COMMIT DROP AS SELECT 0 AS position, {_LISTED} "  # our own names  # noqa: S608  # nosec B608
    "FROM patients WITH NO DATA",
)

# Rows of the same content are one `person`, named after the first of them; patients of that content are alike.
# Both sides are counted: the second row of a person is paired with the second patient, so two people alike stay
# two. First go rows and patients with the same cost (or both without), then the rest, where rows that know a cost
# come to patients without one.
_MATCHES = (
    "ANALYZE import_rows",
    "CREATE TEMPORARY TABLE import_people ON COMMIT DROP AS "  # our own names  # noqa: S608  # nosec B608
    f"SELECT position, {TARGET_NAME} AS cost, min(position) OVER (PARTITION BY {_PERSON}) AS person "
    "FROM import_rows",
    "CREATE TEMPORARY TABLE import_alike ON COMMIT DROP AS "  # our own names  # noqa: S608  # nosec B608
    f"SELECT patients.id, patients.{TARGET_NAME} AS cost, import_rows.position AS person "
    "FROM import_rows JOIN import_people USING (position) "
    f"JOIN patients ON {_SAME_NAME} AND {_SAME_FEATURES} "
    "WHERE import_people.person = import_people.position AND patients.deleted_at IS NULL",
    "ANALYZE import_people",
    "ANALYZE import_alike",
    """CREATE TEMPORARY TABLE import_matches ON COMMIT DROP AS
    WITH same AS (
      SELECT file.position, record.id, file.cost AS file_cost, record.cost AS record_cost
      FROM (SELECT *, row_number() OVER (PARTITION BY person, cost ORDER BY position) AS turn
            FROM import_people) AS file
      JOIN (SELECT *, row_number() OVER (PARTITION BY person, cost ORDER BY id) AS turn
            FROM import_alike) AS record
      ON file.person = record.person AND file.turn = record.turn AND file.cost IS NOT DISTINCT FROM record.cost
    ), rest AS (
      SELECT file.position, record.id, file.cost, record.cost
      FROM (SELECT *, row_number() OVER (PARTITION BY person ORDER BY cost IS NULL, position) AS turn
            FROM import_people WHERE NOT EXISTS (SELECT FROM same WHERE same.position = import_people.position)
           ) AS file
      JOIN (SELECT *, row_number() OVER (PARTITION BY person ORDER BY cost IS NOT NULL, id) AS turn
            FROM import_alike WHERE NOT EXISTS (SELECT FROM same WHERE same.id = import_alike.id)
           ) AS record
      ON file.person = record.person AND file.turn = record.turn
    )
    SELECT * FROM same UNION ALL SELECT * FROM rest""",
    "ANALYZE import_matches",
)


def match_rows(site: Session, rows: Sequence[PatientRow]) -> None:
    """Make the temporary tables of this transaction.

    `import_rows` has every row by its `position` from 0; `import_people` the first position of the same content;
    `import_matches` position, patient id, and both costs, of every row that is on record already.
    """
    for statement in _ROWS:
        site.execute(text(statement))
    _copy(site, rows)
    for statement in _MATCHES:
        site.execute(text(statement))


def rows_of_known_names(site: Session) -> list[int]:
    """Return positions of rows, not on record, whose first and last name are those of a patient on record."""
    query = (
        "SELECT position FROM import_rows WHERE last_name <> :unnamed "  # our own names  # noqa: S608  # nosec B608
        "AND NOT EXISTS (SELECT FROM import_matches WHERE import_matches.position = import_rows.position) "
        f"AND EXISTS (SELECT FROM patients WHERE {_SAME_NAME} AND deleted_at IS NULL) ORDER BY position"
    )
    return list(site.scalars(text(query), {"unnamed": UNNAMED}))


def unnamed_code(columns: Iterable[object]) -> str:
    """Return the first name of a patient without one: a code that follows from the features alone.

    So the same row of a file gets the same name at every import, wherever in the file it stands.
    """
    content = "|".join(map(str, columns))
    return f"patient {hashlib.blake2b(content.encode(), digest_size=4).hexdigest().upper()}"


def _copy(site: Session, rows: Sequence[PatientRow]) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    for position, row in enumerate(rows):
        columns = column_values(row.inputs)
        features = [columns[name] for name in FEATURE_NAMES]
        first = row.first_name or unnamed_code(features)
        writer.writerow(
            [
                position,
                first,
                row.last_name or UNNAMED,
                *features,
                row.insurance_cost,
            ]  # None is written as NULL
        )
    written.seek(0)
    connection = site.connection()
    database = connection.dialect.loaded_dbapi
    cursor: Any = connection.connection.cursor()
    try:
        cursor.copy_expert(f"COPY import_rows (position, {_LISTED}) FROM STDIN WITH (FORMAT csv)", written)
    except database.Error as error:
        # What SQLAlchemy would have raised, so that a lost connection is told from a refused value.
        raise DBAPIError.instance("COPY", None, error, database.Error, hide_parameters=True) from error
    finally:
        cursor.close()
