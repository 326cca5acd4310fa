"""Numbers as people and spreadsheets write them: decimal comma or point, thousands separators, dollar signs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# What can only be a decimal comma: no three digits behind it, or more than three before it, or points as
# thousands separators. The other way round for the point.
_COMMA = re.compile(
    r"[+-]?(\d+,(\d{1,2}|\d{4,})|\d{4,},\d{3}|\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}|0\d*,\d+)"
)
_POINT = re.compile(
    r"[+-]?(\d+\.(\d{1,2}|\d{4,})|\d{4,}\.\d{3}|\d{1,3}(,\d{3})+\.\d+|\d{1,3}(,\d{3}){2,}|0\d*\.\d+)"
)
_EITHER = re.compile(r"[+-]?\d{1,3}[.,]\d{3}")
_GROUPED = re.compile(r"([+-]?\d{1,3})((?:[ \u00a0\u202f'’]\d{3})+)(?=[.,]|$)")
_DOLLARS = re.compile(
    r"^(?:(?:us|usd)?\s*\$|usd|us dollars?)\s*|\s*(?:\$|usd|us dollars?|dollars?)$", re.IGNORECASE
)


def marks_in(cells: Iterable[str]) -> tuple[bool, bool]:
    """Tell whether any cell can only be a number with a decimal comma, and whether any only one with a point."""
    comma = point = False
    for cell in cells:
        if "," in cell:
            comma = comma or bool(_COMMA.fullmatch(_bare(cell)))
            point = point or ("." in cell and bool(_POINT.fullmatch(_bare(cell))))
        elif "." in cell and not point:
            point = bool(_POINT.fullmatch(_bare(cell)))
        if comma and point:
            break
    return comma, point


def written_plainly(text: str, *, decimal_comma: bool, decimal_point: bool) -> str:
    """Return a number as written in a file in the form that Python reads, for example `13270.50`.

    What is no number is returned as it is, for the field's own check to refuse.

    Parameters
    ----------
    decimal_comma, decimal_point
        What is known of the whole file, as in `Table`.

    Raises
    ------
    ValueError
        With a sentence, if the number has two meanings: `13,270` where nothing says what the comma is.
    """
    if text.isdigit():
        return text
    number = _bare(text)
    if _EITHER.fullmatch(number) and not number.lstrip("+-").startswith("0"):
        if decimal_comma:
            return number.replace(".", "").replace(",", ".")
        if "." in number:
            return number
        if decimal_point:
            return number.replace(",", "")
        whole, decimal = number.replace(",", ""), number.replace(",", ".")
        raise ValueError(f"{text[:40]!r} may mean {whole} or {decimal}; write it without the comma.")
    if _COMMA.fullmatch(number):
        return number.replace(".", "").replace(",", ".")
    if _POINT.fullmatch(number):
        return number.replace(",", "")
    return number if number.isdecimal() else text


@lru_cache(maxsize=4096)
def _bare(text: str) -> str:
    """Take dollar signs and the spaces or apostrophes between thousands from a number."""
    bare = _DOLLARS.sub("", text.strip())
    grouped = _GROUPED.match(bare)
    if grouped:
        digits = re.sub(r"\D", "", grouped.group(2))
        bare = f"{grouped.group(1)}{digits}{bare[grouped.end() :]}"
    return bare
