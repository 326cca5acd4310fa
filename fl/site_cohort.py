"""What a Site answers when it is asked what its patients are like, before any training."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from db.site import Patient
from fl.cohort_summary import averages_to_array, counts_to_array, summarise
from fl.features import FEATURE_NAMES, TARGET_NAME
from fl.settings import RunSettings
from fl.site_database import at_site
from fl.site_work import FEWEST_ROWS, SatOut

_COLUMNS = (*FEATURE_NAMES, TARGET_NAME)


def cohort(body: dict[str, Any], institution: str) -> dict[str, Any]:
    """Summarise every patient who is present, with a known cost or without."""
    settings = RunSettings.from_json(json.loads(body["settings"]))
    query = select(*(getattr(Patient, name) for name in _COLUMNS)).where(Patient.deleted_at.is_(None))
    rows = at_site(lambda site: site.execute(query).all())
    needed = max(settings.min_rows, FEWEST_ROWS)
    if len(rows) < needed:
        raise SatOut(f"Fewer than {needed} patients.")
    summary = summarise(dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))
    return {
        "num_examples": summary.count,
        "counts": counts_to_array(summary),
        "averages": averages_to_array(summary),
    }
