"""`make bench-rounds`: seconds a Round by number of Sites, ours and unmodified Flower's, and of central training."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.consortium import Consortium, load_invented
from bench.plain import plain_flower
from bench.reference import SiteRows, central
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.provision import DatabaseUrls, provision
from db.states import RunStatus
from fl.settings import RunSettings
from fl.site_data import load_site_data

SITES = (2, 4, 8, 16)
PLAIN_SITES = (
    2,
    4,
)  # unmodified Flower starts a process with TensorFlow for each message: more Sites take many minutes
ROWS, ROUNDS, PLAIN_ROUNDS = 334, 20, 3
AT_4, AT_16 = 0.7, 2.5  # seconds a Round, on two cores that do nothing else
TIMES_FASTER = 25.0
SITE_MB = 700.0


@dataclass(frozen=True)
class Measured:
    """One Run's figures, seconds and MB.

    Attributes
    ----------
    per_round
        Median from the start of one Round to the start of the next.
    cpu_per_round
        Processor seconds of all the federation's processes over the whole Run, divided by its Rounds.
    to_first_point
        From the request to the commit of the first Round's metrics.
    pss, rss
        Of the largest Site process: proportional and resident.
    """

    up: float
    per_round: float
    cpu_per_round: float
    to_first_point: float
    pss: float
    rss: float


def measure(urls: DatabaseUrls, data_dir: Path) -> Measured:
    """Bring up a federation, make a short Run and a measured one, and take it down."""
    settings = RunSettings(round_time_limit=300, local_only=False)
    with Consortium(urls, data_dir) as consortium:
        up = consortium.wait_until_up(300)
        time.sleep(2)
        consortium.wait_until_ended(consortium.request_run(num_rounds=1, settings=settings))
        time.sleep(3)
        cpu = consortium.cpu_seconds()
        run_id = consortium.request_run(num_rounds=ROUNDS, settings=settings)
        run = consortium.wait_until_ended(run_id, timeout=900)
        cpu = consortium.cpu_seconds() - cpu
        if run.status != RunStatus.COMPLETED:
            raise SystemExit(f"The Run ended as {run.status}: {run.error}")
        listed = consortium.rounds(run_id)
        memory = [used for role, used in consortium.memory().items() if role in urls.sites]
    gaps = [
        (later.started_at - earlier.started_at).total_seconds()
        for earlier, later in itertools.pairwise(listed)
    ]
    first = listed[0].completed_at
    assert first is not None
    return Measured(
        up=up,
        per_round=statistics.median(gaps),
        cpu_per_round=cpu / ROUNDS,
        to_first_point=(first - run.requested_at).total_seconds(),
        pss=max(pss for pss, _ in memory),
        rss=max(rss for _, rss in memory),
    )


def rows_of(urls: DatabaseUrls) -> list[tuple[SiteRows, SiteRows]]:
    """Return each Site's training and held-out rows, as its ClientApp reads them."""
    sites = []
    for code in sorted(urls.sites):
        data = load_site_data(urls.sites[code], RunSettings().split_salt)
        engine_for(urls.sites[code]).dispose()
        sites.append(
            (SiteRows(data.train_inputs, data.train_cost), SiteRows(data.holdout_inputs, data.holdout_cost))
        )
    return sites


def seconds_central(sites: Sequence[tuple[SiteRows, SiteRows]]) -> float:
    """Return the seconds that the same epochs take on all training rows in one warm process, per Round."""
    rows = SiteRows(
        np.concatenate([trains.inputs for trains, _ in sites]),
        np.concatenate([trains.cost for trains, _ in sites]),
    )
    central(rows, rounds=1, seed=0, settings=RunSettings())
    started = time.perf_counter()
    central(rows, rounds=5, seed=0, settings=RunSettings())
    return (time.perf_counter() - started) / 5


def main() -> None:
    """Print a table that grows line by line, and the JSON line; leave with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", default=",".join(map(str, SITES)), help="numbers of Sites")
    parser.add_argument(
        "--no-plain", action="store_true", help="leave unmodified Flower out, which takes minutes"
    )
    arguments = parser.parse_args()
    print(
        f"{ROWS} invented patients a site, {RunSettings().local_epochs} local epochs, evaluation in every round; "
        f"load of the machine {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores\n"
    )
    print(
        "| sites | ours, s a round | CPU s | first point, s | up, s | site PSS / RSS, MB "
        "| unmodified Flower, s a round | CPU s | central Keras, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            for number in map(int, arguments.sites.split(",")):
                urls = provision(
                    server, [f"hospital{one:02d}" for one in range(1, number + 1)], prefix=f"n{number}_"
                )
                load_invented(urls, ROWS)
                rows = rows_of(urls)
                ours = measure(urls, Path(folder) / f"ours{number}")
                engine_for(urls.central).dispose()
                in_one_place = seconds_central(rows)
                plain = "- | -"
                figures[f"seconds_per_round_{number}"] = ours.per_round
                figures[f"cpu_seconds_per_round_{number}"] = ours.cpu_per_round
                figures[f"seconds_central_{number}"] = in_one_place
                figures["site_pss_mb"] = max(figures.get("site_pss_mb", 0.0), ours.pss)
                figures["site_rss_mb"] = max(figures.get("site_rss_mb", 0.0), ours.rss)
                if number in PLAIN_SITES and not arguments.no_plain:
                    seconds, cpu = plain_flower(rows, Path(folder) / f"plain{number}", PLAIN_ROUNDS)
                    figures[f"seconds_per_round_plain_{number}"] = seconds
                    figures[f"times_faster_{number}"] = seconds / ours.per_round
                    plain = f"{seconds:.1f} | {cpu:.1f}"
                print(
                    f"| {number} | {ours.per_round:.2f} | {ours.cpu_per_round:.2f} | {ours.to_first_point:.2f} "
                    f"| {ours.up:.1f} | {ours.pss:.0f} / {ours.rss:.0f} | {plain} | {in_one_place:.2f} |",
                    flush=True,
                )
        finally:
            server.stop()
            server.erase()
    missed = []
    for name, limit in (
        ("seconds_per_round_4", AT_4),
        ("seconds_per_round_16", AT_16),
        ("site_rss_mb", SITE_MB),
    ):
        if figures.get(name, 0.0) >= limit:
            missed.append(f"{name} is {figures[name]:.2f}, to be under {limit:g}")
    if figures.get("times_faster_4", TIMES_FASTER) < TIMES_FASTER:
        missed.append(
            f"at 4 sites {figures['times_faster_4']:.1f} times faster, to be at least {TIMES_FASTER:g}"
        )
    print(f"\nload of the machine at the end {os.getloadavg()[0]:.1f}")
    for one in missed:
        print(f"missed: {one}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
