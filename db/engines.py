"""Engines and sessions: one engine per database and process, made once and asked for by URL."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from db.pools import KEPT, MORE, CountingPool, ask_before_use


@cache
def engine_for(url: str, *, autocommit: bool = False) -> Engine:
    """Return this process's only engine for `url`; a dead connection is noticed before it is used.

    With `autocommit` it has connections of its own, whose statements each stand alone.
    """
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg2")
    engine = create_engine(
        parsed,
        poolclass=CountingPool,
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
        pool_size=KEPT,
        max_overflow=MORE,
        pool_recycle=1800,
        hide_parameters=True,  # a failing statement's parameters may be a patient's
        connect_args={"connect_timeout": 5, "application_name": "fedcost"},
    )
    ask_before_use(engine)
    return engine


@cache
def sessions_for(url: str) -> sessionmaker[Session]:
    """Return the session factory for `url`; loaded objects stay readable after commit."""
    return sessionmaker(engine_for(url), expire_on_commit=False)
