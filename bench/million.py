"""A site with very many invented patients in an embedded PostgreSQL, loaded with COPY."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import text

from app.demo_people import invent_names
from db.cohort import generate
from db.engines import engine_for

BATCH = 100_000
SEED = 20
UNKNOWN_COST_SHARE = 0.1
SECOND_NAME_SHARE = 0.2  # of first names, as in Ada Mary
DOUBLE_NAME_SHARE = 0.1  # of last names, as in Kaur-Olsen
# Records were changed within these years, the newest now.
YEARS = 3
COLUMNS = (
    "first_name, last_name, age, sex, bmi, children, smoker, region, insurance_cost, created_at, updated_at"
)


def load_patients(url: str, rows: int) -> None:
    """Fill an empty site database with `rows` invented patients and let PostgreSQL take stock of them."""
    connection = engine_for(url).raw_connection()
    try:
        with connection.cursor() as cursor:
            for start in range(0, rows, BATCH):
                lines = _lines(min(BATCH, rows - start), SEED + start)
                cursor.copy_expert(f"COPY patients ({COLUMNS}) FROM STDIN WITH (FORMAT csv)", lines)
        connection.commit()
    finally:
        connection.close()
    # What autovacuum does in its own time after such a load.
    with engine_for(url).connect().execution_options(isolation_level="AUTOCOMMIT") as maintenance:
        maintenance.execute(text("VACUUM (ANALYZE) patients"))


def _lines(size: int, seed: int) -> io.StringIO:
    people = generate(size, seed=seed)
    random = np.random.default_rng(seed)
    sexes = people.sex.tolist()
    names = invent_names(sexes, seed=seed)
    seconds = invent_names(sexes, seed=seed + 1)
    two_first = random.random(size) < SECOND_NAME_SHARE
    two_last = random.random(size) < DOUBLE_NAME_SHARE
    unknown = random.random(size) < UNKNOWN_COST_SHARE
    ages_of_change = random.random(size) * YEARS * 365 * 86400
    now = datetime.now(UTC)
    lines = io.StringIO()
    writer = csv.writer(lines)
    for row in range(size):
        first, last = names[row]
        second_first, second_last = seconds[row]
        changed = now - timedelta(seconds=float(ages_of_change[row]))
        writer.writerow(
            (
                f"{first} {second_first}" if two_first[row] else first,
                f"{last}-{second_last}" if two_last[row] else last,
                people.age[row],
                people.sex[row],
                f"{people.bmi[row]:.3f}",
                people.children[row],
                people.smoker[row],
                people.region[row],
                "" if unknown[row] else f"{people.insurance_cost[row]:.2f}",
                changed.isoformat(),
                changed.isoformat(),
            )
        )
    lines.seek(0)
    return lines
