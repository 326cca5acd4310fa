"""Restores a backup into fresh databases: `make restore FROM=folder`; whoever was erased since is erased again."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.backup import MANIFEST, complete_backups, named_owners, session_of
from app.launch_options import LaunchRefused, read_options
from app.services.erasure import Tombstone, erase_again, tombstones
from db.backup_files import BackupFailed, restore, sha256_of
from db.embedded import EmbeddedPostgres
from db.migrate import migrate_central, migrate_site
from db.provision import CENTRAL, provision
from db.role_making import make_database, quoted

_EXISTS = text("SELECT 1 FROM pg_database WHERE datname = :name")


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Restore FROM; returns 0 if every database is there, 1 if one failed, 2 if nothing was begun."""
    folder = Path(environment.get("FROM") or "")
    overwrite = environment.get("OVERWRITE") == "yes"
    try:
        manifest = read_manifest(folder)
        if given := named_owners(environment):
            _say(restore_into(given, folder, manifest))
            return 0
        server = _server(environment)
        began_here = server.pid is None
        server.start()
        try:
            _say(restore_all(server, folder, manifest, overwrite=overwrite))
        finally:
            if began_here:
                server.stop()
    except LaunchRefused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except (BackupFailed, SQLAlchemyError) as error:
        print(
            f"The restore failed: {error if isinstance(error, BackupFailed) else type(error).__name__}",
            file=sys.stderr,
        )
        return 1
    return 0


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a backup says of itself, once every file has the hash that it says.

    Raises
    ------
    LaunchRefused
        If it is no complete backup, or a file was changed.
    """
    if not (folder / MANIFEST).exists():
        raise LaunchRefused(
            f"{folder} is no backup: name its folder, make restore FROM=.data/backups/2026-01-31T030000Z"
        )
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    for name, facts in manifest["databases"].items():
        file = folder / facts["file"]
        if not file.exists() or sha256_of(file) != facts["sha256"]:
            raise LaunchRefused(
                f"The file of {name} is missing or not the one that was backed up. Nothing was restored."
            )
    return manifest


def restore_all(
    server: EmbeddedPostgres,
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    overwrite: bool = False,
    prefix: str = "",
) -> Iterable[str]:
    """Restore every database of a backup, and yield a sentence for each.

    A database that exists is not overwritten unless `overwrite` is said, and then it is kept under another name.

    Raises
    ------
    LaunchRefused
        If a database exists.
    BackupFailed
        If PostgreSQL refuses the file; the database that was there is kept under its other name.
    """
    names = {
        name: f"{prefix}{CENTRAL if name == CENTRAL else f'site_{name}'}" for name in manifest["databases"]
    }
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as superuser:
            there = [
                name for name, database in names.items() if superuser.scalar(_EXISTS, {"name": database})
            ]
            if there and not overwrite:
                raise LaunchRefused(
                    f"There are databases already ({', '.join(there)}). Nothing was restored. With OVERWRITE=yes they "
                    "are renamed and kept, and the backup takes their place; end Fedcost before."
                )
            erased = _erased_since(folder, {name: server.url(names[name]) for name in there})
            aside = f"_before_{datetime.now(UTC):%Y%m%d%H%M%S}"
            for name in there:
                _set_aside(superuser, names[name], aside)
            owners = provision(server, [name for name in names if name != CENTRAL], prefix=prefix)
            for name, database in names.items():
                owner = owners.central if name == CENTRAL else owners.sites[name]
                superuser.exec_driver_sql(f"DROP DATABASE {quoted(superuser, database)} WITH (FORCE)")
                make_database(superuser, database, database)
                file = folder / manifest["databases"][name]["file"]
                yield _restored(name, owner, file, erased.get(name, []))
    finally:
        engine.dispose()
    if there:
        yield f"What was there before is kept as …{aside}; drop it when you no longer need it."


def restore_into(owners: Mapping[str, str], folder: Path, manifest: Mapping[str, Any]) -> Iterable[str]:
    """Restore into the empty databases of one's own server, by the URLs of their owners; yield a sentence for each.

    Raises
    ------
    LaunchRefused
        If the environment does not name each database of the backup, or one of them has tables.
    BackupFailed
        If PostgreSQL refuses a file.
    """
    missing = [name for name in manifest["databases"] if name not in owners]
    if missing:
        raise LaunchRefused(
            f"The environment does not name the owner of the database of {', '.join(missing)}."
        )
    for name in manifest["databases"]:
        with session_of(owners[name]) as session:
            if session.scalar(text("SELECT 1 FROM pg_tables WHERE schemaname = 'public' LIMIT 1")):
                raise LaunchRefused(
                    f"The database of {name} has tables. Restore into a new one; nothing was restored."
                )
    erased = _erased_since(folder, {})
    for name, facts in manifest["databases"].items():
        yield _restored(name, owners[name], folder / facts["file"], erased.get(name, []))


def _restored(name: str, owner: str, file: Path, erased: Iterable[Tombstone]) -> str:
    restore(owner, file)
    (migrate_central if name == CENTRAL else migrate_site)(owner)
    if name == CENTRAL:
        return f"{name} is restored."
    with session_of(owner) as site:
        again = erase_again(site, erased)
        site.commit()
    return f"{name} is restored" + (f"; {again} erased again." if again else ".")


def _erased_since(folder: Path, there: Mapping[str, str]) -> dict[str, list[Tombstone]]:
    """Return whom every backup beside this one, and the databases that are `there`, know as erased."""
    found: dict[str, dict[uuid.UUID, Tombstone]] = {}
    for other in complete_backups(folder.parent):
        for name, rows in json.loads((other / MANIFEST).read_text())["erased"].items():
            found.setdefault(name, {}).update({one.patient_id: one for one in map(_tombstone, rows)})
    for name, url in there.items():
        if name == CENTRAL:
            continue
        try:
            with session_of(url) as site:
                found.setdefault(name, {}).update({one.patient_id: one for one in tombstones(site)})
        except SQLAlchemyError:
            continue  # what is there is no database of ours any more; the backups have said what they know
    return {name: list(by_id.values()) for name, by_id in found.items()}


def _tombstone(row: Mapping[str, Any]) -> Tombstone:
    return Tombstone(
        uuid.UUID(row["patient_id"]),
        datetime.fromisoformat(row["erased_at"]),
        row["worker_id"],
        row["worker_name"],
    )


def _set_aside(superuser: Connection, database: str, suffix: str) -> None:
    query = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
    )
    superuser.execute(query, {"name": database})
    old, new = quoted(superuser, database), quoted(superuser, f"{database}{suffix}"[:63])
    superuser.exec_driver_sql(f"ALTER DATABASE {old} RENAME TO {new}")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _server(environment: Mapping[str, str]) -> EmbeddedPostgres:
    folder = read_options(environment).data_dir
    folder.mkdir(parents=True, exist_ok=True)
    return EmbeddedPostgres(folder)


if __name__ == "__main__":
    sys.exit(main())
