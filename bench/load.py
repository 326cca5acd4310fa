"""`make bench-load`: 200 predictions a second and 50 open pages while a Run goes on and PostgreSQL restarts once."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, select

from app.auth.passwords import hash_password
from app.auth.sessions import new_secret, sha256
from bench.consortium import Consortium, load_invented
from bench.hospital import inputs_of
from bench.served import PROJECT_ROOT, served
from db.central import Institution, MedicalWorker, Session, TrainingRound
from db.cohort import REGIONS, generate
from db.embedded import EmbeddedPostgres
from db.engines import sessions_for
from db.provision import DatabaseUrls, provision
from db.site import AccessEvent, Patient, Prediction
from db.states import ENDED_STATUSES, Role, RunStatus
from fl.settings import RunSettings

EACH_SECOND, SECONDS, SESSIONS, CONNECTIONS = 200, 60, 50, 100
PROCESSES = 2
KEPT_UP = 0.95  # of what is asked for each second; what a restart holds back is caught up
THINK = 15.0  # seconds that a person reads a page before the next
ROWS = 400  # patients of each hospital
PAGES = ["overview", "patients", "history", "predict", "model_card"]
PASSWORD = "a password for the benchmark"  # noqa: S105 - of accounts that live as long as this process


@dataclass
class Training:
    """What the Runs beside the load came to; a thread asks for another as soon as one has ended."""

    ended: list[tuple[int, str, str | None]] = field(default_factory=list)
    rounds: int = 0


def staff(urls: DatabaseUrls) -> tuple[list[str], list[str]]:
    """Make a doctor for each hospital and open the sessions of `SESSIONS` browsers; e-mails and cookie secrets."""
    hashed, secrets = hash_password(PASSWORD), [new_secret() for _ in range(SESSIONS)]
    with sessions_for(urls.central)() as central, central.begin():
        institutions = central.scalars(select(Institution).order_by(Institution.code)).all()
        doctors = [
            MedicalWorker(
                email=f"doctor@{institution.code}.load.local",
                password_hash=hashed,
                name="The doctor",
                role=Role.DOCTOR,
                institution_id=institution.id,
            )
            for institution in institutions
        ]
        central.add_all(doctors)
        central.flush()
        for number, secret in enumerate(secrets):
            central.add(
                Session(
                    worker_id=doctors[number % len(doctors)].id,
                    token_sha256=sha256(secret),
                    expires_at=func.now() + func.make_interval(0, 0, 0, 0, 1),
                )
            )
        return [doctor.email for doctor in doctors], secrets


def plan_of(
    addresses: list[str], emails: list[str], urls: DatabaseUrls, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Sign the doctors in and write what each will send; connections are shared out over the addresses."""
    tokens, bodies = [], []
    for number, email in enumerate(emails):
        answer = httpx.post(
            f"{addresses[0]}/api/auth/login", json={"email": email, "password": PASSWORD}, timeout=60
        )
        answer.raise_for_status()
        tokens.append(answer.json()["access_token"])
        with sessions_for(urls.sites[email.split("@")[1].split(".")[0]])() as site:
            patients = site.scalars(select(Patient.id).limit(ROWS)).all()
        people = inputs_of(generate(ROWS, seed=number))
        bodies.append(
            [
                json.dumps({**inputs, "patient_id": str(patient)})
                for inputs, patient in zip(people, patients, strict=True)
            ]
        )
    return {
        "addresses": addresses,
        "tokens": tokens,
        "bodies": bodies,
        "count": arguments.each_second * arguments.seconds,
        "each_second": arguments.each_second,
        "begins_in": 8,
    }


