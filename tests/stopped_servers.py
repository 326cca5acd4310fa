"""Servers that are made once and copied, for tests that stop or restart one of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from db.embedded import EmbeddedPostgres
from db.provision import DatabaseUrls, provision
from tests.open_folders import an_open_folder


@dataclass(frozen=True)
class StoppedServer:
    """A server that was made once, to be copied: making one takes five times as long.

    Attributes
    ----------
    urls
        Of a consortium of two on it, as they were while it ran.
    """

    data_dir: Path
    urls: DatabaseUrls | None

    def copied_to(self, data_dir: Path) -> EmbeddedPostgres:
        """Return a server with the same roles and databases, not started yet."""
        subprocess.run(["cp", "-a", self.data_dir, data_dir], check=True)
        (data_dir / "postgres" / "port").unlink()
        return EmbeddedPostgres(data_dir)

    def urls_on(self, port: int) -> DatabaseUrls:
        """Return the URLs of a copy that listens on another port."""
        assert self.urls is not None

        def moved(url: str) -> str:
            return make_url(url).set(port=port).render_as_string(hide_password=False)

        def all_moved(urls: dict[str, str]) -> dict[str, str]:
            return {code: moved(url) for code, url in urls.items()}

        return DatabaseUrls(
            central=moved(self.urls.central),
            sites=all_moved(self.urls.sites),
            app_central=moved(self.urls.app_central),
            app_sites=all_moved(self.urls.app_sites),
            train_sites=all_moved(self.urls.train_sites),
            central_of_sites=all_moved(self.urls.central_of_sites),
        )


@contextmanager
def stopped_server(*institution_codes: str) -> Iterator[StoppedServer]:
    """Make one, with the databases of a consortium of these institutions, if any, and delete it afterwards."""
    with an_open_folder() as folder:
        server = EmbeddedPostgres(folder / "data")
        server.start()
        urls = provision(server, institution_codes) if institution_codes else None
        server.stop()
        yield StoppedServer(server.data_dir, urls)
