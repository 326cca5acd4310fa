"""Tables in text files: any usual encoding and delimiter in, UTF-8 with commas out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from app.services.table import FORMULA_STARTS, Limits, Table, refused, with_headings
from app.services.written_numbers import marks_in

DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 30
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_SAVE_AS = "In a spreadsheet choose “CSV UTF-8” when saving it."


def read_csv(content: bytes) -> Table:
    """Read a delimited text file.

    UTF-8, or UTF-16 with a byte order mark, or else Windows-1252 with a note; delimited by comma, semicolon, tab
    or bar, whichever gives the most even table.

    Raises
    ------
    InvalidInput
        On field `file`, with a sentence, if it is not such a file.
    """
    text, notes = _text(content)
    declared = _SEPARATOR_LINE.match(text)  # Excel's own way to say it
    start = declared.end() if declared else 0
    delimiter = (
        declared.group(1) if declared and declared.group(1) in DELIMITERS else _delimiter(text[start:])
    )
    lines_before = 1 if declared else 0
    header, rows, found = with_headings(_records(text[start:], delimiter, lines_before), padded=False)
    comma, point = marks_in(cell for _, cells in rows for cell in cells)
    # Programs that write semicolons do so because the comma is taken.
    decimal_comma = not point and (comma or delimiter == ";")
    return Table(header, rows, (*notes, *found), decimal_comma, point and not comma)


def write_csv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Write a table as UTF-8 with a byte order mark, by which spreadsheets know it.

    None becomes an empty cell. A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow([disarmed(heading) for heading in headings])
    writer.writerows([disarmed(cell) for cell in row] for row in rows)
    return written.getvalue().encode("utf-8-sig", errors="replace")


def disarmed(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would run; numbers and all else stay as they are.

    Source: OWASP, “CSV injection”. The readers of this package take the apostrophe away again.
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def _text(content: bytes) -> tuple[str, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    try:
        text = content.decode(marked or "utf-8")
    except UnicodeDecodeError:
        if marked:
            raise refused(f"The text of the file is damaged. {_SAVE_AS}") from None
        # Five bytes mean nothing in Windows-1252; Latin-1 has a meaning for all.
        text = content.decode("cp1252", errors="replace")
        if "\ufffd" in text:
            text = content.decode("latin-1")
        notes = (
            "The file is not in UTF-8; it was read as Windows-1252 (Western European). Look whether names with "
            "accents are right.",
        )
    if _NOT_TEXT.search(text):
        raise refused(f"The file is neither a CSV file nor an Excel workbook. {_SAVE_AS}")
    if not text.strip():
        raise refused("The file is empty.")
    if text.lstrip()[:15].lower().startswith(("<html", "<!doctype", "<?xml", "<table")):
        raise refused("The file is a web page, not a table. Open it in a spreadsheet and save it as .xlsx.")
    return text, notes


def _delimiter(text: str) -> str:
    """Return the delimiter that makes most rows as wide as the first, and wider than one cell."""
    lines = io.StringIO(text, newline="")

    def evenness(delimiter: str) -> tuple[int, int]:
        lines.seek(0)
        widths: list[int] = []
        try:
            for cells in csv.reader(lines, delimiter=delimiter, strict=True):
                if any(cell.strip() for cell in cells):
                    widths.append(len(cells))
                if len(widths) == _SAMPLE_ROWS:
                    break
        except csv.Error:
            pass
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual) if usual > 1 else 0, usual)

    return max(DELIMITERS, key=evenness)


def _records(text: str, delimiter: str, lines_before: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the line on which each record begins, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    limits = Limits()
    while True:
        line = reader.line_num + 1 + lines_before
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise refused(
                f"The file cannot be read from line {line} on: a quotation mark does not close."
            ) from None
        if cells:
            limits.count(cells)
            yield line, cells
