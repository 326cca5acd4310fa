"""A real consortium for benchmarks and federation tests: databases, supervisor, SuperLink, SuperNodes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.central import Institution, ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.cohort import REGIONS, generate
from db.engines import sessions_for
from db.federation import FederationStatus
from db.provision import DatabaseUrls
from db.site import Patient
from db.states import RunStatus
from fl.features import FEATURE_NAMES
from fl.runtime.children import still_running
from fl.settings import RunSettings

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PATIENT_IDS = uuid.UUID("2f6a7e5e-3c0f-4f0b-8a52-9f0d4d8c6b11")


def load_institutions(urls: DatabaseUrls, frame: pd.DataFrame) -> None:
    """Make one institution per site database and give it the rows of its region; ids repeat from call to call."""
    load_rows(urls, {code: frame[frame["region"] == code] for code in urls.sites})


def load_invented(urls: DatabaseUrls, rows: int) -> None:
    """Make one institution per site database and invent so many patients for each, in the four regions in turn."""
    frames = {
        code: pd.DataFrame(vars(generate(rows, seed=number, region=REGIONS[number % len(REGIONS)])))
        for number, code in enumerate(sorted(urls.sites))
    }
    load_rows(urls, frames)


def load_rows(urls: DatabaseUrls, frames: Mapping[str, pd.DataFrame]) -> None:
    """Make one institution per site database and give it the rows under its code."""
    with sessions_for(urls.central)() as session, session.begin():
        session.add_all(Institution(code=code, name=f"Hospital {code}") for code in sorted(urls.sites))
    for code, url in urls.sites.items():
        load_patients(url, code, frames[code])


def load_patients(url: str, code: str, frame: pd.DataFrame) -> None:
    """Put the rows into one Site's database."""
    rows = [
        {
            "id": patient_id(code, number),
            "first_name": "Test",
            "last_name": f"Patient {number}",
            "insurance_cost": row["insurance_cost"],
            **{name: row[name] for name in FEATURE_NAMES},
        }
        for number, row in enumerate(frame.to_dict("records"))
    ]
    with sessions_for(url)() as session, session.begin():
        if rows:
            session.execute(insert(Patient), rows)


def patient_id(code: str, number: int) -> uuid.UUID:
    """Return the id that `load_institutions` gives to a Site's row."""
    return uuid.uuid5(PATIENT_IDS, f"{code}:{number}")


