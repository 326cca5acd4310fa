"""What a mistake of ours leaves behind: a reference for the person, class and stack for the log, never its text."""

from __future__ import annotations

import logging
import secrets

from app.measures import fault_seen
from app.request_id import current_request_id
from db.logs import described

_REFERENCE = "fedcost_reference"  # attribute of an exception that is in the log already


def log_fault(logger: logging.Logger, error: BaseException, *, at: str) -> str:
    """Log a mistake of ours, and return the reference under which a person can report it.

    An exception that passes through several hands is logged once. Its text is left out here and not only by the
    formatter: a database error quotes the row.
    """
    known = reference_of(error)
    if known is not None:
        return known
    reference = secrets.token_hex(4)
    setattr(error, _REFERENCE, reference)
    fault = described(error)
    fault_seen(reference=reference, place=at, kind=fault["class"], request_id=current_request_id())
    logger.error(
        "reference %s, at %s: %s",
        reference,
        at,
        fault["class"],
        extra={"reference": reference, "at": at, "exception": fault},
    )
    return reference


def reference_of(error: BaseException) -> str | None:
    """Return the reference of an exception that was logged before."""
    found = getattr(error, _REFERENCE, None)
    return found if isinstance(found, str) else None
