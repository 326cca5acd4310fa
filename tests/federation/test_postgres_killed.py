"""PostgreSQL is killed in the middle of a Run."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from bench.consortium import Consortium
from db.central import RunStatus
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from tests.federation.conftest import consortium_databases


def test_a_killed_postgres_loses_nothing_and_leaves_no_run_running() -> None:
    folder = Path(tempfile.mkdtemp())
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    try:
        urls = consortium_databases(server)
        with Consortium(urls, folder / "federation") as consortium:
            consortium.wait_until_up()
            first = consortium.request_run(num_rounds=1)
            assert consortium.wait_until_ended(first).status == RunStatus.COMPLETED
            second = consortium.request_run(num_rounds=40)
            consortium.wait_for(second, RunStatus.TRAINING, round_number=2)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            time.sleep(1)
            for url in (urls.central, *urls.sites.values()):
                engine_for(url).dispose()
            server.start()
            run = consortium.wait_until_ended(second, timeout=60)
            if run.status == RunStatus.FAILED:
                assert "start the Run again" in str(run.error)
            version = consortium.version(first)
            assert version is not None and version.status == "champion"
            third = consortium.request_run(num_rounds=1)
            assert consortium.wait_until_ended(third).status == RunStatus.COMPLETED
        for url in (urls.central, *urls.sites.values()):
            engine_for(url).dispose()
    finally:
        server.erase()
        shutil.rmtree(folder, ignore_errors=True)
