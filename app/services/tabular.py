"""Tables in files that people choose or download: text with delimiters, and Excel workbooks."""

from __future__ import annotations

from app.services.table import MAX_BYTES, MAX_ROWS, Table, refused
from app.services.table_csv import read_csv, write_csv
from app.services.table_excel import OLD_OFFICE_SIGNATURE, ZIP_SIGNATURE, read_excel, write_excel

__all__ = ["FILE_TYPES", "MAX_ROWS", "Table", "read_table", "write_csv", "write_excel"]

FILE_TYPES = ("csv", "txt", "tsv", "xlsx", "xls")  # what a person may choose; an .xls is told what to do


def read_table(content: bytes, file_name: str) -> Table:
    """Read a file of any accepted kind; what it is follows from its content, not from its name.

    Parameters
    ----------
    content
        The whole file.
    file_name
        As the person knows it; only for the sentence if it cannot be read.

    Raises
    ------
    InvalidInput
        On field `file`, with a sentence, if it cannot be read or is too large.
    """
    if not content.strip():
        raise refused("The file is empty.")
    if len(content) > MAX_BYTES:
        raise refused(f"The file has more than {MAX_BYTES // 1024 // 1024} MB. Split it.")
    if content.startswith((ZIP_SIGNATURE, OLD_OFFICE_SIGNATURE)):
        return read_excel(content)
    if content.startswith(b"%PDF"):
        raise refused(f"{file_name[:60]} is a PDF. Ask for the table as an Excel workbook or a CSV file.")
    return read_csv(content)
