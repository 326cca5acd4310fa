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


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the cursor of the rows that follow; None at the end.

    A cursor is the id of the last row shown and nothing else: names or dates in it would reach proxies' logs.
    """

    items: list[T]
    next_cursor: str | None


def page_of(rows: Sequence[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """Make a page of at most `limit` rows from a query that asked for `limit` + 1."""
    shown = list(rows[:limit])
    more = len(rows) > limit
    return Page(shown, str(key(shown[-1])) if more else None)


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
