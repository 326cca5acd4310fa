"""A table as it stands in a file: headings and rows of text, and how large it may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.errors import InvalidInput
from fl.features import FieldProblem

MAX_BYTES = 20 * 1024 * 1024  # as .streamlit/config.toml has it for uploads
MAX_ROWS = 200_000
MAX_COLUMNS = 200
MAX_CELLS = 4_000_000
# How a cell begins that a spreadsheet would run; the last four are what East Asian keyboards write.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_HEADINGS_WITHIN = 10  # rows at the top; a title may stand above the headings


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes
    ----------
    header
        The headings, each different from the others: a second `Age` is called `Age #2`. Empty where a column
        has none.
    rows
        Row (of a spreadsheet) or line (of a text file) on which each row begins, and its cells, without
        surrounding spaces. A row of a text file may have fewer or more cells than the header. Blank rows are
        left out.
    notes
        Sentences on how the file was read that its reader should know.
    decimal_comma
        Whether numbers in this file are written with a decimal comma.
    decimal_point
        Whether it is certain that they are written with a point, so that `13,270` means thirteen thousand.
        Where neither is known, such a number has two meanings.
    """

    header: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]
    notes: tuple[str, ...] = ()
    decimal_comma: bool = False
    decimal_point: bool = False


def refused(sentence: str) -> InvalidInput:
    """Return the error of a file that cannot be read, to be raised."""
    return InvalidInput([FieldProblem("file", sentence)])


class Limits:
    """Counts what was read of a file, and refuses what is too large while it is being read."""

    def __init__(self) -> None:
        self._rows = self._cells = 0

    def count(self, cells: Sequence[object]) -> None:
        """Count one more row; raises `InvalidInput` if that makes too many rows, columns or cells."""
        self._rows += 1
        self._cells += len(cells)
        # One row more than patients: the headings.
        if self._rows > MAX_ROWS + 1 + _HEADINGS_WITHIN:
            raise refused(f"The file has more than {MAX_ROWS:,} rows. Split it.")
        if len(cells) > MAX_COLUMNS:
            raise refused(
                f"The file has more than {MAX_COLUMNS} columns. Leave out those that are not needed."
            )
        if self._cells > MAX_CELLS:
            raise refused(f"The file has more than {MAX_CELLS:,} cells. Split it.")


def with_headings(
    records: Iterable[tuple[int, Sequence[str]]], *, padded: bool
) -> tuple[tuple[str, ...], list[tuple[int, tuple[str, ...]]], tuple[str, ...]]:
    """Tell the headings from the rows beneath; return header, rows and notes.

    The headings are the first row with more than one cell filled, if one of the first ten is such a row: above
    them some programs print a title. Otherwise they are the first row.

    Parameters
    ----------
    records
        Row number and cells of every row, blank ones too.
    padded
        Whether a row with fewer cells than headings is to be given empty ones: a spreadsheet does not store
        them, while a text file should have them.

    Raises
    ------
    InvalidInput
        If there is no row that is not blank, or there are too many.
    """
    rows = [(number, cells) for number, cells in ((n, _stripped(c)) for n, c in records) if any(cells)]
    if not rows:
        raise refused("The file is empty.")
    wide = (place for place, (_, cells) in enumerate(rows[:_HEADINGS_WITHIN]) if sum(map(bool, cells)) > 1)
    place = next(wide, 0)
    if len(rows) - place - 1 > MAX_ROWS:
        raise refused(f"The file has more than {MAX_ROWS:,} rows. Split it.")
    number, header = rows[place]
    header = _without_end(header, 0)
    width = len(header)
    notes = (
        (f"The headings were found in row {number}; what stands above them is left out.",) if place else ()
    )
    below = [
        (number, cells + ("",) * (width - len(cells)) if padded else _without_end(cells, width))
        for number, cells in rows[place + 1 :]
    ]
    return _told_apart(header), below, notes


def _stripped(cells: Sequence[str]) -> tuple[str, ...]:
    """Take surrounding spaces from every cell, and the apostrophe that disarms a formula."""
    return tuple(
        [
            cell[1:].strip() if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell.strip()
            for cell in cells
        ]
    )


def _without_end(cells: tuple[str, ...], width: int) -> tuple[str, ...]:
    """Take empty cells from the end of a row that is wider than `width`."""
    end = len(cells)
    while end > width and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _told_apart(header: tuple[str, ...]) -> tuple[str, ...]:
    """Number the headings that are there more than once."""
    taken: set[str] = set()
    headings: list[str] = []
    for heading in (" ".join(cell.split()) for cell in header):
        named, again = heading, 1
        while named and named.casefold() in taken:
            again += 1
            named = f"{heading} #{again}"
        taken.add(named.casefold())
        headings.append(named)
    return tuple(headings)
