"""A trigger on real processes: its Run is asked for, conducted and completed, and the Sites tell how they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from bench.consortium import PROJECT_ROOT, Consortium
from db.central import TrainingRun, TrainingTrigger
from db.federation import SitePresence, TriggerEvent
from db.states import RunStatus
from fl.runtime.flower_private import build_bundle
from fl.triggers import RunToAskFor, TriggerSettings

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def _presence(consortium: Consortium, *, after: datetime) -> Sequence[SitePresence]:
    """Wait until every Site has answered after a moment."""
    deadline = time.monotonic() + 30
    while True:
        with consortium.central() as central:
            rows = central.scalars(select(SitePresence).where(SitePresence.last_seen_at > after)).all()
        if len(rows) == len(consortium.urls.sites):
            return rows
        assert time.monotonic() < deadline, f"only {len(rows)} Sites told that they are there"
        time.sleep(0.1)


def _run_of(consortium: Consortium, trigger_id: int) -> int:
    deadline = time.monotonic() + 30
    query = select(TrainingRun.id).where(TrainingRun.trigger_id == trigger_id)
    while True:
        with consortium.central() as central:
            run_id = central.scalar(query)
        if run_id is not None:
            return run_id
        assert time.monotonic() < deadline, "the trigger did not fire"
        time.sleep(0.1)


def test_a_schedule_fires_its_run_completes_and_the_sites_tell_how_they_are(consortium: Consortium) -> None:
    before = _presence(consortium, after=LONG_AGO)
    assert {row.bundle_sha256 for row in before} == {build_bundle(PROJECT_ROOT).sha256}
    assert all(row.new_rows == row.usable_rows > 300 for row in before)

    settings = TriggerSettings(
        cron="0 3 * * *", timezone="Europe/Berlin", only_if_new_data=True, run=RunToAskFor(num_rounds=1)
    )
    with consortium.central() as central:
        trigger = TrainingTrigger(
            name="Nightly",
            kind="schedule",
            settings=settings.to_json(),
            next_fire_at=datetime.now(UTC) - timedelta(seconds=1),
        )
        central.add(trigger)
        central.flush()
        trigger_id = trigger.id
    run = consortium.wait_until_ended(_run_of(consortium, trigger_id))
    assert (run.status, run.error, run.requested_by) == (RunStatus.COMPLETED, None, None)
    assert len(consortium.rounds(run.id)) == 1
    with consortium.central() as central:
        events = central.execute(select(TriggerEvent.outcome, TriggerEvent.run_id)).all()
        due = central.get_one(TrainingTrigger, trigger_id).next_fire_at
    assert events == [("fired", run.id)] and due is not None and due > datetime.now(UTC)

    assert run.finished_at is not None
    after = _presence(consortium, after=run.finished_at)
    online_since = {row.institution_id: row.online_since for row in before}
    assert {row.institution_id: row.online_since for row in after} == online_since
    assert all(row.new_rows == 0 and row.usable_rows > 300 for row in after)
