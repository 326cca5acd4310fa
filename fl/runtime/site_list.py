"""Which institutions' SuperNodes run on this machine: the active ones whose database it knows."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.central import Institution
from db.site_urls import site_url_file
from fl.runtime.environment import SupervisorEnvironment


class SiteList:
    """Follows the central database and the data folder's file of Site databases."""

    def __init__(self, environment: SupervisorEnvironment, sessions: sessionmaker[Session]) -> None:
        self._environment = environment
        self._sessions = sessions

    def read(self) -> dict[str, str]:
        """Return institution code -> URL of its database, of every SuperNode that is to run now."""
        added = site_url_file(self._environment.data_dir).read("train")
        urls = {**added, **self._environment.site_train_database_urls}
        with self._sessions() as session:
            active = set(session.scalars(select(Institution.code).where(Institution.is_active)))
        return {code: url for code, url in urls.items() if code in active}
