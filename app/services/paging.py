"""Pages of a list by keyset: a page says after which row the next one begins, so inserts never shift it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import InvalidInput
from fl.features import FieldProblem

T = TypeVar("T")

MAX_PAGE = 100
LARGEST_ID = 2**31 - 1  # of an integer column in PostgreSQL
_BEFORE = "before-"


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursors of the rows that follow and come before; None at either end.

    A cursor holds the id of the row it stands at and nothing else: names or dates in it would reach proxies'
    logs. Lists that cannot be read backwards leave `previous_cursor` at None.
    """

    items: list[T]
    next_cursor: str | None
    previous_cursor: str | None = None


@dataclass(frozen=True)
class Position:
    """What a cursor says: the row that the page begins after or, read backwards, ends before."""

    row: str
    backwards: bool = False


def page_of(rows: Sequence[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """Make a page of at most `limit` rows from a query that asked for `limit` + 1."""
    shown = list(rows[:limit])
    more = len(rows) > limit
    return Page(shown, str(key(shown[-1])) if more else None)


def position_of(cursor: str) -> Position:
    """Read a cursor of a list that goes both ways."""
    if cursor.startswith(_BEFORE):
        return Position(cursor.removeprefix(_BEFORE), backwards=True)
    return Position(cursor)


def read_page(
    cursor: str | None,
    limit: int,
    read: Callable[[Position | None, int], Sequence[T]],
    key: Callable[[T], object],
) -> Page[T]:
    """Read the page of a list that goes both ways.

    Parameters
    ----------
    cursor
        `next_cursor` or `previous_cursor` of another page; None is the first page.
    limit
        Rows on the page, 1 to 100.
    read
        Reads up to so many rows from a position on, in the order of reading: for a page read backwards the row
        nearest to the position comes first.
    key
        What a cursor calls a row.

    Raises
    ------
    InvalidInput
        If the limit is not accepted, or whatever `read` raises.
    """
    check_limit(limit)
    position = position_of(cursor) if cursor is not None else None
    rows = read(position, limit + 1)
    if position is not None and position.backwards and len(rows) < limit:
        # The beginning of the list: a whole page rather than what is left of one.
        position = None
        rows = read(position, limit + 1)
    return _page_at(position, rows, limit, key)


def _page_at(position: Position | None, rows: Sequence[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    shown, more = list(rows[:limit]), len(rows) > limit
    backwards = position is not None and position.backwards
    if backwards:
        shown.reverse()
    before = more if backwards else position is not None
    after = more or backwards
    return Page(
        shown,
        next_cursor=str(key(shown[-1])) if shown and after else None,
        previous_cursor=f"{_BEFORE}{key(shown[0])}" if shown and before else None,
    )


def check_limit(limit: int) -> int:
    """Return `limit` if it is an acceptable page size.

    Raises
    ------
    InvalidInput
        If it is not from 1 to 100.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput([FieldProblem("limit", f"A page holds from 1 to {MAX_PAGE} rows, not {limit}.")])
    return limit


def uuid_cursor(cursor: str) -> uuid.UUID:
    """Read the cursor of a list whose ids are UUIDs; raises `InvalidInput` if it is not one."""
    try:
        return uuid.UUID(cursor)
    except ValueError:
        raise unknown_cursor() from None


def integer_cursor(cursor: str) -> int:
    """Read the cursor of a list whose ids are integers; raises `InvalidInput` if it is not one."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 10 and int(cursor) <= LARGEST_ID):
        raise unknown_cursor()
    return int(cursor)


def unknown_cursor() -> InvalidInput:
    """Return the error for a cursor that points nowhere."""
    return InvalidInput(
        [FieldProblem("cursor", "This page of the list no longer exists. Start again from its first page.")]
    )
