"""Numbers that training measured, as a chart and JSON can hold them."""

from __future__ import annotations

import math


def finite(value: float | None) -> float | None:
    """Return `value`, or None for what no chart and no JSON can hold."""
    return value if value is not None and math.isfinite(value) else None
