"""The demonstration consortium: the same each time, by region when a file is given, all or nothing."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from app.auth.passwords import check_password
from app.demo import BadDemoFile, OtherDataLoaded, demo_accounts, seed_demo
from app.settings import DEMO_PASSWORD
from db.central import Institution, MedicalWorker
from db.embedded import EmbeddedPostgres
from db.engines import sessions_for
from db.provision import DatabaseUrls, provision
from db.site import Patient

HEADER = "age,sex,bmi,children,smoker,region,charges\n"
GOOD = (
    "19,female,27.9,0,yes,southwest,16884.924\n"
    "33,male,22.705,0,no,northwest,21984.47061\n"
    "62,female,26.29,0,yes,southeast,27808.7251\n"
    "37,male,29.83,2,no,northeast,\n"
)
BAD = "150,male,27,0,no,northeast,100\n40,male,27,0,perhaps,northeast,100\n40,male,27,0,no,centre,100\n"


def _patients(urls: DatabaseUrls) -> dict[str, list[Patient]]:
    patients = {}
    for code, url in urls.sites.items():
        with sessions_for(url)() as site:
            patients[code] = list(site.scalars(select(Patient).order_by(Patient.id)))
    return patients


def _values(patients: dict[str, list[Patient]]) -> list[tuple[object, ...]]:
    return [
        (patient.id, patient.last_name, patient.first_name, patient.bmi, patient.insurance_cost)
        for code in sorted(patients)
        for patient in patients[code]
    ]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text(HEADER + GOOD)
    return path


def test_four_hospitals_with_334_patients_each_of_their_own_region(demo_databases: DatabaseUrls) -> None:
    for code, patients in _patients(demo_databases).items():
        assert len(patients) == 334
        assert {patient.region for patient in patients} == {code}
        unknown = sum(patient.insurance_cost is None for patient in patients)
        assert 20 <= unknown <= 50, "about a tenth have no known cost"
        assert len({(patient.first_name, patient.last_name) for patient in patients}) > 200


def test_everybody_can_sign_in_with_the_demo_password(demo_databases: DatabaseUrls) -> None:
    with sessions_for(demo_databases.central)() as central:
        workers = {worker.email: worker for worker in central.scalars(select(MedicalWorker))}
        codes = {institution.id: institution.code for institution in central.scalars(select(Institution))}
    assert set(workers) == {email for email, _, _ in demo_accounts()}
    assert Counter(worker.role for worker in workers.values()) == {
        "admin": 1,
        "data_scientist": 1,
        "doctor": 4,
        "nurse": 4,
        "institution_admin": 4,
    }
    for code in ("northeast", "northwest", "southeast", "southwest"):
        for local in ("doctor", "nurse", "manager"):
            worker = workers[f"{local}@{code}.demo.local"]
            assert worker.institution_id is not None
            assert codes[worker.institution_id] == code
    assert check_password(DEMO_PASSWORD, workers["admin@demo.local"].password_hash)


def test_seeding_again_changes_nothing(demo_databases: DatabaseUrls) -> None:
    before = _values(_patients(demo_databases))
    sentences: list[str] = []
    seed_demo(demo_databases, report=sentences.append)
    assert _values(_patients(demo_databases)) == before
    assert sentences == ["Demonstration data: 334 generated patients in each hospital."]


def test_people_whom_a_newer_version_brings_are_added_to_older_data(demo_databases: DatabaseUrls) -> None:
    with sessions_for(demo_databases.central)() as central, central.begin():
        before = dict(central.execute(select(MedicalWorker.email, MedicalWorker.password_hash)).all())
        central.execute(delete(MedicalWorker).where(MedicalWorker.role == "institution_admin"))
    seed_demo(demo_databases)
    with sessions_for(demo_databases.central)() as central:
        people = central.scalars(select(MedicalWorker)).all()
        assert {worker.email for worker in people} == set(before)
        manager = next(worker for worker in people if worker.email == "manager@southwest.demo.local")
        assert manager.institution is not None and manager.institution.code == "southwest"
        kept = [worker for worker in people if worker.role != "institution_admin"]
        assert all(worker.password_hash == before[worker.email] for worker in kept)


def test_deleted_patients_do_not_come_back_at_the_next_start(demo_databases: DatabaseUrls) -> None:
    with sessions_for(demo_databases.sites["northeast"])() as site:
        for patient in site.scalars(select(Patient)):
            site.delete(patient)
        site.commit()
    seed_demo(demo_databases)
    assert _patients(demo_databases)["northeast"] == []


def test_other_databases_get_the_same_patients(
    demo_databases: DatabaseUrls, postgres_server: EmbeddedPostgres
) -> None:
    """The ids decide which rows are held out, so Runs repeat only if these do."""
    elsewhere = provision(postgres_server, tuple(demo_databases.sites), prefix="elsewhere_")
    seed_demo(elsewhere)
    assert _values(_patients(elsewhere)) == _values(_patients(demo_databases))


def test_a_file_is_split_by_region(databases: DatabaseUrls, csv: Path) -> None:
    seed_demo(databases, csv)
    patients = _patients(databases)
    assert {code: [patient.age for patient in rows] for code, rows in patients.items()} == {
        "northeast": [37],
        "northwest": [33],
        "southeast": [62],
        "southwest": [19],
    }
    assert patients["southwest"][0].insurance_cost == Decimal("16884.92")
    assert patients["northeast"][0].insurance_cost is None
    assert patients["northwest"][0].bmi == Decimal("22.705")
    assert patients["northwest"][0].first_name
    seed_demo(databases, csv)
    assert sum(map(len, _patients(databases).values())) == 4


def test_a_file_with_bad_rows_is_refused_whole_and_every_row_is_named(
    databases: DatabaseUrls, csv: Path
) -> None:
    csv.write_text(HEADER + GOOD + BAD)
    with pytest.raises(BadDemoFile) as refused:
        seed_demo(databases, csv)
    assert [problem.row for problem in refused.value.problems] == [6, 7, 8]
    for expected in ("row 6: Age", "row 7: Smoker", "row 8: Region", "nothing was imported"):
        assert expected in str(refused.value)
    assert not any(_patients(databases).values())
    with sessions_for(databases.central)() as central:
        assert central.scalars(select(Institution)).all() == []


def test_a_file_that_is_not_there_is_named(databases: DatabaseUrls, tmp_path: Path) -> None:
    with pytest.raises(BadDemoFile, match="No such file"):
        seed_demo(databases, tmp_path / "missing.csv")


def test_other_data_are_never_mixed_in(databases: DatabaseUrls, csv: Path) -> None:
    seed_demo(databases)
    before = _values(_patients(databases))
    with pytest.raises(OtherDataLoaded, match=r"already holds 334 generated patients.*make clean"):
        seed_demo(databases, csv)
    assert _values(_patients(databases)) == before


def test_starting_without_a_file_keeps_the_files_patients(databases: DatabaseUrls, csv: Path) -> None:
    seed_demo(databases, csv)
    sentences: list[str] = []
    seed_demo(databases, report=sentences.append)
    assert sentences == ["Demonstration data: 4 patients of patients.csv."]
    assert sum(map(len, _patients(databases).values())) == 4


def test_an_interrupted_load_goes_on_where_it_stopped(
    databases: DatabaseUrls, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import app.demo

    whole = app.demo._from_file

    def interrupted(code: str, *arguments: object) -> list[dict[str, object]]:
        if code == "southeast":
            raise KeyboardInterrupt
        return whole(code, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(app.demo, "_from_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seed_demo(databases, csv)
    assert sum(map(len, _patients(databases).values())) == 2
    monkeypatch.setattr(app.demo, "_from_file", whole)
    with pytest.raises(OtherDataLoaded, match="interrupted"):
        seed_demo(databases)
    seed_demo(databases, csv)
    assert sum(map(len, _patients(databases).values())) == 4
