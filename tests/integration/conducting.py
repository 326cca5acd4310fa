"""Runs for tests of how a Run is conducted: ask for one, conduct it in this process, read what was recorded."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pandas as pd
from sqlalchemy import delete, select
from sqlalchemy.orm import undefer

from bench.consortium import load_institutions
from bench.data import cohort_of
from db.central import Institution, ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.cohort import generate
from db.engines import sessions_for
from db.federation import RunEvent
from db.provision import DatabaseUrls
from db.states import RunKind, RunStatus
from db.supernode_keys import SupernodeKey
from fl.recorder import RunRecorder
from fl.server_app import conduct
from fl.settings import RunSettings
from tests.integration.local_grid import LocalGrid

QUICK: dict[str, Any] = {
    "local_epochs": 1,
    "round_time_limit": 1.0,
    "join_time_limit": 1.0,
    "local_only": False,
}


def load_hospitals(urls: DatabaseUrls, patients: int = 400) -> None:
    """Fill four hospitals with invented patients, always the same."""
    load_institutions(urls, cohort_of(pd.DataFrame(vars(generate(patients, seed=2)))).frame)


def insert_run(
    urls: DatabaseUrls,
    settings: RunSettings,
    *,
    kind: RunKind = RunKind.FEDERATED,
    rounds: int = 2,
    strategy: str = "fedavg",
    **columns: Any,
) -> int:
    """Insert a Run as the supervisor hands it over; return its id."""
    with sessions_for(urls.central)() as session, session.begin():
        run = TrainingRun(
            idempotency_key=str(uuid.uuid4()),
            kind=kind,
            num_rounds=rounds if kind is RunKind.FEDERATED else 0,
            strategy=strategy,
            settings=settings.to_json(),
            seed=5,
            status=RunStatus.STARTING,
            **columns,
        )
        session.add(run)
        session.flush()
        return run.id


def request_run(
    urls: DatabaseUrls,
    *,
    rounds: int = 2,
    strategy: str = "fedavg",
    resumed_from: int | None = None,
    **settings: Any,
) -> int:
    """Insert a quick federated Run with these settings; return its id."""
    chosen = RunSettings(**{**QUICK, **settings})
    return insert_run(urls, chosen, rounds=rounds, strategy=strategy, resumed_from_id=resumed_from)


def conduct_run(
    urls: DatabaseUrls, run_id: int, grid: LocalGrid | None = None, patience: float = 0.0
) -> RunRecorder:
    """Conduct a Run to its end; what ends it early is raised."""
    recorder = RunRecorder(urls.app_central, run_id, patience)
    grid = grid or LocalGrid(urls.train_sites)
    conduct(grid, recorder.plan(), recorder, grid.binding)
    return recorder


def register_keys(urls: DatabaseUrls) -> None:
    """Let the supervisor have told SuperLink of a key of each Site; a `LocalGrid` has the same ids."""
    with sessions_for(urls.central)() as session, session.begin():
        session.execute(delete(SupernodeKey))
        for number, institution in enumerate(
            session.scalars(select(Institution).order_by(Institution.code)), start=1
        ):
            session.add(
                SupernodeKey(
                    institution_id=institution.id,
                    public_key="a key",
                    fingerprint=institution.code,
                    flwr_node_id=str(number),
                )
            )


def run_of(urls: DatabaseUrls, run_id: int) -> TrainingRun:
    """Read a Run."""
    with sessions_for(urls.central)() as session:
        return session.get_one(TrainingRun, run_id)


def rounds_of(urls: DatabaseUrls, run_id: int) -> Sequence[TrainingRound]:
    """Read the Rounds of a Run with their checkpoints."""
    query = (
        select(TrainingRound)
        .where(TrainingRound.run_id == run_id)
        .order_by(TrainingRound.round_number)
        .options(undefer(TrainingRound.weights), undefer(TrainingRound.server_state))
    )
    with sessions_for(urls.central)() as session:
        return session.scalars(query).all()


def results_of(urls: DatabaseUrls, run_id: int) -> dict[tuple[str, str, int], SiteResult]:
    """Read what the Sites sent: (institution code, phase, Round) -> row."""
    query = select(SiteResult).where(SiteResult.run_id == run_id).options(undefer(SiteResult.update))
    with sessions_for(urls.central)() as session:
        return {(row.institution.code, row.phase, row.round_number): row for row in session.scalars(query)}


def version_of(urls: DatabaseUrls, run_id: int) -> ModelVersion:
    """Read the version that a Run made."""
    with sessions_for(urls.central)() as session:
        return session.scalars(select(ModelVersion).where(ModelVersion.run_id == run_id)).one()


def events_of(urls: DatabaseUrls, run_id: int) -> list[str]:
    """Read the sentences of a Run's log."""
    query = select(RunEvent.message).where(RunEvent.run_id == run_id).order_by(RunEvent.id)
    with sessions_for(urls.central)() as session:
        return list(session.scalars(query))


def asked_in(grid: LocalGrid, message_type: str, round_number: int) -> list[str]:
    """Return the codes that were sent a message of a Round, in the order of sending."""
    codes = sorted(grid.site_urls)
    return [
        codes[message.metadata.dst_node_id - 1]
        for message in grid.sent
        if message.metadata.message_type == message_type and message.metadata.group_id == str(round_number)
    ]
