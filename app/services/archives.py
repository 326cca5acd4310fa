"""Files of rows that were deleted for their age, compressed, with a manifest; a patient can be taken out of them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from app.settings import get_settings
from db.private_files import write_private

MANIFEST = "manifest.json"


def archive_root(owner: str) -> Path:
    """Return where archives of the consortium (`central`) or of an institution, by code, lie."""
    settings = get_settings()
    return (settings.archive_dir or settings.data_dir / "archive") / owner


class Archive:
    """One folder that a job fills; nothing may be deleted before `keep` has returned."""

    def __init__(self, owner: str, job: int) -> None:
        self.folder = archive_root(owner) / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}-job-{job}"
        self._rows: dict[str, int] = {}

    def keep(self, kind: str, lines: Iterable[str]) -> None:
        """Append rows, each a JSON text; they are on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{kind}.jsonl.gz"
        # A file of several compressed parts is one compressed file.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            content = "".join(f"{line}\n" for line in lines)
            file.write(gzip.compress(content.encode()))
            file.flush()
            os.fsync(file.fileno())
        self._rows[kind] = self._rows.get(kind, 0) + content.count("\n")

    def finish(self) -> str | None:
        """Write the manifest; return the folder, None if nothing was kept."""
        if not self._rows:
            return None
        _write_manifest(self.folder, self._rows)
        return str(self.folder)


def forget(owner: str, patient_id: uuid.UUID) -> int:
    """Take a patient out of every archive of an institution; returns how many rows that were."""
    wanted, found = str(patient_id), 0
    for path in sorted(archive_root(owner).glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            all_lines = list(lines)
        kept = [line for line in all_lines if wanted not in line]
        if len(kept) == len(all_lines):
            continue
        found += len(all_lines) - len(kept)
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(gzip.compress("".join(kept).encode()))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        manifest = path.parent / MANIFEST
        if manifest.exists():
            rows = {name: facts["rows"] for name, facts in json.loads(manifest.read_text())["files"].items()}
            _write_manifest(path.parent, {**rows, path.name.removesuffix(".jsonl.gz"): len(kept)})
    return found


def _write_manifest(folder: Path, rows: dict[str, int]) -> None:
    files = {
        kind: {
            "rows": count,
            "sha256": hashlib.sha256((folder / f"{kind}.jsonl.gz").read_bytes()).hexdigest(),
        }
        for kind, count in rows.items()
    }
    write_private(folder / MANIFEST, json.dumps({"files": files}, indent=2))
