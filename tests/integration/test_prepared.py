"""Statements that are prepared once for each connection."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Interval, String, Uuid, bindparam, create_engine, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.types import Numeric

from db.engines import engine_for
from db.prepared import PreparedStatement
from db.provision import DatabaseUrls

NAMES = text("SELECT name FROM pg_prepared_statements")


def test_values_of_every_kind_come_back_as_they_were_sent(databases: DatabaseUrls) -> None:
    sent = {
        "a_text": "50 % of O'Hara's; $1 \\ ü",
        "an_id": uuid.uuid4(),
        "a_tree": {"age": 30, "smoker": "no", "share": 0.5},
        "an_amount": Decimal("12.30"),
        "a_time": timedelta(minutes=3),
        "nothing": None,
    }
    kinds = [String(50), Uuid(), JSONB(), Numeric(12, 2), Interval(), String(50)]
    binds = [bindparam(name, type_=kind) for name, kind in zip(sent, kinds, strict=True)]
    statement = PreparedStatement("every_kind", select(*binds, literal("fixed", String()), binds[0]))
    with engine_for(databases.app_central).connect() as connection:
        for _ in range(8):  # from the sixth time on PostgreSQL may use a plan for all values
            (row,) = statement.on(connection, **sent)
            assert tuple(row) == (*sent.values(), "fixed", sent["a_text"])


def test_it_is_prepared_once_on_each_connection_and_outlives_a_rollback(databases: DatabaseUrls) -> None:
    statement = PreparedStatement("once", select(literal(1)))
    engine = create_engine(databases.app_central)  # connections that nobody else has used
    with engine.connect() as connection:
        assert statement.on(connection)[0][0] == 1
        connection.rollback()
        assert connection.scalars(NAMES).all() == ["once"]
        assert statement.on(connection)[0][0] == 1
        with engine.connect() as other:
            assert "once" not in other.scalars(NAMES).all()
            assert statement.on(other)[0][0] == 1
    with engine.connect() as again:
        assert statement.on(again)[0][0] == 1
        assert again.scalars(NAMES).all() == ["once"]
    engine.dispose()


def test_on_a_new_connection_it_is_prepared_again(databases: DatabaseUrls) -> None:
    statement = PreparedStatement("again", select(literal(1)))
    engine = engine_for(databases.app_central)
    with engine.connect() as connection:
        statement.on(connection)
        connection.invalidate()
        connection.rollback()
        assert statement.on(connection)[0][0] == 1


def test_a_value_that_is_missing_is_a_mistake(databases: DatabaseUrls) -> None:
    statement = PreparedStatement("missing", select(bindparam("needed", type_=String())))
    with engine_for(databases.app_central).connect() as connection, pytest.raises(KeyError):
        statement.on(connection, other="x")


def test_a_statement_that_cannot_be_prepared_is_prepared_by_nobody(databases: DatabaseUrls) -> None:
    statement = PreparedStatement("wrong", select(text("nothing_like_it")))
    with engine_for(databases.app_central).connect() as connection:
        for _ in range(2):
            with pytest.raises(ProgrammingError):
                statement.on(connection)
            connection.rollback()
