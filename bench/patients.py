"""`make bench-patients`: how long lists of one million patients take, in the database and in the page.

Every time in the database is that of the service: the call as pages and API make it, with its access event, in a
transaction that commits.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.actor import Actor
from app.services.patient_query import PatientFilter, PatientSort, sort_key
from app.services.patients import list_patients
from bench.hospital import CODE, Hospital, hospital
from bench.patients_page import page_milliseconds
from db.engines import sessions_for
from db.site import Patient
from fl.features import FEATURE_BY_NAME

ROWS = 1_000_000
PAGE_ROWS = 25
DEEP_PAGE = 20_000
CALLS = 200  # of each kind
WARM_UP_CALLS = 20
FREQUENT_SEARCHES = 50  # the most frequent three letters; the others are any that occur
DATABASE_TARGET, PAGE_TARGET = 50.0, 300.0  # milliseconds, p95
ORDERS = [(sort, descending) for sort in PatientSort for descending in (False, True)]


@dataclass(frozen=True)
class Asked:
    """One page that is asked for."""

    filter: PatientFilter
    sort: PatientSort
    descending: bool
    cursor: str | None = None

    def __str__(self) -> str:
        limits = {name: value for name, value in vars(self.filter).items() if value not in (None, False)}
        return f"{'-' if self.descending else '+'}{self.sort.value} {limits or ''}"


def main() -> None:
    """Load, measure, print the table and the JSON line; leave with 1 if a target is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="fedcost-bench-") as folder,
        hospital(Path(folder), patients=ROWS) as place,
    ):
        database = {kind: p95(milliseconds(place, asked)) for kind, asked in questions(place).items()}
        for kind, took in database.items():
            print(f"  {kind:<12}{took:8.1f} ms in the database, p95 of {CALLS}", flush=True)
        page = page_milliseconds(place, Path(folder), searches=some_searches(place, 20))
    for action, each in page.items():
        print(f"  {action:<12}{p95(each):8.1f} ms in the page, p95 of {len(each)}", flush=True)
    page_p95 = p95([one for each in page.values() for one in each])
    measured = {
        "rows": ROWS,
        "db_p95_ms": {kind: round(took, 1) for kind, took in database.items()},
        "page_p95_ms": round(page_p95, 1),
    }
    print(json.dumps(measured))
    if max(database.values()) >= DATABASE_TARGET or page_p95 >= PAGE_TARGET:
        sys.exit(1)


def questions(place: Hospital) -> dict[str, list[Asked]]:
    """Return what is asked, by kind, in every order."""
    everybody = PatientFilter()
    orders = [ORDERS[number % len(ORDERS)] for number in range(CALLS)]
    chance = random.Random(1)
    return {
        "first_page": [Asked(everybody, *order) for order in orders],
        "deep_page": deep_pages(place),
        "search": [
            # The list is ordered by name unless somebody chose otherwise.
            Asked(PatientFilter(search=letters), *(order if number % 4 == 0 else ORDERS[0]))
            for number, (letters, order) in enumerate(zip(some_searches(place, CALLS), orders, strict=True))
        ],
        "filter": [Asked(some_filter(chance), *order) for order in orders],
    }


def deep_pages(place: Hospital) -> list[Asked]:
    """Return pages far from both ends, forwards and backwards, by cursors as their neighbours give them."""
    cursors: dict[tuple[PatientSort, bool], list[str]] = {}
    each = CALLS // len(ORDERS)
    with sessions_for(place.urls.sites[CODE])() as site:
        for sort, descending in ORDERS:
            keys = sort_key(sort, descending=descending)
            ids = site.scalars(
                select(Patient.id)
                .where(Patient.deleted_at.is_(None))
                .order_by(*(key.desc() if descending else key for key in keys))
                .offset(DEEP_PAGE * PAGE_ROWS)
                .limit(each * PAGE_ROWS)
            ).all()
            cursors[sort, descending] = [
                f"{'before-' if number % 2 else ''}{patient_id}"
                for number, patient_id in enumerate(ids[::PAGE_ROWS])
            ]
    return [Asked(PatientFilter(), *order, cursor) for order in ORDERS for cursor in cursors[order]]


def some_searches(place: Hospital, count: int) -> list[str]:
    """Return different three letters that occur in names: the most frequent, and any of the others."""
    with sessions_for(place.urls.sites[CODE])() as site:
        names = site.execute(text("SELECT first_name, last_name FROM patients TABLESAMPLE SYSTEM (2)")).all()
    occurring = Counter(
        name[start : start + 3].lower()
        for pair in names
        for full in pair
        for name in full.replace("-", " ").split()
        for start in range(len(name) - 2)
    )
    ranked = [letters for letters, _ in occurring.most_common()]
    frequent = ranked[: min(FREQUENT_SEARCHES, count // 2)]
    others = ranked[len(frequent) :]
    random.Random(2).shuffle(others)
    return (frequent + others)[:count]


def some_filter(chance: random.Random) -> PatientFilter:
    """Return a filter of one to four limits, from half of all patients to nobody."""
    limits: dict[str, Any] = {}
    for name in chance.sample(
        ["sex", "smoker", "region", "age", "bmi", "cost_unknown"], chance.randint(1, 4)
    ):
        if name == "cost_unknown":
            limits[name] = True
        elif FEATURE_BY_NAME[name].kind == "category":
            limits[name] = chance.choice(FEATURE_BY_NAME[name].values)
        else:
            usual = FEATURE_BY_NAME[name].usual
            assert usual is not None
            low = chance.randint(int(usual[0]) + 1, int(usual[1]))
            width = chance.choice((0, 2, 10, 100))
            # An open end is as usual as two ends.
            if width < 100 or chance.random() < 0.5:
                limits[f"{name}_from"] = low
            if width < 100 or f"{name}_from" not in limits:
                limits[f"{name}_to"] = low + min(width, 20)
    return PatientFilter(**limits)


def milliseconds(place: Hospital, questions: Sequence[Asked]) -> list[float]:
    """Ask each question once, after some that warm up, and return how long each took until its commit."""
    took = []
    sessions = sessions_for(place.urls.sites[CODE])
    for number, asked in enumerate([*questions[:WARM_UP_CALLS], *questions]):
        with sessions() as site:
            started = time.perf_counter()
            _ask(site, place.doctor, asked)
            site.commit()
            if number >= WARM_UP_CALLS:
                took.append((time.perf_counter() - started) * 1000)
    slowest = max(range(len(took)), key=took.__getitem__)
    print(f"    slowest: {took[slowest]:.1f} ms, {questions[slowest]}", flush=True)
    return took


def _ask(site: Session, doctor: Actor, asked: Asked) -> None:
    list_patients(
        site=site,
        actor=doctor,
        filter=asked.filter,
        sort=asked.sort,
        descending=asked.descending,
        cursor=asked.cursor,
        limit=PAGE_ROWS,
    )


def p95(took: Iterable[float]) -> float:
    """Return the time that 95 of 100 stay below."""
    return float(np.percentile(list(took), 95))


if __name__ == "__main__":
    main()
