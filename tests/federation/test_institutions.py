"""Institutions on real processes: one is added, paused and deactivated while the federation runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import insert, select

from bench.consortium import Consortium, load_institutions
from bench.data import cohort_of
from db.central import Institution
from db.cohort import generate
from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.provision import SiteUrls, prefix_of, provision, provision_site
from db.site import Participation, Patient
from db.site_urls import SiteUrlFile
from db.states import RunStatus
from fl.features import FEATURE_NAMES
from fl.settings import RunSettings
from fl.site_consent import PAUSED

REGIONS = ("northeast", "southwest")
SETTINGS = RunSettings(local_epochs=1, local_only=False)


def _rows(region: str, seed: int) -> pd.DataFrame:
    return pd.DataFrame(vars(generate(200, seed=seed, region=region)))


@pytest.fixture
def consortium(postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Consortium]:
    """Two Sites, up."""
    urls = provision(postgres_server, REGIONS, prefix=f"fed_{uuid.uuid4().hex[:8]}_")
    frames = [_rows(region, seed) for seed, region in enumerate(REGIONS)]
    load_institutions(urls, cohort_of(pd.concat(frames)).frame)
    with Consortium(urls, tmp_path) as running:
        running.wait_until_up()
        yield running
    for url in (urls.central, *urls.sites.values()):
        engine_for(url).dispose()


def _add(consortium: Consortium, server: EmbeddedPostgres, code: str) -> SiteUrls:
    """Add an institution with patients, as the service does; return the URLs of its database."""
    urls = provision_site(server, code, prefix=prefix_of(consortium.urls.central))
    people = _rows("northwest", 9)
    columns = [*FEATURE_NAMES, "insurance_cost"]
    with sessions_for(urls.owner)() as site, site.begin():
        names = {"first_name": "Test", "last_name": "Patient"}
        site.execute(insert(Patient), [{**names, **row} for row in people[columns].to_dict("records")])
    SiteUrlFile(consortium.data_dir).add(code, app=urls.app, train=urls.train)
    with consortium.central() as central:
        central.add(Institution(code=code, name="Lakeside Hospital"))
    return urls


def _eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def _states(consortium: Consortium) -> dict[str, str]:
    status = consortium.status()
    return {code: said["state"] for code, said in status.sites.items()} if status else {}


def _outcomes(consortium: Consortium) -> dict[str, set[tuple[str, str | None]]]:
    """Run a Round with everybody and return what each institution answered."""
    run_id = consortium.request_run(num_rounds=1, settings=SETTINGS)
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    said: dict[str, set[tuple[str, str | None]]] = {}
    for row in consortium.site_results(run_id):
        said.setdefault(row.institution.code, set()).add((row.outcome, row.reason))
    return said


def test_an_institution_joins_pauses_and_leaves_without_a_restart(
    consortium: Consortium, postgres_server: EmbeddedPostgres
) -> None:
    before = consortium.processes()
    used = {("ok", None)}
    urls = _add(consortium, postgres_server, "lakeside")
    _eventually(lambda: _states(consortium).get("lakeside") == "connected")
    assert _outcomes(consortium) == {"northeast": used, "southwest": used, "lakeside": used}
    environment = consortium.processes()["lakeside"].environ()
    assert urls.train not in environment.values(), "it came over the lifeline, so no other process saw it"

    with sessions_for(urls.owner)() as site, site.begin():
        site.add(Participation(consent="paused", changed_by=1, changed_by_name="The manager"))
    assert _outcomes(consortium)["lakeside"] == {("excluded", PAUSED)}

    process = consortium.processes()["lakeside"]
    with consortium.central() as central:
        central.scalars(select(Institution).where(Institution.code == "lakeside")).one().is_active = False
    _eventually(lambda: "lakeside" not in _states(consortium))
    _eventually(lambda: not process.is_running())
    assert set(_outcomes(consortium)) == set(REGIONS)
    with consortium.central() as central:
        central.scalars(select(Institution).where(Institution.code == "lakeside")).one().is_active = True
    _eventually(lambda: _states(consortium).get("lakeside") == "connected")

    after = consortium.processes()
    for role in ("superlink", "forkserver", *REGIONS):
        assert after[role].pid == before[role].pid, f"{role} was not disturbed"
    engine_for(urls.owner).dispose()
