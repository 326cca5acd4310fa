"""`make soak`: 200 Rounds with ten Sites, one killed every ten Rounds: what is lost, and whose memory grows."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from bench.consortium import Consortium, load_invented
from db.central import SiteResult, TrainingRun
from db.embedded import EmbeddedPostgres
from db.provision import provision
from db.states import ENDED_STATUSES, Phase, RunStatus, SiteOutcome
from fl.settings import RunSettings

ROUNDS, SITES, ROWS = 200, 10, 334
KILL_EVERY = 10  # Rounds
SEED = 20260101
# Rounds after which memory has to be level: pools, caches and compiled graphs are filled by then.
WARM_UP = 40
# Growth over the rest of the Run that counts as level; the ServerApp keeps every Round's model, 48 kB each.
LEVEL_MB = 20.0
LOOK_SECONDS = 0.05


@dataclass
class Soaked:
    """What was seen.

    Attributes
    ----------
    killed
        (Round that stood when a Site was killed, its code).
    memory
        Role -> (Round, MB of PSS) at each sample; roles `sites` and `a site` are their sum and their mean.
    """

    killed: list[tuple[int, str]] = field(default_factory=list)
    memory: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def sample(self, consortium: Consortium, number: int) -> None:
        """Add one sample of the memory of every process."""
        used = {role: pss for role, (pss, _) in consortium.memory().items()}
        sites = [used.pop(code) for code in consortium.urls.sites if code in used]
        used["a site"] = sum(sites) / len(sites)
        for role, megabytes in used.items():
            self.memory[role].append((number, megabytes))

    def slope(self, role: str) -> float:
        """Return MB a hundred Rounds after the warm-up, by least squares."""
        later = [sample for sample in self.memory[role] if sample[0] >= WARM_UP]
        numbers, megabytes = np.array(later).T
        return float(np.polyfit(numbers, megabytes, 1)[0] * 100)


def soak(consortium: Consortium, rounds: int) -> tuple[int, Soaked]:
    """Make one Run, killing a Site every ten Rounds; return the Run's id and what was seen."""
    chance, seen = random.Random(SEED), Soaked()
    settings = RunSettings(round_time_limit=120, local_only=False)
    run_id = consortium.request_run(num_rounds=rounds, settings=settings)
    last = 0
    while (run := consortium.run(run_id)).status not in ENDED_STATUSES:
        number = run.current_round
        if number >= last + KILL_EVERY and run.status == RunStatus.TRAINING:
            last = number - number % KILL_EVERY
            code = chance.choice(sorted(consortium.urls.sites))
            victim = consortium.processes().get(code)
            seen.sample(consortium, number)
            if victim is not None and number < rounds - 1:
                victim.kill()
                seen.killed.append((number, code))
            print(
                f"round {number:>3}: killed {code}; MB "
                + ", ".join(f"{role} {samples[-1][1]:.0f}" for role, samples in sorted(seen.memory.items())),
                flush=True,
            )
        time.sleep(LOOK_SECONDS)
    if run.status != RunStatus.COMPLETED:
        raise SystemExit(f"The Run ended as {run.status}: {run.error}")
    return run_id, seen


def answers_lost(consortium: Consortium, run_id: int, seen: Soaked, rounds: int) -> tuple[list[str], int]:
    """Return a line for each answer that is missing without its Site having been killed, and how many were expected.

    A killed Site may miss answers from the Round in which it was killed until it answers again; after that, and for
    every other Site, each Round must have its row, and the row must be `ok`.
    """
    with consortium.central() as session:
        rows = session.scalars(
            select(SiteResult).where(SiteResult.run_id == run_id, SiteResult.phase == Phase.TRAIN)
        ).all()
    outcome = {(row.institution.code, row.round_number): row.outcome for row in rows}
    lost, expected = [], 0
    for code in sorted(consortium.urls.sites):
        deaths = {number for number, killed in seen.killed if killed == code}
        away = False
        for number in range(1, rounds + 1):
            there = outcome.get((code, number)) == SiteOutcome.OK
            away = not there and (away or number in deaths or number - 1 in deaths)
            expected += not away
            if not there and not away:
                lost.append(f"{code}, round {number}: {outcome.get((code, number), 'no row')}")
    return lost, expected


def main() -> None:
    """Print the figures and the JSON line; leave with 1 if an answer was lost or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            urls = provision(server, [f"hospital{number:02d}" for number in range(1, SITES + 1)])
            load_invented(urls, ROWS)
            with Consortium(urls, Path(folder) / "federation") as consortium:
                consortium.wait_until_up(300)
                time.sleep(2)
                run_id, seen = soak(consortium, rounds)
                lost, expected = answers_lost(consortium, run_id, seen, rounds)
                listed = consortium.rounds(run_id)
                with consortium.central() as session:
                    whole = session.scalar(
                        select(func.extract("epoch", TrainingRun.finished_at - TrainingRun.started_at)).where(
                            TrainingRun.id == run_id
                        )
                    )
        finally:
            server.stop()
            server.erase()
    took = [
        (later.started_at - earlier.started_at).total_seconds()
        for earlier, later in itertools.pairwise(listed)
    ]
    struck = {number for number, _ in seen.killed}
    calm = [seconds for number, seconds in enumerate(took, 1) if number not in struck]
    worst = max((took[number - 1] for number in struck if number <= len(took)), default=0.0)
    growing = {role: seen.slope(role) for role in seen.memory}
    print(
        f"\n| {rounds} rounds, {SITES} sites, {len(seen.killed)} killed; load {os.getloadavg()[0]:.1f} | |\n|---|---|"
    )
    print(f"| whole run, s | {float(whole or 0):.0f} |")
    print(f"| a round without a death, median, s | {np.median(calm):.2f} |")
    print(f"| longest round in which a site was killed, s | {worst:.2f} |")
    print(f"| answers of sites that were not killed | {expected - len(lost)} of {expected} |")
    for role in sorted(growing):
        samples = seen.memory[role]
        print(
            f"| {role}, MB of PSS at the first and last sample, growth in 100 rounds after round {WARM_UP} "
            f"| {samples[0][1]:.0f}, {samples[-1][1]:.0f}, {growing[role]:+.1f} |"
        )
    for line in lost:
        print(f"lost: {line}")
    level = all(slope * (rounds - WARM_UP) / 100 < LEVEL_MB for slope in growing.values())
    print(
        json.dumps(
            {
                "rounds": rounds,
                "killed": len(seen.killed),
                "answers_lost": len(lost),
                "seconds_per_round": round(float(np.median(calm)), 3),
                "seconds_worst_kill": round(worst, 3),
                "growth_mb_per_100_rounds": {role: round(slope, 2) for role, slope in growing.items()},
            }
        )
    )
    sys.exit(0 if not lost and level else 1)


if __name__ == "__main__":
    main()
