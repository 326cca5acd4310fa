"""URLs of Site databases that were made since the processes of this machine started, in a file of their data folder.

The web process writes it when an institution is added. It and the supervisor read it again when it changed, each the
URLs of its own role: the web process that of the application, the supervisor that of training.
"""

from __future__ import annotations

import fcntl
import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

from db.private_files import write_private

FILE = "site-databases.json"

Use = Literal["app", "train"]


class SiteUrlFile:
    """SQLAlchemy URLs by institution code and role, beside those that a process was started with."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._seen: tuple[int, int] | None = None
        self._urls: dict[str, dict[Use, str]] = {}

    def read(self, use: Use) -> dict[str, str]:
        """Return institution code -> URL as the file holds them now; none if there is no file."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            self._seen, self._urls = None, {}
            return {}
        if (seen := (state.st_mtime_ns, state.st_ino)) != self._seen:
            self._seen, self._urls = seen, json.loads(self._path.read_text())
        return {code: urls[use] for code, urls in self._urls.items()}

    def add(self, code: str, *, app: str, train: str) -> None:
        """Keep the URLs of one more institution; one process at a time."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = json.loads(self._path.read_text()) if self._path.exists() else {}
            write_private(self._path, json.dumps({**kept, code: {"app": app, "train": train}}, indent=2))

    def clear(self) -> None:
        """Forget all: whoever starts now is given every URL."""
        self._path.unlink(missing_ok=True)


@lru_cache(maxsize=16)
def site_url_file(data_dir: Path) -> SiteUrlFile:
    """Return this process's reader of the file in `data_dir`."""
    return SiteUrlFile(data_dir)
