"""The chain of hashes over a table of events: its tables, the queue of unsealed events, and the function that seals."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from db.migrations.append_only import protect_too

# Any number that nothing else in this project locks: of several web processes one seals at a time.
SEAL_LOCK = 7_215_402

_QUEUE = """
CREATE FUNCTION queue_for_seal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.audit_unsealed SELECT id FROM fresh;
    RETURN NULL;
END
$$
"""
# The hash is over a JSON array as jsonb writes it, which no setting of a session changes: times are microseconds.
_SEAL = """
CREATE FUNCTION seal_audit(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place bigint := 0;
    head bytea := decode(repeat('00', 32), 'hex');
    link bytea;
    moment timestamptz := clock_timestamp();
    event record;
    sealed integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock({lock}) THEN
        RETURN NULL;
    END IF;
    SELECT position, sha256 INTO place, head FROM public.audit_seals ORDER BY position DESC LIMIT 1;
    IF NOT FOUND THEN
        place := 0;
        head := decode(repeat('00', 32), 'hex');
    END IF;
    FOR event IN
        SELECT e.* FROM public.audit_unsealed u JOIN public.{table} e ON e.id = u.event_id
        ORDER BY e.id LIMIT LEAST(most, 10000)
    LOOP
        place := place + 1;
        link := sha256(head || convert_to(jsonb_build_array(
            place, (extract(epoch FROM moment) * 1000000)::bigint, {fields}
        )::text, 'UTF8'));
        INSERT INTO public.audit_seals (position, event_id, sealed_at, previous_sha256, sha256)
        VALUES (place, event.id, moment, head, link);
        DELETE FROM public.audit_unsealed WHERE event_id = event.id;
        head := link;
        sealed := sealed + 1;
    END LOOP;
    RETURN sealed;
END
$$
"""


def make_chain(table: str, fields: Sequence[str]) -> None:
    """Chain the events of `table`; what it holds already waits for its seal like everything new.

    Parameters
    ----------
    fields
        SQL of each value that the hash covers, of the row called `event`, in order.
    """
    op.create_table(
        "audit_seals",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("event_id"),
    )
    op.create_table(
        "audit_unsealed",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "audit_verifications",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    protect_too("audit_seals", "audit_verifications")
    op.execute(_QUEUE)
    op.execute(_SEAL.format(lock=SEAL_LOCK, table=table, fields=", ".join(fields)))
    op.execute("REVOKE EXECUTE ON FUNCTION queue_for_seal() FROM PUBLIC")
    op.execute("REVOKE EXECUTE ON FUNCTION seal_audit(integer) FROM PUBLIC")
    op.execute(
        f"CREATE TRIGGER {table}_queue_for_seal AFTER INSERT ON {table} "
        "REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION queue_for_seal()"
    )
    op.execute(f"INSERT INTO audit_unsealed SELECT id FROM {table}")  # noqa: S608  # nosec B608
