"""`make simulate N=1000`: the real ServerApp and ClientApp for 10, 100 and 1,000 invented institutions."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
from flwr.app import Context, RecordDict
from sqlalchemy import insert, select, text

from bench.consortium import patient_id
from bench.simulated_grid import RUN_ID, SimulatedGrid
from db.central import Institution, SiteResult, TrainingRound, TrainingRun
from db.cohort import REGIONS, generate
from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.provision import provision
from db.site import SiteBase
from db.states import Phase, RunStatus
from db.supernode_keys import SupernodeKey
from fl.features import FEATURE_NAMES
from fl.settings import RunSettings

ROWS = 334  # patients of each institution, as in a region of the published data
ROUNDS = 5
SAMPLE_SECONDS = 2.0
SITE = "simulated"


@dataclass(frozen=True)
class Simulated:
    """One Run over n institutions.

    Attributes
    ----------
    per_round
        Seconds, median from the start of one Round to the start of the next.
    at_sites
        Processor-bound seconds that all institutions' work of a Round takes, added up.
    at_server
        Seconds of a Round that are not the institutions' work on the workers there are: recording, averaging, moving.
    memory_mb
        Highest sum of the proportional set sizes of ServerApp and workers; PostgreSQL is not counted.
    """

    institutions: int
    rounds: int
    per_round: float
    at_sites: float
    at_server: float
    whole_run: float
    memory_mb: float
    r2: float
    answers: int


def make_institutions(server: EmbeddedPostgres, institutions: int) -> tuple[str, dict[str, str]]:
    """Make the central database, and one site database with a schema for each institution; return their URLs.

    A database each would be eight gigabytes for a thousand. The site's URL names the schema (`search_path`), so the
    ClientApp reads its own tables as it does anywhere.
    """
    urls = provision(server, [SITE], prefix=f"n{institutions}_")
    site_url = urls.sites[SITE]
    codes = [f"hospital-{number:04d}" for number in range(1, institutions + 1)]
    with sessions_for(urls.central)() as session, session.begin():
        session.execute(insert(Institution), [{"code": code, "name": f"Hospital {code}"} for code in codes])
    connection = engine_for(site_url).raw_connection()
    try:
        assert connection.driver_connection is not None
        with connection.driver_connection.cursor() as cursor:
            for number, code in enumerate(codes):
                schema = _schema(code)
                cursor.execute(f"CREATE SCHEMA {schema}")
                for table in SiteBase.metadata.sorted_tables:
                    cursor.execute(
                        f"CREATE TABLE {schema}.{table.name} (LIKE public.{table.name} INCLUDING DEFAULTS)"
                    )
                cursor.copy_expert(
                    f"COPY {schema}.patients (id, first_name, last_name, insurance_cost, {', '.join(FEATURE_NAMES)}) "
                    "FROM STDIN (FORMAT csv)",
                    _patients(code, number),
                )
                connection.commit()
    finally:
        connection.close()
        engine_for(site_url).dispose()
    option = quote("-csearch_path=", safe="")
    return urls.central, {code: f"{site_url}?options={option}{_schema(code)}" for code in codes}


def _schema(code: str) -> str:
    return code.replace("-", "_")


def _patients(code: str, number: int) -> io.StringIO:
    cohort = generate(ROWS, seed=number, region=REGIONS[number % len(REGIONS)])
    columns = [getattr(cohort, name) for name in ("insurance_cost", *FEATURE_NAMES)]
    lines = (
        ",".join([str(patient_id(code, row)), "Test", f"Patient {row}", *map(str, values)])
        for row, values in enumerate(zip(*columns, strict=True))
    )
    return io.StringIO("\n".join(lines))


def run_once(central_url: str, site_urls: dict[str, str], rounds: int, workers: int) -> Simulated:
    """Conduct one Run over all institutions with the product's own apps."""
    from fl.server_app import app

    os.environ["CENTRAL_DATABASE_URL"] = central_url
    settings = RunSettings(round_time_limit=3600.0, local_only=False)
    with sessions_for(central_url)() as session, session.begin():
        session.add(
            TrainingRun(
                idempotency_key=str(uuid.uuid4()),
                num_rounds=rounds,
                strategy="fedavg",
                settings=settings.to_json(),
                seed=7,
                status=RunStatus.STARTING,
                flwr_run_id=str(RUN_ID),
            )
        )
        ids = {code: row_id for row_id, code in session.execute(select(Institution.id, Institution.code))}
        session.add_all(
            SupernodeKey(
                institution_id=ids[code], public_key="simulated", fingerprint=code, flwr_node_id=str(number)
            )
            for number, code in enumerate(sorted(site_urls), start=1)
        )
    grid = SimulatedGrid(site_urls, workers)
    try:
        with _memory_of([os.getpid(), *grid.worker_pids]) as memory:
            started = time.perf_counter()
            app(grid=grid, context=Context(RUN_ID, 0, {}, RecordDict(), {}))
            whole = time.perf_counter() - started
    finally:
        grid.close()
    with sessions_for(central_url)() as session:
        run = session.scalars(select(TrainingRun)).one()
        if run.status != RunStatus.COMPLETED:
            raise SystemExit(f"The Run ended as {run.status}: {run.error}")
        listed = session.scalars(select(TrainingRound).order_by(TrainingRound.round_number)).all()
        trained = (
            session.execute(
                select(SiteResult.seconds).where(SiteResult.phase == Phase.TRAIN, SiteResult.outcome == "ok")
            )
            .scalars()
            .all()
        )
    engine_for(central_url).dispose()
    gaps = [
        (later.started_at - earlier.started_at).total_seconds()
        for earlier, later in itertools.pairwise(listed)
    ]
    per_round, at_sites = statistics.median(gaps), sum(value or 0.0 for value in trained) / rounds
    last = listed[-1].r2
    assert last is not None
    return Simulated(
        institutions=len(site_urls),
        rounds=rounds,
        per_round=per_round,
        at_sites=at_sites,
        at_server=max(per_round - at_sites / workers, 0.0),
        whole_run=whole,
        memory_mb=max(memory),
        r2=last,
        answers=len(trained),
    )