@contextmanager
def training(consortium: Consortium, seen: Training) -> Iterator[None]:
    """Keep a Run going until the block ends, and cancel the last."""
    stop = threading.Event()

    def keep_going() -> None:
        run_id = 0
        while not stop.wait(0.2):
            try:
                run = consortium.run(run_id) if run_id else None
                if run is not None and run.status in ENDED_STATUSES:
                    seen.ended.append((run_id, run.status, run.error))
                if run is None or run.status in ENDED_STATUSES:
                    run_id = consortium.request_run(num_rounds=500, settings=RunSettings(local_only=False))
            except Exception:  # the database is restarting
                time.sleep(0.2)

    before = rounds_completed(consortium)
    thread = threading.Thread(target=keep_going, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        seen.rounds = rounds_completed(consortium) - before


def rounds_completed(consortium: Consortium) -> int:
    """Return how many Rounds have been completed so far."""
    with consortium.central() as central:
        completed = TrainingRound.completed_at.is_not(None)
        return central.scalar(select(func.count()).select_from(TrainingRound).where(completed)) or 0


def rows_of(urls: DatabaseUrls) -> tuple[set[str], int]:
    """Return the ids of all predictions of all hospitals, and how many of them have an access event."""
    ids: set[str] = set()
    events = 0
    for url in urls.sites.values():
        with sessions_for(url)() as site:
            ids |= {str(id_) for id_ in site.scalars(select(Prediction.id))}
            saved = AccessEvent.action == "prediction_saved"
            events += site.scalar(select(func.count()).select_from(AccessEvent).where(saved)) or 0
    return ids, events


def restart_in(server: EmbeddedPostgres, seconds: float, took: list[float]) -> threading.Thread:
    """Restart PostgreSQL after so many seconds; `took` gets for how long it was away."""

    def restart() -> None:
        time.sleep(seconds)
        began = time.monotonic()
        server.stop()
        server.start()
        took.append(time.monotonic() - began)

    thread = threading.Thread(target=restart)
    thread.start()
    return thread


def loaded(folder: Path, plan: dict[str, Any], secrets: list[str], seconds: int) -> tuple[Any, Any]:
    """Run both generators, each in a process of its own; return what they wrote down."""
    requests, pages = folder / "requests.json", folder / "pages.json"
    (folder / "plan.json").write_text(json.dumps({**plan, "result": str(requests)}))
    of_pages = {
        "addresses": plan["addresses"],
        "secrets": secrets,
        "cookie": "fedcost_session",
        "pages": PAGES,
        "think": THINK,
        "seconds": seconds + plan["begins_in"],
        "result": str(pages),
    }
    (folder / "plan-pages.json").write_text(json.dumps(of_pages))
    environment = {**os.environ, "LOAD_PLAN": str(folder / "plan.json")}
    locust = [
        "-m",
        "locust",
        "-f",
        "bench/load_requests.py",
        "--headless",
        "--only-summary",
        "--exit-code-on-error",
        "0",
    ]
    size = ["-u", str(CONNECTIONS), "-r", str(CONNECTIONS), "-t", f"{seconds + 180}s", "--stop-timeout", "60"]
    with (folder / "load.log").open("wb") as log:
        generators = [
            subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT_ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for command in ([*locust, *size], ["-m", "bench.load_pages", str(folder / "plan-pages.json")])
        ]
        for generator in generators:
            generator.wait(seconds + 400)
    for result in (requests, pages):
        if not result.exists():
            sys.exit(f"A generator failed:\n{(folder / 'load.log').read_text()[-3000:]}")
    return json.loads(requests.read_text()), json.loads(pages.read_text())


def percentiles(took: list[float]) -> str:
    """Return median, p95, p99 and the longest, in milliseconds."""
    if not took:
        return "–"
    return " / ".join(f"{value:.0f}" for value in [*np.percentile(took, [50, 95, 99]), max(took)])


def main() -> None:
    """Print the figures and the JSON line; leave with 1 if anything was lost or refused, or came too slowly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each-second", type=int, default=EACH_SECOND)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--processes", type=int, default=PROCESSES, help="web processes, as behind a proxy")
    parser.add_argument("--quiet", action="store_true", help="no Run, no restart, no open pages")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            urls = provision(server, REGIONS)
            load_invented(urls, ROWS)
            emails, secrets = staff(urls)
            seen, away = Training(), list[float]()
            with Consortium(urls, folder / "federation") as consortium:
                consortium.wait_until_up(300)
                consortium.wait_for(consortium.request_run(num_rounds=2), RunStatus.COMPLETED, timeout=300)
                with ExitStack() as stack:
                    secret = token_urlsafe(32)
                    ports = [
                        stack.enter_context(served("app.main:app", urls, folder, JWT_SECRET=secret))
                        for _ in range(arguments.processes)
                    ]
                    plan = plan_of([f"http://127.0.0.1:{port}" for port in ports], emails, urls, arguments)
                    if arguments.quiet:
                        requests, pages = loaded(folder, plan, [], arguments.seconds)
                    else:
                        with training(consortium, seen):
                            restart = restart_in(server, plan["begins_in"] + arguments.seconds / 2, away)
                            requests, pages = loaded(folder, plan, secrets, arguments.seconds)
                            restart.join()
            ids, events = rows_of(urls)
        finally:
            server.stop()
            server.erase()
    report(plan, requests, pages, ids, events, seen, away)


def report(
    plan: dict[str, Any],
    requests: dict[str, Any],
    pages: dict[str, Any],
    ids: set[str],
    events: int,
    seen: Training,
    away: list[float],
) -> None:
    """Print what was measured."""
    answered = set(requests["ids"])
    lost, twice = answered - ids, ids - answered
    for said, count in Counter(requests["errors"]).most_common(8):
        print(f"prediction answered {count} times: {said}")
    for said, count in Counter(pages["errors"]).most_common(8):
        print(f"page, {count} times: {said}")
    for said, count in Counter(pages["said"]).most_common(8):
        print(f"page said {count} times: {said}")
    for run_id, status, error in seen.ended:
        print(f"run {run_id} ended as {status}: {error}")
    print(f"\n| {plan['each_second']} predictions a second, load {os.getloadavg()[0]:.1f} | |\n|---|---|")
    seconds = max(requests["answered_at"], default=0.0) - requests["began"]
    rate = len(answered) / seconds if seconds > 0 else 0.0
    counts = [plan["count"], len(answered), len(ids), events]
    print(f"| due, answered, rows, access events | {', '.join(f'{count:,}' for count in counts)} |")
    print(f"| answered without a row; rows that nobody was answered | {len(lost)}; {len(twice)} |")
    print(f"| answered a second | {rate:.0f} |")
    print(f"| ms from when due: median / p95 / p99 / longest | {percentiles(requests['took'])} |")
    redrawn = f"{pages['opened']}, {len(pages['took'])}; {percentiles(pages['took'])}"
    print(f"| pages opened, redrawn; ms: median / p95 / p99 / longest | {redrawn} |")
    print(f"| PostgreSQL was away, s | {', '.join(f'{seconds:.1f}' for seconds in away) or '–'} |")
    print(f"| rounds completed meanwhile | {seen.rounds} |")
    figures = {
        "due": plan["count"],
        "answered": len(answered),
        "rows": len(ids),
        "errors": sum(requests["errors"].values()),
        "lost": len(lost),
        "per_second": round(rate, 1),
        "unanswered_rows": len(twice),
        "page_errors": sum(pages["errors"].values()),
        "p95_ms": round(float(np.percentile(requests["took"], 95)), 1) if requests["took"] else None,
        "rounds": seen.rounds,
    }
    print(json.dumps(figures))
    kept_up = rate > KEPT_UP * plan["each_second"]
    if not kept_up:
        print("This machine did not keep up with what was asked of it.")
    fine = len(answered) == plan["count"] == len(ids) and not figures["page_errors"]
    sys.exit(0 if fine and kept_up else 1)


if __name__ == "__main__":
    main()
