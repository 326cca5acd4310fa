"""What a Site answers when asked whether it is there: how many patients it could train on, and what it runs."""

from __future__ import annotations

import functools
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from db.site import Patient
from fl.site_consent import consent_of
from fl.site_database import at_site

# Where fl/, db/ and pyproject.toml lie: the installation, or the bundle that unmodified Flower unpacked.
_ROOT = Path(__file__).resolve().parent.parent
ROUNDED_TO = 10  # patients: a Site tells no smaller number, and no finer one


def presence(body: dict[str, Any], institution: str) -> dict[str, Any]:
    """Answer how many patients have a known cost, how many of them are new, what is installed, and the consent.

    `since` of the request is the start of the last completed training as ISO time, or empty if there was none; then
    every patient with a known cost is new.
    """
    since = datetime.fromisoformat(body["since"]) if body["since"] else None
    # A row is usable from the later of the two times on: when it was entered, and when its cost was.
    usable_from = func.greatest(Patient.created_at, Patient.cost_entered_at)  # NULLs are ignored
    is_new = usable_from > since if since is not None else usable_from.is_not(None)
    query = select(func.count(), func.count().filter(is_new)).where(
        Patient.insurance_cost.is_not(None), Patient.deleted_at.is_(None)
    )
    (usable, new), consent = at_site(lambda site: (site.execute(query).one(), consent_of(site)))
    return {
        "usable_rows": rounded_down(usable),
        "new_rows": rounded_down(new),
        "software_version": software_version(),
        "bundle_sha256": installed_bundle_sha256(),
        "consent": str(consent),
    }


def rounded_down(count: int) -> int:
    """Round a number of patients down to tens, so that a single patient more or less is rarely seen."""
    return count - count % ROUNDED_TO


@functools.cache
def software_version() -> str:
    """Return the version of this software."""
    return str(tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"])


@functools.cache
def installed_bundle_sha256() -> str:
    """Return the hash of the installed code, by which Flower and the consortium know it."""
    from fl.runtime.flower_private import build_bundle  # needed once in the life of a warm SuperNode

    return build_bundle(_ROOT).sha256
