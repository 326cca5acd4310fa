"""Statements that PostgreSQL plans once for each connection.

psycopg2 sends every statement as text, and PostgreSQL plans it anew, which takes longer than a look at an index does. A
statement that comes with each request is worth preparing (`make bench-load`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Dialect, Row
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql import ClauseElement, Executable

_DIALECT: Dialect = PGDialect_psycopg2(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_PREPARED = "prepared"  # in what SQLAlchemy remembers of a connection


class PreparedStatement:
    """A statement of SQLAlchemy's, prepared on each connection that it comes to.

    Parameters
    ----------
    name
        Its name in PostgreSQL; no two may share one.
    statement
        Each parameter needs a type. Rows come as the driver gives them: as of a plain `SELECT` of columns, but no
        enumeration is made of a text.
    """

    def __init__(self, name: str, statement: Executable) -> None:
        assert isinstance(statement, ClauseElement)
        compiled = statement.compile(dialect=_DIALECT)
        binds: dict[str, BindParameter[Any]] = compiled.binds  # type: ignore[attr-defined]
        names: list[str] = compiled.positiontup or []  # type: ignore[attr-defined]
        parameters = [binds[each] for each in names]
        types = [each.type.dialect_impl(_DIALECT) for each in parameters]
        self._name = name
        self._parameters = [
            (each.key, each.required, each.effective_value, kind.bind_processor(_DIALECT))
            for each, kind in zip(parameters, types, strict=True)
        ]
        listed = ", ".join(kind.compile(_DIALECT) for kind in types)
        self._prepare = f"PREPARE {name}{f' ({listed})' if listed else ''} AS {compiled}"
        marks = ", ".join("%s" for _ in names)
        self._execute = f"EXECUTE {name}{f' ({marks})' if marks else ''}"

    def on(self, connection: Connection, **values: Any) -> Sequence[Row[*tuple[Any, ...]]]:
        """Return its rows; takes a value for each parameter that has none of its own (`KeyError` if one is missing)."""
        prepared: set[str] = connection.info.setdefault(_PREPARED, set())
        if self._name not in prepared:
            connection.exec_driver_sql(self._prepare)
            prepared.add(self._name)  # also if the transaction is rolled back: that keeps what was prepared
        sent = []
        for key, required, fixed, processed in self._parameters:
            value = values[key] if required else fixed
            sent.append(value if processed is None else processed(value))
        return connection.exec_driver_sql(self._execute, tuple(sent)).all()
