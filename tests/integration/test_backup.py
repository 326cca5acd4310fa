"""A restored backup has every row, a chain that verifies, and predicts the same; erased people stay erased."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from app.backup import MANIFEST, complete_backups, main, make_backup, session_of
from app.databases import central_session, site_session
from app.housekeeping import seal_trails
from app.launch_options import LaunchRefused
from app.restore import read_manifest, restore_all, restore_into
from app.services import erasure, models, patient_records, predictions
from app.services.audit_chain import verify_and_record
from app.services.backups import last_backup
from db.backup_files import BackupFailed
from db.embedded import EmbeddedPostgres
from db.provision import DatabaseUrls
from tests.integration.conftest import Consortium
from tests.kept_databases import WORKER

PREFIX = f"restored_{WORKER}_"
FEATURES = {"age": 61, "sex": "female", "bmi": 41.2, "children": 1, "smoker": "yes", "region": "southwest"}


@pytest.fixture
def urls(databases: DatabaseUrls) -> dict[str, str]:
    """Central and site databases by their owners."""
    return {"central": databases.central, **databases.sites}


@pytest.fixture
def restored(postgres_server: EmbeddedPostgres) -> Iterator[Callable[[str], str]]:
    """Give the URL of a restored database, and drop all of them afterwards."""
    yield lambda name: postgres_server.url(f"{PREFIX}{'central' if name == 'central' else f'site_{name}'}")
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as superuser:
        names = superuser.scalars(
            text(f"SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}%'")
        ).all()
        for name in names:
            superuser.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    engine.dispose()


def _counts(url: str) -> dict[str, int]:
    with session_of(url) as session:
        tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        return {table: session.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables}


def _work(consortium: Consortium) -> Any:
    """Leave something in both databases; return the patient."""
    doctor = consortium.actors["doctor"]
    with site_session(doctor) as site:
        patient = patient_records.add_patient(
            site=site, actor=doctor, first_name="Quirina", last_name="Zuckmayer", inputs=FEATURES
        )
    with site_session(doctor) as site, central_session() as central:
        predictions.predict_and_save(
            central=central, site=site, actor=doctor, inputs=FEATURES, patient_id=patient.id
        )
    seal_trails(set())
    return patient.id


def test_a_restored_backup_has_every_row_and_predicts_the_same(
    consortium: Consortium,
    add_model: Callable[..., Any],
    urls: dict[str, str],
    restored: Callable[[str], str],
    postgres_server: EmbeddedPostgres,
    tmp_path: Path,
) -> None:
    add_model()
    patient = _work(consortium)
    doctor = consortium.actors["doctor"]
    before = {name: _counts(url) for name, url in urls.items()}
    with central_session() as central:
        cost = predictions.predict(central=central, actor=doctor, inputs=FEATURES).predicted_cost

    folder = make_backup(urls, tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    with central_session() as central:
        backup = last_backup(central=central)
        assert backup is not None
        assert (backup.status, backup.folder, set(backup.databases)) == ("completed", str(folder), set(urls))
        assert backup.bytes == sum(path.stat().st_size for path in folder.glob("*.dump"))
    manifest = read_manifest(folder)

    # Erased after the backup, known to the next one only.
    with site_session(doctor) as site:
        erasure.erase_patient(site=site, actor=doctor, patient_id=patient, confirmed_id=patient)
    make_backup({"northeast": urls["northeast"]}, tmp_path)

    said = list(restore_all(postgres_server, folder, manifest, prefix=PREFIX))
    assert "northeast is restored; 1 erased again." in said
    after = {name: _counts(restored(name)) for name in urls}
    for table, change in (
        *(("patients", -1), ("patient_changes", -1), ("predictions", -1)),
        *(("erasures", 1), ("access_events", 1), ("audit_unsealed", 1)),
    ):
        before["northeast"][table] += change
    assert after == before
    for name in urls:
        with session_of(restored(name)) as session:
            head = verify_and_record(session, "central" if name == "central" else "site")
        assert str(head) == manifest["databases"][name]["audit_head"]
    with session_of(restored("central")) as central:
        loaded = models.champion(central=central)
        assert predictions.predict_with(loaded, FEATURES).predicted_cost == cost

    with pytest.raises(LaunchRefused, match="Nothing was restored"):
        list(restore_all(postgres_server, folder, manifest, prefix=PREFIX))
    said = list(restore_all(postgres_server, folder, manifest, prefix=PREFIX, overwrite=True))
    assert "kept as" in said[-1]
    # What was erased in the database that was overwritten stays erased, without any later backup.
    assert "northeast is restored; 1 erased again." in said


def test_a_restore_into_ones_own_server_wants_empty_databases(
    consortium: Consortium,
    urls: dict[str, str],
    restored: Callable[[str], str],
    postgres_server: EmbeddedPostgres,
    tmp_path: Path,
) -> None:
    folder = make_backup(urls, tmp_path)
    manifest = read_manifest(folder)
    with pytest.raises(LaunchRefused, match="has tables"):
        list(restore_into(urls, folder, manifest))
    with pytest.raises(LaunchRefused, match="does not name the owner of the database of central"):
        list(restore_into({}, folder, manifest))
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    empty = {}
    with engine.connect() as superuser:
        for name, url in urls.items():
            owner = make_url(url)
            superuser.exec_driver_sql(f"CREATE DATABASE {PREFIX}{name} OWNER {owner.username}")
            empty[name] = owner.set(
                database=f"{PREFIX}{name}",
                username="postgres",
                password=make_url(postgres_server.url()).password,
            ).render_as_string(hide_password=False)
    engine.dispose()
    list(restore_into(empty, folder, manifest))
    assert {name: _counts(url) for name, url in empty.items()} == {
        name: {
            **_counts(url),
            # That the backup was made is on record after it.
            **({"backups": 0, "audit_events": 0, "audit_unsealed": 0} if name == "central" else {}),
        }
        for name, url in urls.items()
    }


def test_a_file_that_was_changed_is_not_restored(urls: dict[str, str], tmp_path: Path) -> None:
    folder = make_backup({"northeast": urls["northeast"]}, tmp_path)
    with (folder / "northeast.dump").open("ab") as file:
        file.write(b"x")
    with pytest.raises(LaunchRefused, match="not the one that was backed up"):
        read_manifest(folder)
    with pytest.raises(LaunchRefused, match="is no backup"):
        read_manifest(tmp_path)


def test_only_the_last_backups_are_kept(
    urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2, 3):
        old = tmp_path / f"2020-01-0{day}T000000Z"
        old.mkdir()
        (old / MANIFEST).write_text("{}")
    made = make_backup({"northeast": urls["northeast"]}, tmp_path, keep=2)
    assert complete_backups(tmp_path) == [tmp_path / "2020-01-03T000000Z", made]


def test_a_backup_that_fails_leaves_no_folder_and_is_on_record(
    consortium: Consortium, urls: dict[str, str], tmp_path: Path
) -> None:
    gone = make_url(urls["northeast"]).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(BackupFailed, match="nowhere"):
        make_backup({**urls, "northeast": gone}, tmp_path)
    assert list(tmp_path.glob("20*")) == []
    with central_session() as central:
        backup = last_backup(central=central)
        assert backup is not None
        assert backup.status == "failed"
        assert "nowhere" in (backup.error or "")


def test_the_command_backs_up_what_the_environment_names(
    consortium: Consortium, urls: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = {code: url for code, url in urls.items() if code != "central"}
    environment = {
        "CENTRAL_OWNER_DATABASE_URL": urls["central"],
        "SITE_OWNER_DATABASE_URLS": json.dumps(sites),
        "BACKUP_DIR": str(tmp_path / "kept"),
        "BACKUP_KEEP": "1",
    }
    assert main(environment) == 0
    [folder] = complete_backups(tmp_path / "kept")
    said = capsys.readouterr().out
    assert str(folder) in said
    for url in urls.values():
        password = str(make_url(url).password)
        assert password not in said
        assert password not in (folder / MANIFEST).read_text()
    assert main({**environment, "BACKUP_KEEP": "0"}) == 2
    assert main({"DATA_DIR": str(tmp_path / "nothing"), "PATH": os.defpath}) == 2
