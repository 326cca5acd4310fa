"""Whether the institution lets its Site answer: asked before any patient is read, decided by its own administrator.

The decision lies in the Site's own database (`participation`, `run_approvals`), so the consortium cannot change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.site import Participation, RunApproval
from db.states import Consent
from fl.settings import RunSettings
from fl.site_database import at_site
from fl.site_work import SatOut

PAUSED = "This hospital has paused taking part in training."
WAITING = "Waiting for approval of this run's settings by the hospital's administrator."
REFUSED = "This hospital did not approve the settings of this run."
OTHER_SETTINGS = "The settings of this run are not those that the hospital's administrator approved."
NO_RUN = "This hospital approves the settings of each run, and this request belongs to none."

# What of a message is approved besides the settings; each the same in every message of a Run.
RUN_FIELDS = ("kind", "num_rounds", "strategy")


def consent_of(site: Session) -> Consent:
    """Return what the institution's administrator allows; every Run, as long as nothing was decided."""
    return Consent(site.scalar(select(Participation.consent)) or Consent.OPEN)


def check_consent(body: Mapping[str, Any]) -> None:
    """Return if the Site may answer this message.

    A Run that waits for approval is written down for the administrator with what it asks for.

    Parameters
    ----------
    body
        Fields of the message: `run_id`, `settings` (JSON) and `RUN_FIELDS`; `round_number` if it is about a Round.

    Raises
    ------
    SatOut
        With the reason, if the Site may not.
    """

    def asked(site: Session) -> str:
        consent = consent_of(site)
        if consent is Consent.PAUSED:
            return PAUSED
        return _refusal(site, body) if consent is Consent.APPROVAL else ""

    refusal = at_site(asked)
    # After the transaction: what was written down must stay.
    if refusal:
        raise SatOut(refusal)


def asked_for(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a Run asks for, as it is approved: `RUN_FIELDS` and every setting."""
    settings = RunSettings.from_json(json.loads(body.get("settings") or "{}")).to_json()
    return {**{name: body[name] for name in RUN_FIELDS if name in body}, **settings}


def settings_sha256(asked: Mapping[str, Any]) -> str:
    """Return the hash by which what a Run asks for is approved.

    The learning rate is left out: a schedule gives each Round one of its own, and `_within` checks it.
    """
    kept = {name: value for name, value in asked.items() if name != "learning_rate"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _refusal(site: Session, body: Mapping[str, Any]) -> str:
    """Return why a Run that needs approval may not be answered, or nothing."""
    if not body.get("run_id"):
        return NO_RUN
    run_id, asked = int(body["run_id"]), asked_for(body)
    digest = settings_sha256(asked)
    site.execute(
        insert(RunApproval)
        .values(run_id=run_id, settings_sha256=digest, settings=asked)
        .on_conflict_do_nothing()
    )
    approval = site.get_one(RunApproval, run_id, with_for_update=True)
    same = approval.settings_sha256 == digest and _within(approval.settings, asked, body)
    if approval.decision == "refused":
        return REFUSED
    if approval.decision == "approved":
        return "" if same else OTHER_SETTINGS
    if not same:  # nobody decided yet: the administrator is shown what is asked for now
        approval.settings_sha256, approval.settings = digest, asked
        approval.requested_at = func.now()
    return WAITING


def _within(approved: Mapping[str, Any], asked: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Tell whether the learning rate and the number of Rounds stay within what was approved.

    Every schedule only lowers the learning rate, down to a share of it that is itself approved.
    """
    highest = float(approved["learning_rate"])
    lowest = highest * float(approved["final_learning_rate_share"])
    rounds = approved.get("num_rounds")
    return lowest * (1 - 1e-6) <= float(asked["learning_rate"]) <= highest * (1 + 1e-6) and (
        not rounds or int(body.get("round_number", 0)) <= int(rounds)
    )
