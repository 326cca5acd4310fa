"""The web server's access log without what a query says: a search for patients is a patient's name."""

from __future__ import annotations

import logging

_NOT_WORTH_A_LINE = ("/static/", "/_stcore/", "/api/health")
ACCESS_LOGGER = "uvicorn.access"


class PathOnly(logging.Filter):
    """Cuts the query off each address, and drops the front end's own files and the health checks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite uvicorn's arguments: client, method, address, HTTP version, status."""
        if not (isinstance(record.args, tuple) and len(record.args) == 5):
            return True
        client, method, address, version, status = record.args
        path = str(address).partition("?")[0]
        record.args = (client, method, path, version, status)
        return not path.startswith(_NOT_WORTH_A_LINE)


def keep_queries_out_of_the_access_log() -> None:
    """Put the filter on uvicorn's access log; once uvicorn has set its logging up."""
    access = logging.getLogger(ACCESS_LOGGER)
    if not any(isinstance(existing, PathOnly) for existing in access.filters):
        access.addFilter(PathOnly())
