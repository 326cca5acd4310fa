"""Imports streamlit-authenticator without the warnings that it causes outside of a page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_COMPLAIN_OUTSIDE_OF_PAGES = (
    "streamlit.runtime.caching.cache_data_api",
    "streamlit.runtime.scriptrunner_utils.script_run_context",
)


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _COMPLAIN_OUTSIDE_OF_PAGES]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


with _quiet():  # its cookie component, which we never show, registers itself at import
    from streamlit_authenticator import Authenticate, Hasher
    from streamlit_authenticator.controllers import AuthenticationController

__all__ = ["Authenticate", "AuthenticationController", "Hasher"]
