"""`make abuse-requests`: 10,000 malformed requests to the application as it is served; none may make it fail."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from sqlalchemy import select

from bench.hospital import EMAIL, Hospital, hospital
from bench.malformed_requests import HOST, against_the_description, operations, rubbish, status_of
from bench.served import serving
from db.central import MedicalWorker
from db.engines import sessions_for
from db.states import Role

COUNT, SECONDS, AT_ONCE = 10_000, 1_500, 200
ADMIN = "admin@bench.local"
SHOWN = 10  # requests that made it fail

Tokens = Callable[[], list[str]]


@dataclass
class Answers:
    """What came back.

    Attributes
    ----------
    failed
        The beginnings of requests that were answered 5xx, without their token.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def note(self, status: str, request: bytes) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        if status.startswith("5"):
            shown = re.sub(rb"Bearer [\w.-]+", b"Bearer ...", request)
            self.failed.append(f"{status}: {shown[:600]!r}")


def sign_in(port: int, email: str, password: str) -> str:
    """Return an access token."""
    answer = httpx.post(
        f"http://{HOST}:{port}/api/auth/login", json={"email": email, "password": password}, timeout=60
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def send(port: int, tokens: Tokens, *, count: int, seconds: float = SECONDS) -> Answers:
    """Send so many requests, half of each kind; the same ones each time. Stops when the time is over.

    `tokens` is asked again now and then: what is sent may end a session.
    """
    answers, described, ends = Answers(), operations(), time.monotonic() + seconds
    for number, sent in enumerate(range(0, count, AT_ONCE)):
        if time.monotonic() > ends:
            break
        held = tokens()
        strategy = (against_the_description, rubbish)[number % 2](described, held)
        _send_examples(port, strategy, answers, number=number, count=min(AT_ONCE, count - sent))
    return answers


def _send_examples(
    port: int, strategy: SearchStrategy[bytes], answers: Answers, *, number: int, count: int
) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def send_one(request: bytes) -> None:
        answers.note(status_of(port, request), request)

    send_one()


def _with_administrator(place: Hospital) -> None:
    with sessions_for(place.urls.central)() as central, central.begin():
        doctor = central.scalars(select(MedicalWorker).where(MedicalWorker.email == EMAIL)).one()
        central.add(
            MedicalWorker(
                email=ADMIN, name="Administrator", role=Role.ADMIN, password_hash=doctor.password_hash
            )
        )


def main() -> None:
    """Print one line of JSON; leave with 1 if anything was answered 5xx, or next to nothing was sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    for name in ("WORKER", "ADDRESS", "SIGN_IN"):
        os.environ[f"RATE_LIMIT_{name}"] = "10000000/minute"  # what is tried is what comes after them
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with hospital(folder, patients=200) as place:
            _with_administrator(place)
            with serving("app.main:app", place, folder) as port:

                def tokens() -> list[str]:
                    return [sign_in(port, who, place.password) for who in (EMAIL, ADMIN)]

                began = time.monotonic()
                answers = send(port, tokens, count=arguments.count, seconds=arguments.seconds)
                took = time.monotonic() - began
    for line in answers.failed[:SHOWN]:
        print(line, file=sys.stderr)
    figures = {
        "sent": answers.statuses.total(),
        "by_status": dict(sorted(answers.statuses.items())),
        "failed": len(answers.failed),
        "seconds": round(took, 1),
    }
    print(json.dumps(figures))
    sys.exit(1 if answers.failed else 0)


if __name__ == "__main__":
    main()
