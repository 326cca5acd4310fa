"""`make bench-audit`: seconds to seal and to verify a million events, milliseconds of the audit page's questions."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import text

from app.actor import Actor
from app.services import audit_reading
from app.services.audit_chain import BATCH, seal, verify_and_record
from app.services.audit_reading import AuditFilter, OpenTrail
from bench.hospital import CODE, hospital
from db.engines import sessions_for
from db.site import AccessEvent
from db.states import Role

EVENTS = 1_000_000
TIMES = 20
_INSERT = text(
    "INSERT INTO access_events "
    "(occurred_at, worker_id, role, action, outcome, patient_id, address, details, request_id) "
    "SELECT now() - (:n - n) * interval '10 s', n % 200, 'doctor', "
    "(ARRAY['patient_read', 'patients_listed', 'patient_edited', 'prediction_saved'])[1 + n % 4], "
    "CASE WHEN n % 10007 = 0 THEN 'failed' ELSE 'ok' END, "
    "CASE WHEN n % 4 <> 1 THEN uuidv7() END, '192.0.2.' || n % 250, "
    "CASE WHEN n % 4 = 1 THEN jsonb_build_object('patient_ids', "
    "(SELECT jsonb_agg(md5((n + g)::text)) FROM generate_series(1, 25) g)) ELSE jsonb_build_object('count', n) END, "
    "md5(n::text) FROM generate_series(1, :n) n"
)


def main() -> None:
    """Measure on a server of its own."""
    with tempfile.TemporaryDirectory() as name, hospital(Path(name), patients=100) as place:
        with sessions_for(place.urls.sites[CODE])() as session:
            begun = time.perf_counter()
            session.execute(_INSERT, {"n": EVENTS})
            session.commit()
            print(f"inserted {EVENTS:,} events in {time.perf_counter() - begun:.1f} s")
            begun, sealed = time.perf_counter(), BATCH
            while sealed == BATCH:
                sealed = seal(session) or 0
                session.commit()
            print(f"sealed in {time.perf_counter() - begun:.1f} s")
            session.execute(text("ANALYZE"))
            session.commit()
            begun = time.perf_counter()
            head = verify_and_record(session, "site")
            print(f"verified up to position {head.position:,} in {time.perf_counter() - begun:.1f} s")
            size = session.scalar(
                text("SELECT pg_total_relation_size('access_events') + pg_total_relation_size('audit_seals')")
            )
            print(f"{size / EVENTS:.0f} bytes an event with its seal and indexes")
            middle = session.get_one(AccessEvent, EVENTS // 2)
        with (
            sessions_for(place.urls.app_sites[CODE])() as site,
            sessions_for(place.urls.app_central)() as central,
        ):
            reader = replace(place.doctor, role=Role.INSTITUTION_ADMIN)
            ask_what_the_page_asks(OpenTrail("site", site, central), reader, middle)


def ask_what_the_page_asks(trail: OpenTrail, reader: Actor, some: AccessEvent) -> None:
    """Print the milliseconds of each question, the median and the longest of `TIMES`."""
    today = datetime.now(UTC).date()
    filters = {
        "everything": AuditFilter(),
        "one person": AuditFilter(worker_id=7),
        "a person who did nothing": AuditFilter(worker_id=123_456),
        "one action": AuditFilter(action="patient_edited"),
        "refused, of which there is none": AuditFilter(outcome="refused"),
        "failed, one in 10,000": AuditFilter(outcome="failed"),
        "one patient": AuditFilter(target=str(some.patient_id)),
        "a patient nobody looked at": AuditFilter(target="00000000-0000-7000-8000-000000000000"),
        "one address": AuditFilter(address="192.0.2.77"),
        "an address nothing came from": AuditFilter(address="198.51.100.1"),
        "one request": AuditFilter(request_id=some.request_id),
        "a week, some months ago": AuditFilter(
            since=today - timedelta(days=67), until=today - timedelta(days=60)
        ),
        "a person's edits from an address": AuditFilter(
            worker_id=7, action="patient_edited", address="192.0.2.7"
        ),
    }
    print(f"\n| the page's questions, {EVENTS:,} events | median, ms | longest, ms |\n|---|---|---|")
    for words, filter in filters.items():
        asked = [_milliseconds(trail, reader, filter) for _ in range(TIMES)]
        print(f"| {words} | {np.median(asked):.1f} | {max(asked):.1f} |")
    for words, ask in (
        ("what can be filtered by", audit_reading.audit_choices),
        ("how far it is sealed", audit_reading.trail_state),
    ):
        took = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            ask(trail, actor=reader)
            took.append((time.perf_counter() - begun) * 1000)
        print(f"| {words} | {np.median(took):.1f} | {max(took):.1f} |")


def _milliseconds(trail: OpenTrail, reader: Actor, filter: AuditFilter) -> float:
    begun = time.perf_counter()
    audit_reading.list_events(trail, actor=reader, filter=filter, limit=25)
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