@dataclass
class Consortium:
    """One supervisor with its federation over given databases; use as a context manager.

    Attributes
    ----------
    runtime
        `warm` or `stock`.
    environment
        Further variables of the supervisor.
    """

    urls: DatabaseUrls
    data_dir: Path
    runtime: str = "warm"
    environment: Mapping[str, str] = field(default_factory=dict)
    _supervisors: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Consortium:
        self.start_supervisor()
        return self

    def __exit__(self, *exception: object) -> None:
        for supervisor in self._supervisors:
            assert supervisor.stdin is not None
            supervisor.stdin.close()
        for supervisor in self._supervisors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                supervisor.wait(timeout=15)
            if supervisor.poll() is None:
                supervisor.kill()
                supervisor.wait()

    def start_supervisor(self) -> subprocess.Popen[bytes]:
        """Start a supervisor as the web process does."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "CENTRAL_DATABASE_URL": self.urls.app_central,
            "SITE_TRAIN_DATABASE_URLS": json.dumps(self.urls.train_sites),
            "DATA_DIR": str(self.data_dir),
            "FLOWER_RUNTIME": self.runtime,
            **self.environment,
        }
        with (self.data_dir / "supervisor.log").open("ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "fl.runtime.supervisor"],
                cwd=PROJECT_ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._supervisors.append(supervisor)
        return supervisor

    @contextlib.contextmanager
    def central(self) -> Iterator[Session]:
        """Open a transaction on the central database."""
        with sessions_for(self.urls.central)() as session, session.begin():
            yield session

    def status(self) -> FederationStatus | None:
        """Return what the leading supervisor last said."""
        with self.central() as session:
            return session.get(FederationStatus, 1)

    def wait_until_up(self, timeout: float = 120.0) -> float:
        """Wait until a supervisor of ours says that all Sites are connected; return the seconds it took."""
        started = time.monotonic()
        ours = {f":{supervisor.pid}" for supervisor in self._supervisors if supervisor.poll() is None}
        while time.monotonic() - started < timeout:
            status = self.status()
            if status and status.state == "up" and any(status.leader.endswith(pid) for pid in ours):
                return time.monotonic() - started
            time.sleep(0.1)
        raise TimeoutError(f"the federation was not up after {timeout:g} s; see {self.data_dir}/logs")

    def request_run(
        self,
        *,
        num_rounds: int = 3,
        seed: int = 7,
        settings: RunSettings | None = None,
        status: RunStatus = RunStatus.QUEUED,
    ) -> int:
        """Insert a Run as the service does; return its id."""
        with self.central() as session:
            run = TrainingRun(
                idempotency_key=str(uuid.uuid4()),
                num_rounds=num_rounds,
                strategy="fedavg",
                settings=(settings or RunSettings()).to_json(),
                seed=seed,
                status=status,
            )
            session.add(run)
            session.flush()
            return run.id

    def run(self, run_id: int) -> TrainingRun:
        """Return the Run's row as it is now."""
        with self.central() as session:
            return session.get_one(TrainingRun, run_id)

    def wait_for(
        self, run_id: int, *statuses: RunStatus, round_number: int = 0, timeout: float = 120.0
    ) -> TrainingRun:
        """Wait until the Run has one of the statuses, and at least this Round."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            run = self.run(run_id)
            if run.status in statuses and run.current_round >= round_number:
                return run
            if run.finished_at is not None:
                raise AssertionError(f"Run {run_id} ended as {run.status}: {run.error}")
            time.sleep(0.05)
        raise TimeoutError(f"Run {run_id} is {run.status} in round {run.current_round} after {timeout:g} s")

    def wait_until_ended(self, run_id: int, timeout: float = 300.0) -> TrainingRun:
        """Wait until the Run is over, however it ended."""
        deadline = time.monotonic() + timeout
        while (run := self.run(run_id)).finished_at is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Run {run_id} is still {run.status} after {timeout:g} s")
            time.sleep(0.05)
        return run

    def rounds(self, run_id: int) -> Sequence[TrainingRound]:
        """Return the Run's Rounds in order."""
        with self.central() as session:
            query = select(TrainingRound).where(TrainingRound.run_id == run_id)
            return session.scalars(query.order_by(TrainingRound.round_number)).all()

    def site_results(self, run_id: int) -> Sequence[SiteResult]:
        """Return what the Sites sent, in the order of arrival."""
        with self.central() as session:
            query = select(SiteResult).where(SiteResult.run_id == run_id)
            return session.scalars(query.order_by(SiteResult.id)).all()

    def version(self, run_id: int) -> ModelVersion | None:
        """Return the version that the Run made."""
        with self.central() as session:
            return session.scalar(select(ModelVersion).where(ModelVersion.run_id == run_id))

    def processes(self) -> dict[str, psutil.Process]:
        """Return the running processes by role: superlink, forkserver, and each institution's code."""
        return still_running(self.data_dir / "run" / "federation-children.json")

    def memory(self) -> dict[str, tuple[float, float]]:
        """Return MB of memory by role, each process with its children: proportional (PSS) and resident (RSS).

        ServerApps, which are children of SuperLink's, are a role of their own.
        """
        used = {}
        roles = {process.pid: role for role, process in self.processes().items()}
        for supervisor in self._supervisors:
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(supervisor.pid)
                used["supervisor"] = _megabytes([root])
                for child in root.children(recursive=True):
                    role = roles.get(child.pid)
                    if role is None:
                        continue
                    below = [] if role == "forkserver" else child.children(recursive=True)
                    conducting = [one for one in below if _conducts(one)]
                    used[role] = _megabytes([child, *(one for one in below if one not in conducting)])
                    if conducting:
                        used["serverapp"] = _megabytes(conducting)
        return used

    def cpu_seconds(self) -> float:
        """Return the processor seconds that the supervisor and all below it have used so far."""
        total = 0.0
        for supervisor in self._supervisors:
            root = psutil.Process(supervisor.pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += sum(process.cpu_times()[:4])
        return total


def _conducts(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "flwr-serverapp" in " ".join(process.cmdline())
    return False


def _megabytes(processes: Sequence[psutil.Process]) -> tuple[float, float]:
    pss = rss = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            pss += memory.pss / 1e6
            rss += memory.rss / 1e6
    return pss, rss
