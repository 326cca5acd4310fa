"""The list of people as a table; a row opens the person."""

from __future__ import annotations

from collections.abc import Sequence

from app.components.browser import browser_zone
from app.components.row_table import Column, Row, show_row_table
from app.components.worker_words import WHOLE, role_words, standing
from app.services.worker_list import WorkerView

_BEFORE = [Column("Name"), Column("E-mail"), Column("Role")]
_INSTITUTION = Column("Hospital")
_STANDING = Column("State")


def show_workers(workers: Sequence[WorkerView], *, key: str, with_institution: bool) -> int | None:
    """Show a page of people; returns the id of the one whom the reader just opened.

    Parameters
    ----------
    with_institution
        Whether they may be of several institutions.
    """
    zone = browser_zone()
    opened = show_row_table(
        [*_BEFORE, *([_INSTITUTION] if with_institution else []), _STANDING],
        [
            Row(
                id=str(worker.id),
                href="workers",
                cells=[
                    worker.name,
                    worker.email,
                    role_words(worker),
                    *([worker.institution_name or WHOLE] if with_institution else []),
                    standing(worker, zone),
                ],
                unknown=[],
            )
            for worker in workers
        ],
        key=key,
        caption="People; a name opens the person",
        page=str(workers[0].id) if workers else "",
    )
    return None if opened is None else int(opened)
