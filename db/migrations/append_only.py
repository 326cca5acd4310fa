"""A trigger for tables whose rows are written once: UPDATE, DELETE and TRUNCATE are refused."""

from __future__ import annotations

from alembic import op

_REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are written once and never changed', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""


def make_append_only(*tables: str) -> None:
    """Put the trigger on `tables`; call it once in a database, because it also makes the function."""
    op.execute(_REFUSE)
    protect_too(*tables)


def protect_too(*tables: str) -> None:
    """Put the trigger on more tables, in a database that has the function already."""
    for table in tables:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
