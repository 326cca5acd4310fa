"""What may be deleted once it is old: the kinds of rows, how each is found, archived and deleted.

Not among them, on purpose: audit and access events and their seals, Runs, Rounds, versions and promotions. A chain
without its beginning proves less, and a prediction must be traceable to what made its model.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.services.audit_chain import Trail


@dataclass(frozen=True)
class RetentionKind:
    """One kind of rows.

    Attributes
    ----------
    least
        Days that it is kept at least.
    found
        SQL after FROM with a condition on `:before`.
    moment
        Column that tells how old a row is.
    key
        Column that names a row.
    archived
        SQL of the JSON that is kept of a row.
    deletes
        Statements that delete the rows of `:ids`, or what is large in them.
    """

    name: str
    trail: Trail
    label: str
    what: str
    least: int
    found: str
    moment: str
    key: str
    archived: str
    deletes: tuple[str, ...]


KINDS: tuple[RetentionKind, ...] = (
    RetentionKind(
        "deleted_patients",
        "site",
        "Deleted patients",
        "counted from the day they were deleted, with their history and predictions; for 30 days they can be restored",
        30,
        "patients t WHERE t.deleted_at < :before",
        "t.deleted_at",
        "t.id",
        "json_build_object('patient', row_to_json(t), "
        "'changes', (SELECT json_agg(row_to_json(c) ORDER BY c.id) FROM patient_changes c WHERE c.patient_id = t.id), "
        "'predictions', (SELECT json_agg(row_to_json(p) ORDER BY p.id) FROM predictions p WHERE p.patient_id = t.id))",
        (
            "DELETE FROM predictions WHERE patient_id = ANY(CAST(:ids AS uuid[]))",
            "DELETE FROM patient_changes WHERE patient_id = ANY(CAST(:ids AS uuid[]))",
            "DELETE FROM patients WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NOT NULL",
        ),
    ),
    RetentionKind(
        "predictions",
        "site",
        "Predictions",
        "counted from the day they were saved; how right the model was is then no longer known for that time",
        90,
        "predictions t WHERE t.created_at < :before",
        "t.created_at",
        "t.id",
        "row_to_json(t)",
        ("DELETE FROM predictions WHERE id = ANY(CAST(:ids AS uuid[]))",),
    ),
    RetentionKind(
        "patient_changes",
        "site",
        "Changes of patients",
        "counted from the day of the change; the records themselves stay",
        365,
        "patient_changes t WHERE t.occurred_at < :before",
        "t.occurred_at",
        "t.id",
        "row_to_json(t)",
        ("DELETE FROM patient_changes WHERE id = ANY(CAST(:ids AS bigint[]))",),
    ),
    RetentionKind(
        "run_events",
        "central",
        "Logs of runs",
        "the sentences below a run; the run, its rounds and its receipts stay",
        90,
        "run_events t WHERE t.occurred_at < :before",
        "t.occurred_at",
        "t.id",
        "row_to_json(t)",
        ("DELETE FROM run_events WHERE id = ANY(CAST(:ids AS bigint[]))",),
    ),
    RetentionKind(
        "updates",
        "central",
        "Stored updates of hospitals",
        "the arrays that `make verify-run` adds up again; their hashes stay. Those of the version in use are "
        "always kept",
        90,
        "site_results t JOIN training_runs r ON r.id = t.run_id WHERE t.update IS NOT NULL AND r.finished_at < :before "
        "AND NOT EXISTS (SELECT FROM model_versions v WHERE v.run_id = r.id AND v.status = 'champion')",
        "r.finished_at",
        "t.id",
        "json_build_object('id', t.id, 'run_id', t.run_id, 'round_number', t.round_number, "
        "'institution_id', t.institution_id, 'update_sha256', t.update_sha256, 'update', encode(t.update, 'base64'))",
        ("UPDATE site_results SET update = NULL WHERE id = ANY(CAST(:ids AS bigint[]))",),
    ),
    RetentionKind(
        "sessions",
        "central",
        "Ended sessions",
        "counted from the day they ended, with their tokens",
        30,
        "sessions t WHERE LEAST(t.ended_at, t.expires_at) < :before",
        "LEAST(t.ended_at, t.expires_at)",
        "t.id",
        "json_build_object('id', t.id, 'worker_id', t.worker_id, 'created_at', t.created_at, 'ended_at', t.ended_at)",
        (
            "DELETE FROM refresh_tokens WHERE session_id = ANY(CAST(:ids AS uuid[]))",
            "DELETE FROM sessions WHERE id = ANY(CAST(:ids AS uuid[]))",
        ),
    ),
    RetentionKind(
        "one_time_links",
        "central",
        "One-time links",
        "counted from the day they expired",
        30,
        "one_time_links t WHERE t.expires_at < :before",
        "t.expires_at",
        "t.id",
        "json_build_object('id', t.id, 'worker_id', t.worker_id, 'created_at', t.created_at, 'used_at', t.used_at)",
        ("DELETE FROM one_time_links WHERE id = ANY(CAST(:ids AS bigint[]))",),
    ),
)
KIND_BY_NAME = {kind.name: kind for kind in KINDS}


def kinds_of(trail: Trail) -> list[RetentionKind]:
    """Return the kinds of a hospital's database, or of the consortium's."""
    return [kind for kind in KINDS if kind.trail == trail]
