"""What a waiting ServerApp learns of the Sites, from the real ClientApp over real databases."""

from __future__ import annotations

import re
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from app.version import VERSION
from db.central import Institution, TrainingRun
from db.engines import sessions_for
from db.federation import SitePresence
from db.provision import DatabaseUrls
from db.site import Participation, Patient
from fl import presence, site_database
from fl.presence import PresenceAsker, Rhythm, asking_sites
from fl.runtime.environment import PROJECT_ROOT
from fl.runtime.flower_private import build_bundle
from tests.integration.local_grid import LocalGrid, silent, spoil

ASKED = ("northeast", "query.presence")
QUICK = Rhythm(first=0.0, every=20.0, patience=0.05, look=0.01)


@pytest.fixture
def world(databases: DatabaseUrls) -> DatabaseUrls:
    with sessions_for(databases.central)() as session, session.begin():
        session.add_all(Institution(code=code, name=code) for code in databases.sites)
    return databases


def add_patients(world: DatabaseUrls, code: str, count: int, **columns: Any) -> list[uuid.UUID]:
    about = {"age": 40, "sex": "female", "bmi": 27, "region": code, "insurance_cost": 5000, **columns}
    with sessions_for(world.sites[code])() as session, session.begin():
        patients = [Patient(first_name="A", last_name="B", **about) for _ in range(count)]
        session.add_all(patients)
        session.flush()
        return [patient.id for patient in patients]


def add_run(
    world: DatabaseUrls, started: datetime, kind: str = "federated", status: str = "completed"
) -> None:
    with sessions_for(world.central)() as session, session.begin():
        session.add(
            TrainingRun(
                idempotency_key=uuid.uuid4().hex,
                kind=kind,
                status=status,
                error="It failed." if status == "failed" else None,
                num_rounds=1 if kind == "federated" else 0,
                strategy="fedavg",
                settings={},
                seed=1,
                started_at=started,
                finished_at=started + timedelta(minutes=1),
            )
        )


def asker_of(world: DatabaseUrls, **grid: Any) -> PresenceAsker:
    local = LocalGrid(world.train_sites, **grid)
    return PresenceAsker(local, world.app_central, local.binding, QUICK)


def row(world: DatabaseUrls, code: str = "northeast") -> SitePresence | None:
    with sessions_for(world.central)() as session:
        return session.query(SitePresence).join(Institution).filter(Institution.code == code).one_or_none()


def ask(asker: PresenceAsker) -> list[str]:
    return asker.ask(threading.Event())


def set_back(world: DatabaseUrls, **columns: datetime) -> None:
    with sessions_for(world.central)() as session, session.begin():
        session.execute(update(SitePresence).values(**columns))


def test_a_site_tells_its_patients_in_tens_and_what_it_runs(world: DatabaseUrls) -> None:
    add_patients(world, "northeast", 29)
    add_patients(world, "northeast", 9, insurance_cost=None)
    add_patients(world, "northeast", 9, deleted_at=datetime.now(UTC))
    add_patients(world, "southwest", 9)
    assert sorted(ask(asker_of(world))) == sorted(world.sites)
    told = row(world)
    assert told is not None and (told.usable_rows, told.new_rows) == (20, 20)
    assert (told.software_version, told.consent) == (VERSION, "open")
    assert told.bundle_sha256 == build_bundle(PROJECT_ROOT).sha256
    few = row(world, "southwest")
    assert few is not None and (few.usable_rows, few.new_rows) == (0, 0)


def test_new_is_who_was_entered_or_whose_cost_was_since_the_last_completed_training_began(
    world: DatabaseUrls,
) -> None:
    began = datetime.now(UTC) - timedelta(days=2)
    before, after = began - timedelta(hours=1), began + timedelta(hours=1)
    add_run(world, began)
    add_run(world, began + timedelta(days=1), status="failed")
    add_run(world, began + timedelta(days=1), kind="cohort")
    add_patients(world, "northeast", 40, created_at=before)
    add_patients(world, "northeast", 11, created_at=after)
    add_patients(world, "northeast", 9, created_at=before, cost_entered_at=after)
    ask(asker_of(world))
    told = row(world)
    assert told is not None and (told.usable_rows, told.new_rows) == (60, 20)


def test_a_site_that_paused_still_tells_that_it_is_there(world: DatabaseUrls) -> None:
    with sessions_for(world.sites["northeast"])() as site, site.begin():
        site.execute(delete(Participation))
        site.add(Participation(consent="paused", changed_by=1, changed_by_name="Somebody"))
    ask(asker_of(world))
    told = row(world)
    assert told is not None and told.consent == "paused"


