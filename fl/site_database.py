"""A Site's own database, which a Round outlasts being restarted."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.engines import sessions_for
from fl.transactions import transact

PATIENCE_SECONDS = 8.0  # a restarted PostgreSQL answers within a few; a Round may last longer

Result = TypeVar("Result")
_away: set[str] = set()


def own_database_url() -> str:
    """Return the URL of the database of this process's Site."""
    return os.environ["SITE_DATABASE_URL"]


def at_site(work: Callable[[Session], Result], database_url: str | None = None) -> Result:
    """Do `work` in one transaction; a database that does not answer is waited for, but not again and again.

    Parameters
    ----------
    work
        May be done twice.
    database_url
        This Site's own if None.

    Raises
    ------
    DBAPIError
        If the database stays away. The next question is then not waited for, until one is answered.
    """
    url = database_url or own_database_url()
    try:
        result = transact(sessions_for(url), work, 0.0 if url in _away else PATIENCE_SECONDS)
    except DBAPIError:
        _away.add(url)
        raise
    _away.discard(url)
    return result
