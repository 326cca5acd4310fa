"""`make bench-import`: seconds from the bytes of a file of 100,000 patients to their commit, as CSV and as Excel."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from pathlib import Path

from sqlalchemy import func, select

from app.actor import Actor
from app.demo_people import invent_names
from app.services.import_mapping import guess_mapping
from app.services.imports import check_table, compare_with_record, import_patients
from app.services.tabular import read_table, write_csv, write_excel
from db import cohort
from db.embedded import EmbeddedPostgres
from db.engines import sessions_for
from db.provision import provision
from db.site import Patient
from db.states import Role
from fl.features import FEATURE_NAMES

ROWS = 100_000
HEADINGS = (
    "Surname",
    "Given name",
    "Age (years)",
    "Sex (M/F)",
    "BMI [kg/m2]",
    "No. of children",
    "Smoker",
    "Region",
)
DOCTOR = Actor(
    worker_id=1,
    name="The doctor",
    email="doctor@bench.local",
    role=Role.DOCTOR,
    institution_id=1,
    institution_code="northeast",
    institution_name="Northeast Hospital",
    session_id=uuid.UUID(int=1),
)


def patients(seed: int) -> list[list[object]]:
    """Invent the rows of a file: names, the six features, and a cost for nine in ten."""
    people = cohort.generate(ROWS, seed=seed, region="northeast")
    names = invent_names(people.sex.tolist(), seed=seed)
    columns = [getattr(people, name).tolist() for name in FEATURE_NAMES]
    return [
        [
            last,
            f"{first} {row}",
            *(round(values[row], 3) if isinstance(values[row], float) else values[row] for values in columns),
            "" if row % 10 == 0 else round(float(people.insurance_cost[row]), 2),
        ]
        for row, (first, last) in enumerate(names)
    ]


def seconds_of_import(url: str, content: bytes, file_name: str) -> dict[str, float]:
    """Read, check, compare and import a file; return the seconds of each step and of all together."""
    started = time.perf_counter()
    table = read_table(content, file_name)
    read = time.perf_counter()
    check = check_table(table, guess_mapping(table.header))
    checked = time.perf_counter()
    with sessions_for(url)() as site:
        compare_with_record(site=site, actor=DOCTOR, check=check)
        site.commit()
    compared = time.perf_counter()
    with sessions_for(url)() as site:
        result = import_patients(site=site, actor=DOCTOR, check=check)
        site.commit()
    done = time.perf_counter()
    assert result.added + result.already_there == ROWS, result
    return {
        "read": read - started,
        "check": checked - read,
        "compare": compared - checked,
        "import": done - compared,
        "all": done - started,
        "added": result.added,
    }


def main() -> None:
    """Import into a fresh server, then the same again, then others from Excel; the last line is JSON."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "bench")
        server.start()
        try:
            url = provision(server, ("northeast",)).sites["northeast"]
            headings = (*HEADINGS, "charges")
            first = write_csv(headings, patients(seed=1))
            print(
                "CSV, 100,000 new patients", _line(seconds := seconds_of_import(url, first, "patients.csv"))
            )
            again = seconds_of_import(url, first, "patients.csv")
            print("CSV, the same file again ", _line(again))
            excel = write_excel(headings, patients(seed=2), sheet="Patients")
            print(
                "Excel, 100,000 more      ", _line(of_excel := seconds_of_import(url, excel, "patients.xlsx"))
            )
            with sessions_for(url)() as site:
                assert site.scalar(select(func.count()).select_from(Patient)) == 2 * ROWS
        finally:
            server.erase()
    figures = {
        "rows": ROWS,
        "seconds": round(seconds["all"], 2),
        "seconds_again": round(again["all"], 2),
        "seconds_excel": round(of_excel["all"], 2),
    }
    print(json.dumps(figures))


def _line(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {value:.1f} s" for step, value in seconds.items() if step != "added")


if __name__ == "__main__":
    main()
