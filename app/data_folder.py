"""The folder of one demonstration: who uses it now, its secrets, and deleting it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.launch_options import LaunchOptions, LaunchRefused
from db.embedded import EmbeddedPostgres
from db.private_files import write_private

LOCK = "launcher.lock"
SECRETS = "web-secrets.json"


@contextmanager
def claimed(options: LaunchOptions) -> Iterator[None]:
    """Keep a second start out for as long as this one lasts; a killed one loses its claim.

    Raises
    ------
    LaunchRefused
        If the folder is in use; the message says where.
    """
    options.data_dir.mkdir(parents=True, exist_ok=True)
    with (options.data_dir / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise LaunchRefused(f"Fedcost already runs from this folder: {lock.read().strip()}.") from None
        lock.truncate(0)
        lock.write(f"{options.address} (process {os.getpid()})")
        lock.flush()
        yield


def web_secrets(data_dir: Path) -> dict[str, str]:
    """Return the keys that sign tokens and cookies, made at the first start; only the owner may read them."""
    path = data_dir / SECRETS
    if not path.exists():
        keys = ("JWT_SECRET", "STREAMLIT_SERVER_COOKIE_SECRET")
        write_private(path, json.dumps({key: secrets.token_urlsafe(48) for key in keys}))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


def erase(options: LaunchOptions) -> None:
    """Delete the databases and everything else that starting has made.

    Raises
    ------
    LaunchRefused
        If the folder is in use, or was not made by a start.
    """
    if not options.data_dir.exists():
        return
    if not (options.data_dir / LOCK).exists():
        raise LaunchRefused(f"{options.data_dir} was not made by make run; it is left alone.")
    with claimed(options):
        EmbeddedPostgres(options.data_dir).erase()
        shutil.rmtree(options.data_dir)
