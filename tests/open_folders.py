"""Folders for servers of the tests' own, whichever user these run as."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.log_search import SPOKEN, logs_below

MEMORY_WANTED = 4_000_000_000  # bytes


def quick_folder() -> Path:
    """Return where files are made fast: a database has three hundred of them, so memory serves if there is enough."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_WANTED
    return memory if roomy else Path(tempfile.gettempdir())


@contextmanager
def an_open_folder() -> Iterator[Path]:
    """Give a fresh folder that every user may enter, and read the logs in it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="fedcost-test-", dir=quick_folder()))
    folder.chmod(0o755)
    yield folder
    found = SPOKEN.found_in(logs_below(folder))
    shutil.rmtree(folder)
    assert not found, "\n".join(found)