@contextmanager
def _memory_of(pids: Sequence[int]) -> Iterator[list[float]]:
    """Sample the sum of the processes' proportional set sizes, MB, while the block runs."""
    samples = [0.0]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS / 4 if len(samples) == 1 else SAMPLE_SECONDS):
            total = 0.0
            for pid in pids:
                try:
                    total += psutil.Process(pid).memory_full_info().pss / 1e6
                except psutil.Error:
                    continue
            samples.append(total)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def sizes_up_to(most: int) -> list[int]:
    """Return 10, 100, 1,000 as far as they are below `most`, and `most`."""
    return [size for size in (10, 100, 1000) if size < most] + [most]


def main() -> None:
    """Print a table that grows line by line, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("most", type=int, nargs="?", default=1000, help="institutions, from 2 to 1000")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--workers", type=int, default=max(os.cpu_count() or 1, 2), help="processes that train"
    )
    arguments = parser.parse_args()
    if not 2 <= arguments.most <= 1000 or arguments.rounds < 2:
        parser.error("from 2 to 1000 institutions and at least 2 rounds")
    print(
        f"{ROWS} invented patients each, {RunSettings().local_epochs} local epochs, {arguments.rounds} rounds, "
        f"{arguments.workers} worker processes; load of the machine {os.getloadavg()[0]:.1f}\n"
    )
    print(
        "| institutions | a round, s | of it server, s | a site's work, ms | whole run, s | memory, MB | R² |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        with engine_for(server.url()).connect().execution_options(isolation_level="AUTOCOMMIT") as superuser:
            for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
                superuser.execute(text(statement))  # nothing here must survive a power cut
        engine_for(server.url()).dispose()
        try:
            for size in sizes_up_to(arguments.most):
                one = run_once(*make_institutions(server, size), arguments.rounds, arguments.workers)
                results.append(one)
                work = 1000 * one.at_sites / size
                print(
                    f"| {size:,} | {one.per_round:.2f} | {one.at_server:.2f} | {work:.0f} | {one.whole_run:.1f} "
                    f"| {one.memory_mb:,.0f} | {one.r2:.3f} |",
                    flush=True,
                )
                if one.answers != size * one.rounds:
                    raise SystemExit(f"{one.answers} of {size * one.rounds} answers were usable")
        finally:
            server.stop()
            server.erase()
    print(f"\nload of the machine at the end {os.getloadavg()[0]:.1f}")
    print(
        json.dumps(
            {
                str(one.institutions): {
                    "seconds_per_round": round(one.per_round, 3),
                    "seconds_server": round(one.at_server, 3),
                    "memory_mb": round(one.memory_mb),
                    "r2": round(one.r2, 4),
                }
                for one in results
            }
        )
    )


if __name__ == "__main__":
    main()
