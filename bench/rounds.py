"""`make bench-rounds`: seconds a Round in this product, in unmodified Flower, and of central training, in one run."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.consortium import Consortium, load_institutions
from bench.data import Cohort, insurance_cohort
from bench.reference import SiteRows, central
from db.embedded import EmbeddedPostgres
from db.provision import DatabaseUrls, provision
from db.states import RunStatus
from fl.settings import RunSettings

ROUNDS = 10
STOCK_ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """One Run's figures, seconds.

    Attributes
    ----------
    per_round
        Median from the start of one Round to the start of the next.
    cpu_per_round
        Processor seconds of all the federation's processes over the whole Run, divided by its Rounds.
    to_first_point
        From the request to the commit of the first Round's metrics.
    """

    up: float
    per_round: float
    cpu_per_round: float
    to_first_point: float
    whole_run: float


def measure(urls: DatabaseUrls, data_dir: Path, runtime: str, rounds: int) -> Measured:
    """Bring up a federation, make one Run, and take it down."""
    with Consortium(urls, data_dir, runtime) as consortium:
        up = consortium.wait_until_up()
        time.sleep(2)
        cpu = consortium.cpu_seconds()
        run_id = consortium.request_run(num_rounds=rounds, settings=RunSettings(round_time_limit=300))
        run = consortium.wait_until_ended(run_id, timeout=900)
        cpu = consortium.cpu_seconds() - cpu
        if run.status != RunStatus.COMPLETED:
            raise SystemExit(f"The Run ended as {run.status}: {run.error}")
        listed = consortium.rounds(run_id)
    starts = [row.started_at for row in listed]
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(starts)]
    first = listed[0].completed_at
    assert first is not None and run.finished_at is not None
    return Measured(
        up=up,
        per_round=statistics.median(gaps),
        cpu_per_round=cpu / rounds,
        to_first_point=(first - run.requested_at).total_seconds(),
        whole_run=(run.finished_at - run.requested_at).total_seconds(),
    )


def seconds_central(cohort: Cohort) -> float:
    """Return the seconds that the same epochs take on all rows in one warm process, per Round."""
    trains = cohort.training_side(0)
    rows = SiteRows(cohort.inputs[trains], cohort.cost[trains])
    central(rows, rounds=1, seed=0, settings=RunSettings())
    started = time.perf_counter()
    central(rows, rounds=ROUNDS, seed=0, settings=RunSettings())
    return (time.perf_counter() - started) / ROUNDS


def main() -> None:
    """Print the table and the JSON line."""
    cohort = insurance_cohort()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        server = EmbeddedPostgres(data_dir / "postgres")
        server.start()
        try:
            urls = provision(server, cohort.sites)
            load_institutions(urls, cohort.frame)
            ours = measure(urls, data_dir / "warm", "warm", ROUNDS)
            print(
                f"warm SuperNodes: {ours.per_round:.2f} s a round; now unmodified Flower, about two minutes",
                flush=True,
            )
            stock = measure(urls, data_dir / "stock", "stock", STOCK_ROUNDS)
        finally:
            server.stop()
            server.erase()
    one_place = seconds_central(cohort)
    print(
        f"\n{len(cohort.sites)} sites, {RunSettings().local_epochs} local epochs, evaluation in every round, seconds"
    )
    print(f"  {'':<34}{'ours':>8}{'unmodified Flower':>20}")
    for label, name in (
        ("federation up", "up"),
        ("request to first chart point", "to_first_point"),
        ("one round, median", "per_round"),
        ("processor time a round", "cpu_per_round"),
    ):
        print(f"  {label:<34}{getattr(ours, name):>8.2f}{getattr(stock, name):>20.2f}")
    print(f"  {f'whole run of {ROUNDS} rounds':<34}{ours.whole_run:>8.2f}")
    print(f"  the same epochs on all rows in one process: {one_place:.2f} a round")
    print(
        json.dumps(
            {
                "sites": len(cohort.sites),
                "seconds_per_round": round(ours.per_round, 3),
                "cpu_seconds_per_round": round(ours.cpu_per_round, 3),
                "seconds_per_round_stock": round(stock.per_round, 3),
                "seconds_press_to_first_point": round(ours.to_first_point, 3),
                "seconds_central": round(one_place, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
