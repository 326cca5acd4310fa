"""What a person has come to in an import: the file as read, the columns chosen, and what was found by them.

It stands in the session, so that nothing is read twice, and all is still there after a look at another page.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.actor import Actor
from app.services.import_mapping import FIELDS, guess_mapping
from app.services.imports import ImportCheck, ImportComparison, ImportResult
from app.services.tabular import Table

_FILE, _DONE, _FILES_CHOSEN = "import_file", "import_done", "import_files_chosen"

Chosen = tuple[tuple[str, str | None], ...]  # field and heading, in the order of FIELDS


@dataclass
class FileInWork:
    """A file that was read, and what is known of it so far.

    Attributes
    ----------
    owner
        `Actor.worker_id` of whoever chose it; nobody who signs in afterwards finds it.
    columns
        Heading chosen for each field; None: not in the file.
    check, comparison
        For the columns in `checked_columns`; None until then.
    """

    name: str
    owner: int
    table: Table
    columns: dict[str, str | None]
    checked_columns: Chosen = ()
    check: ImportCheck | None = None
    comparison: ImportComparison | None = None

    def choose(self, columns: dict[str, str | None]) -> None:
        """Take a choice of columns; what was found by another one is forgotten."""
        chosen: Chosen = tuple(columns.items())
        self.columns = columns
        if chosen != self.checked_columns:
            self.checked_columns = chosen
            self.check = self.comparison = None


@dataclass(frozen=True)
class ImportDone:
    """What the last import did, and from which file."""

    file_name: str
    owner: int
    result: ImportResult


def file_in_work(actor: Actor) -> FileInWork | None:
    """Return the file that this person is importing."""
    found: FileInWork | None = st.session_state.get(_FILE)
    return found if found is not None and found.owner == actor.worker_id else None


def take_file(actor: Actor, name: str, table: Table) -> None:
    """Begin with a file that was read."""
    st.session_state[_FILE] = FileInWork(name, actor.worker_id, table, guess_mapping(table.header))
    for wanted in FIELDS:
        st.session_state.pop(column_key(wanted.name), None)


def put_file_away() -> None:
    """Forget the file and its patients, and empty the field for choosing one."""
    st.session_state.pop(_FILE, None)
    st.session_state[_FILES_CHOSEN] = st.session_state.get(_FILES_CHOSEN, 0) + 1


def upload_key() -> str:
    """Return the key of the present field for choosing a file; a new key makes an empty field."""
    return f"import_upload_{st.session_state.get(_FILES_CHOSEN, 0)}"


def column_key(name: str) -> str:
    """Return the key of the choice of a column."""
    return f"import_column_{st.session_state.get(_FILES_CHOSEN, 0)}_{name}"


def last_import(actor: Actor) -> ImportDone | None:
    """Return what this person's last import did, until another file is wanted."""
    found: ImportDone | None = st.session_state.get(_DONE)
    return found if found is not None and found.owner == actor.worker_id else None


def keep_result(done: ImportDone) -> None:
    """Remember what an import did; its file is put away."""
    put_file_away()
    st.session_state[_DONE] = done


def begin_anew() -> None:
    """Make room for another file."""
    put_file_away()
    st.session_state.pop(_DONE, None)