def test_it_is_online_since_its_first_answer_until_it_misses_one(world: DatabaseUrls) -> None:
    asker = asker_of(world)
    ask(asker)
    first = row(world)
    ask(asker)
    second = row(world)
    assert first is not None and second is not None
    assert second.online_since == first.online_since and second.last_seen_at > first.last_seen_at
    asker.grid.misbehave[ASKED] = silent  # type: ignore[attr-defined]
    assert "northeast" not in ask(asker)
    missed = row(world)
    assert missed is not None and missed.last_seen_at == second.last_seen_at
    asker.grid.misbehave.clear()  # type: ignore[attr-defined]
    assert "northeast" in ask(asker)
    back, never_away = row(world), row(world, "southwest")
    assert back is not None and back.online_since == back.last_seen_at > second.last_seen_at
    assert never_away is not None and never_away.online_since < second.last_seen_at


def test_a_supernode_that_was_started_again_is_online_since_then(world: DatabaseUrls) -> None:
    asker = asker_of(world)
    ask(asker)
    with sessions_for(world.central)() as session, session.begin():
        session.execute(update(SitePresence).values(flwr_node_id="99"))
    ask(asker)
    told = row(world)
    assert told is not None and told.online_since == told.last_seen_at and told.flwr_node_id != "99"


@pytest.mark.parametrize(("run_ended", "kept"), [(True, True), (False, False)])
def test_a_run_in_between_in_which_nobody_asks_is_no_gap(
    world: DatabaseUrls, run_ended: bool, kept: bool
) -> None:
    now = datetime.now(UTC)
    ask(asker_of(world))
    set_back(world, online_since=now - timedelta(days=1), last_seen_at=now - timedelta(seconds=70))
    if run_ended:
        add_run(world, now - timedelta(seconds=61))
    ask(asker_of(world))
    told = row(world)
    assert told is not None and (told.online_since == now - timedelta(days=1)) is kept


@pytest.mark.parametrize(
    "changes",
    [
        {"usable_rows": 25},
        {"new_rows": 9},
        {"usable_rows": 10, "new_rows": 20},
        {"usable_rows": 10**12},
        {"bundle_sha256": "x"},
        {"software_version": "<script>"},
        {"consent": "perhaps"},
        {"usable_rows": "many"},
        {"institution": "elsewhere"},
    ],
)
def test_an_answer_that_cannot_be_is_not_kept(world: DatabaseUrls, changes: dict[str, Any]) -> None:
    answered = ask(asker_of(world, misbehave={ASKED: spoil(**changes)}))
    assert sorted(answered) == sorted(set(world.sites) - {"northeast"})
    assert row(world) is None


def test_neither_a_dead_site_nor_its_database_keeps_the_others_from_being_asked(
    world: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_database, "PATIENCE_SECONDS", 0.5)
    away = re.sub(r"/\w+$", "/no_such", world.train_sites["southwest"])
    grid = LocalGrid({**world.train_sites, "southwest": away}, dead={"northeast"})
    answered = ask(PresenceAsker(grid, world.app_central, grid.binding, QUICK))
    assert sorted(answered) == sorted(set(world.sites) - {"northeast", "southwest"})


def test_a_run_that_comes_meanwhile_is_waited_for_by_nobody(
    world: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving the block returns while a question is still under way, and what it brings is not kept."""
    asked, may_go_on, over = threading.Event(), threading.Event(), threading.Event()

    class SlowGrid(LocalGrid):
        def pull_messages(self, message_ids: Any) -> Any:
            asked.set()
            assert may_go_on.wait(10)
            try:
                return super().pull_messages(message_ids)
            finally:
                over.set()

    monkeypatch.setitem(presence.RHYTHMS, "warm", QUICK)
    grid = SlowGrid(world.train_sites)
    with asking_sites(grid, world.app_central, grid.binding):
        assert asked.wait(10)
    assert not over.is_set()
    may_go_on.set()
    assert over.wait(10)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "presence"] or [None]
    if thread is not None:
        thread.join(10)
    assert row(world) is None


def test_a_database_that_is_away_is_asked_again(world: DatabaseUrls) -> None:
    rhythm = Rhythm(first=0.0, every=0.0, patience=0.05, look=0.0)
    grid = LocalGrid(world.train_sites)
    asker = PresenceAsker(grid, "postgresql://nobody@127.0.0.1:1/none", grid.binding, rhythm)
    tries: list[float | None] = []

    class ThirdTime(threading.Event):
        """Is asked before every question whether to stop."""

        def wait(self, timeout: float | None = None) -> bool:
            tries.append(timeout)
            if len(tries) == 3:
                asker.database_url = world.central
            return row(world) is not None

    left = ThirdTime()
    asker.ask_until(left)
    assert len(tries) >= 4 and row(world) is not None
