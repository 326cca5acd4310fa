"""Tables in Excel workbooks (.xlsx)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from app.errors import InvalidInput
from app.services.excel_sheets import SheetRow, Workbook
from app.services.table import Limits, Table, refused, with_headings
from app.services.table_csv import disarmed
from app.services.written_numbers import marks_in

ZIP_SIGNATURE = b"PK\x03\x04"
OLD_OFFICE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAX_UNPACKED = 300 * 1024 * 1024  # bytes of all parts together
MAX_UNPACKED_TEXTS = 64 * 1024 * 1024  # bytes of any part that is held in memory, such as the shared texts
_SHEETS = "xl/worksheets/"
_BROKEN = "The Excel file is damaged and cannot be read. Open it in a spreadsheet and save it again as .xlsx."


def read_excel(content: bytes) -> Table:
    """Read the first sheet of a workbook that is not empty; formulas count as what they last came to.

    Raises
    ------
    InvalidInput
        On field `file`, with a sentence, if it is damaged, protected, too large or of another kind.
    """
    if content.startswith(OLD_OFFICE_SIGNATURE):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise refused("The Excel file is protected with a password. Save it without one.")
        raise refused("This is an old Excel file (.xls). Open it in a spreadsheet and save it as .xlsx.")
    _refuse_what_unpacks_too_large(content)
    try:
        return _read(content)
    except InvalidInput:
        raise
    except Exception as error:
        # openpyxl fails in many ways on files that no spreadsheet wrote.
        raise refused(_BROKEN) from error


def write_excel(headings: Sequence[str], rows: Iterable[Sequence[object]], *, sheet: str) -> bytes:
    """Write a table as a workbook of one sheet, named `sheet`; numbers stay numbers, None is an empty cell.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    workbook = openpyxl.Workbook(write_only=True)
    page = workbook.create_sheet(sheet[:31])
    page.freeze_panes = "A2"
    bold = []
    for place, heading in enumerate(headings, start=1):
        cell = WriteOnlyCell(page, value=_storable(heading))
        cell.font = Font(bold=True)
        bold.append(cell)
        page.column_dimensions[get_column_letter(place)].width = max(12, len(heading) + 2)
    page.append(bold)
    for row in rows:
        page.append([_storable(cell) for cell in row])
    written = io.BytesIO()
    workbook.save(written)
    return written.getvalue()


def _refuse_what_unpacks_too_large(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, OverflowError):
        raise refused(_BROKEN) from None
    if not any(part.filename.startswith("xl/") for part in parts):
        raise refused("The file is an archive, not an Excel workbook (.xlsx) or a CSV file.")
    in_memory = max((part.file_size for part in parts if not part.filename.startswith(_SHEETS)), default=0)
    if sum(part.file_size for part in parts) > MAX_UNPACKED or in_memory > MAX_UNPACKED_TEXTS:
        raise refused("The Excel file unpacks to more than can be read here. Split it, or save it as CSV.")


def _read(content: bytes) -> Table:
    workbook = Workbook(content)
    for sheet in workbook.sheets:
        numbers_as_text: list[str] = []
        records = list(_records(workbook.rows(sheet), numbers_as_text))
        if not records:
            continue
        header, rows, notes = with_headings(records, padded=True)
        if len(workbook.sheets) > 1:
            rest = len(workbook.sheets) - 1
            others = "the other one is" if rest == 1 else f"the other {rest} are"
            notes = (f"Sheet “{sheet.title[:40]}” was read; {others} left out.", *notes)
        comma, point = marks_in(numbers_as_text)
        return Table(header, rows, notes, comma and not point, point and not comma)
    raise refused("The file is empty.")


def _records(rows: Iterable[SheetRow], numbers_as_text: list[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield number and cells of each row; collect the texts that may be numbers."""
    limits = Limits()
    for row in rows:
        limits.count(row.cells)
        numbers_as_text.extend(text for text in row.texts if "," in text or "." in text)
        yield row.number, [cell or "" for cell in row.cells]


def _storable(cell: object) -> object:
    if isinstance(cell, str):
        # XML has no way to write these.
        return disarmed(ILLEGAL_CHARACTERS_RE.sub("", cell).encode(errors="replace").decode())
    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return cell.isoformat(" ", "minutes")  # Excel knows no time zones
    if cell is None or isinstance(cell, int | float | Decimal | date | time | timedelta):
        return cell
    return disarmed(str(cell))
