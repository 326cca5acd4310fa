"""What tests of institutions put into the databases: Runs, what Sites did in them, and what Sites say of themselves."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from db.central import SiteResult, TrainingRun
from db.federation import FederationStatus, SitePresence
from db.site import RunApproval
from db.states import RunStatus
from fl.settings import RunSettings
from fl.site_consent import settings_sha256
from tests.integration.conftest import Consortium, get_now

ASKED: dict[str, Any] = {
    **RunSettings().to_json(),
    "kind": "federated",
    "num_rounds": 12,
    "strategy": "fedavg",
}


def add_run(
    consortium: Consortium, outcomes: dict[str, list[tuple[str, str, str | None]]], status: str = "completed"
) -> int:
    """Add a Run in which each institution of these codes answered (phase, outcome, reason), one Round each."""
    ended = status not in ("queued", "training")
    with consortium.central() as central:
        run = TrainingRun(
            idempotency_key=uuid.uuid4().hex,
            status=status,
            num_rounds=3,
            strategy="fedavg",
            settings={},
            seed=1,
            finished_at=get_now() if ended else None,
            error="It broke." if status == RunStatus.FAILED else None,
        )
        central.add(run)
        central.flush()
        for code, answers in outcomes.items():
            for number, (phase, outcome, reason) in enumerate(answers):
                central.add(
                    SiteResult(
                        run_id=run.id,
                        round_number=number,
                        phase=phase,
                        institution_id=institution_id(consortium, code),
                        outcome=outcome,
                        reason=reason,
                        num_examples=240 if outcome == "ok" else None,
                    )
                )
        central.commit()
        return run.id


def institution_id(consortium: Consortium, code: str) -> int:
    """Return the id of an institution in the central database."""
    from sqlalchemy import select

    from db.central import Institution

    with consortium.central() as central:
        return central.scalars(select(Institution.id).where(Institution.code == code)).one()


def say(consortium: Consortium, states: dict[str, str], *, bundle: str | None = None, ago: float = 0) -> None:
    """Let the supervisor have said the states of SuperNodes, so many seconds ago."""
    with consortium.central() as central:
        central.add(
            FederationStatus(
                state="up",
                runtime="warm",
                leader="here:1",
                bundle_sha256=bundle,
                sites={code: {"state": state} for code, state in states.items()},
                heartbeat_at=get_now() - timedelta(seconds=ago),
            )
        )
        central.commit()


def answer_presence(
    consortium: Consortium, code: str, *, bundle: str = "a" * 64, consent: str = "open", ago: float = 0
) -> datetime:
    """Let the Site of an institution have answered that it is there, so many seconds ago; return when."""
    at = get_now() - timedelta(seconds=ago)
    with consortium.central() as central:
        central.add(
            SitePresence(
                institution_id=institution_id(consortium, code),
                flwr_node_id="1",
                online_since=at - timedelta(hours=1),
                last_seen_at=at,
                usable_rows=300,
                new_rows=10,
                software_version="0.1.0",
                bundle_sha256=bundle,
                consent=consent,
            )
        )
        central.commit()
    return at


def ask_for_approval(consortium: Consortium, code: str, run_id: int, **changed: Any) -> str:
    """Let a Run wait for the approval of an institution; return the hash of what it asks for."""
    asked = {**ASKED, **changed}
    with consortium.site(code) as site:
        row = RunApproval(run_id=run_id, settings_sha256=settings_sha256(asked), settings=asked)
        site.add(row)
        site.commit()
        return row.settings_sha256
