"""The log of the web process: lines of ours, of uvicorn and of Streamlit through one formatter."""

from __future__ import annotations

import logging

from streamlit import config
from streamlit import logger as streamlit_logger

from app.log_privacy import reference_of
from app.request_id import current_request_id
from db.logs import configure_logs, take_over_handlers


def configure_web_log() -> None:
    """Take over every logger of this process, also those that Streamlit makes later."""
    # Else Streamlit prints exceptions past every logger, and their texts may quote a patient's row.
    config.set_option("logger.enableRich", False)
    streamlit_logger.setup_formatter = _hand_on
    configure_logs("web", context=_request)
    # One line a request is written by `app.request_log`; this one would repeat it, with the query.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_NotTwice())
    take_over_handlers()


def _request() -> dict[str, str]:
    request_id = current_request_id()
    return {} if request_id is None else {"request_id": request_id}


class _NotTwice(logging.Filter):
    """Drops what uvicorn says of an exception that a page or route has answered and logged with a reference."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return error is None or reference_of(error) is None


def _hand_on(logger: logging.Logger) -> None:
    """Stand in for what gives each of Streamlit's loggers a handler of its own."""
    logger.handlers.clear()
    logger.propagate = True
