"""What the web server's log must not say: queries, which hold patients' names, and the texts of exceptions."""

from __future__ import annotations

import logging
import secrets
import traceback

_NOT_WORTH_A_LINE = ("/static/", "/_stcore/", "/api/health")
_ACCESS_LOGGER = "uvicorn.access"
_EXCEPTION_LOGGERS = ("uvicorn.error", "streamlit.error_util")


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


class WithoutExceptionText(logging.Filter):
    """Keeps of an exception its class and where it came from; a database's text quotes the row."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the exception's own rendering."""
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage().strip()}: {where_from(record.exc_info[1])}"
            record.args = ()
            record.exc_info = None
            record.exc_text = None
        return True


def where_from(error: BaseException) -> str:
    """Return an exception's class and stack, without its text."""
    stack = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__}\n{stack}"


def log_fault(logger: logging.Logger, error: BaseException, *, at: str) -> str:
    """Log a mistake of ours, and return the reference under which a person can report it."""
    reference = secrets.token_hex(4)
    logger.error("reference %s, at %s: %s", reference, at, where_from(error))
    return reference


def keep_patients_out_of_the_log() -> None:
    """Put the filters on uvicorn's and Streamlit's loggers; once uvicorn has set its logging up."""
    _add_once(logging.getLogger(_ACCESS_LOGGER), PathOnly())
    for name in _EXCEPTION_LOGGERS:
        _add_once(logging.getLogger(name), WithoutExceptionText())


def _add_once(logger: logging.Logger, wanted: logging.Filter) -> None:
    if not any(type(existing) is type(wanted) for existing in logger.filters):
        logger.addFilter(wanted)
