"""Backs every database up with pg_dump: `make backup`; `make restore FROM=folder` is `app.restore`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.launch_options import LaunchRefused, read_options
from app.services.audit_chain import chain_head
from app.services.backups import record_backup
from app.services.erasure import tombstones
from app.version import VERSION
from db.backup_files import BackupFailed, dump, sha256_of
from db.embedded import EmbeddedPostgres
from db.private_files import write_private
from db.provision import CENTRAL

MANIFEST = "manifest.json"
KEEP = 7
_PARTIAL = ".partial"


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Make one backup; returns 0 if it is complete, 1 if it failed, 2 if it could not be begun."""
    try:
        urls = owner_urls(environment)
        keep = kept(environment)
    except LaunchRefused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    try:
        folder = make_backup(urls, backup_folder(environment), keep=keep)
    except (BackupFailed, OSError, SQLAlchemyError) as error:
        print(f"The backup failed and nothing of it was kept: {_words(error)}", file=sys.stderr)
        return 1
    print(f"Backed up {', '.join(urls)} to {folder}")
    print("It holds patients: keep it where the databases themselves may be kept.")
    return 0


def make_backup(urls: Mapping[str, str], root: Path, *, keep: int = KEEP) -> Path:
    """Dump every database into a new folder of `root`, whole or not at all, and delete all but the last `keep`.

    Parameters
    ----------
    urls
        `central` and institution codes -> URL of the owner or of the server's administrator.

    Raises
    ------
    BackupFailed
        If a database could not be dumped; that is on record where the central database answers.
    """
    begun = datetime.now(UTC)
    final = root / f"{begun:%Y-%m-%dT%H%M%S.%fZ}"
    partial = final.with_name(final.name + _PARTIAL)
    partial.mkdir(parents=True, mode=0o700)
    databases: dict[str, dict[str, Any]] = {}
    try:
        erased = {}
        for name, url in urls.items():
            file = partial / f"{name}.dump"
            dump(url, file)
            file.chmod(0o600)
            databases[name] = {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
            with session_of(url) as session:
                databases[name]["audit_head"] = str(chain_head(session))
                if name != CENTRAL:
                    erased[name] = [_written(vars(one)) for one in tombstones(session)]
        manifest = {
            "made_at": begun.isoformat(),
            "version": VERSION,
            "databases": databases,
            "erased": erased,
        }
        write_private(partial / MANIFEST, json.dumps(manifest, indent=2))
        partial.rename(final)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        _record(urls, begun, str(final), {}, _words(error))
        raise
    _record(urls, begun, str(final), databases, None)
    for outdated in complete_backups(root)[:-keep]:
        shutil.rmtree(outdated)
    return final


def complete_backups(root: Path) -> list[Path]:
    """Return the folders of complete backups, the oldest first."""
    return sorted(
        path.parent for path in root.glob(f"*/{MANIFEST}") if not path.parent.name.endswith(_PARTIAL)
    )


def owner_urls(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `central` and institution codes -> URL by which everything may be read.

    Raises
    ------
    LaunchRefused
        If no database is named and no demonstration runs.
    """
    if named := named_owners(environment):
        return named
    folder = read_options(environment).data_dir
    server = EmbeddedPostgres(folder) if folder.exists() else None
    if server is None or server.pid is None:
        raise LaunchRefused(
            f"Fedcost does not run from {folder}. Start it with make run, or set CENTRAL_OWNER_DATABASE_URL and "
            "SITE_OWNER_DATABASE_URLS to the databases of your installation."
        )
    with session_of(server.url(CENTRAL)) as session:
        codes = (
            session.connection()
            .exec_driver_sql("SELECT code FROM institutions ORDER BY code")
            .scalars()
            .all()
        )
    return {CENTRAL: server.url(CENTRAL), **{code: server.url(f"site_{code}") for code in codes}}


def named_owners(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those that CENTRAL_OWNER_DATABASE_URL and SITE_OWNER_DATABASE_URLS name."""
    central = environment.get("CENTRAL_OWNER_DATABASE_URL")
    sites: dict[str, str] = json.loads(environment.get("SITE_OWNER_DATABASE_URLS") or "{}")
    return {CENTRAL: central, **sites} if central else sites


def backup_folder(environment: Mapping[str, str]) -> Path:
    """Return BACKUP_DIR, or `backups` in the data folder."""
    given = environment.get("BACKUP_DIR")
    return Path(given) if given else read_options(environment).data_dir / "backups"


def kept(environment: Mapping[str, str]) -> int:
    """Return how many backups are kept: BACKUP_KEEP, or seven."""
    given = environment.get("BACKUP_KEEP") or str(KEEP)
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        raise LaunchRefused(f"BACKUP_KEEP={given} is refused: keep at least one backup.")
    return int(given)


@contextmanager
def session_of(url: str) -> Iterator[Session]:
    """Open a session that is not pooled; the caller commits."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), hide_parameters=True)
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


def _record(
    urls: Mapping[str, str],
    begun: datetime,
    folder: str,
    databases: dict[str, dict[str, Any]],
    error: str | None,
) -> None:
    if CENTRAL not in urls:
        return
    try:
        with session_of(urls[CENTRAL]) as central:
            record_backup(central=central, started_at=begun, folder=folder, databases=databases, error=error)
            central.commit()
    except SQLAlchemyError as silent:
        print(f"The backup could not be put on record ({type(silent).__name__}).", file=sys.stderr)


def _written(tombstone: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **tombstone,
        "patient_id": str(tombstone["patient_id"]),
        "erased_at": tombstone["erased_at"].isoformat(),
    }


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, BackupFailed | OSError) else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
