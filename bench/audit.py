"""Seconds to seal and to verify a million events: `python -m bench.audit`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from app.services.audit_chain import BATCH, seal, verify_and_record
from db.embedded import EmbeddedPostgres
from db.provision import provision

EVENTS = 1_000_000
_INSERT = text(
    "INSERT INTO access_events (occurred_at, worker_id, role, action, patient_id, address, details, request_id) "
    "SELECT now() - (:n - n) * interval '10 s', n % 200, 'doctor', "
    "(ARRAY['patient_read', 'patients_listed', 'patient_edited', 'prediction_saved'])[1 + n % 4], "
    "uuidv7(), '192.0.2.' || n % 250, jsonb_build_object('count', n), md5(n::text) FROM generate_series(1, :n) n"
)


def main() -> None:
    """Measure on a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fedcost-bench-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        url = provision(server, ["northeast"]).sites["northeast"]
        with Session(create_engine(url)) as session:
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
    finally:
        server.erase()


if __name__ == "__main__":
    main()
