"""Proves the audit trails: `make verify-audit`, with `HEAD=position:hash` against a head that was written down."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.errors import InvalidInput
from app.launch_options import LaunchRefused, read_options
from app.services.audit_chain import ChainBroken, ChainHead, Trail, read_head, verify_and_record
from app.verify_run import central_url
from db.embedded import EmbeddedPostgres
from db.provision import CENTRAL
from db.site_urls import site_url_file

HELP = (
    "Write the heads down where nobody who administers these databases can change them. Compare later with "
    "make verify-audit HEAD=position:hash, for a hospital's with TRAIL=code beside it."
)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Check every trail; returns 0 if all are right, 1 if one is not, 2 if one cannot be checked."""
    try:
        trails = known_trails(environment)
        only = environment.get("TRAIL")
        expected = read_head(environment["HEAD"]) if environment.get("HEAD") else None
        if only is not None and only not in trails:
            raise LaunchRefused(f"There is no trail {only}; known are {', '.join(trails)}.")
    except (LaunchRefused, InvalidInput) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    compared = only or CENTRAL
    results = [
        check(name, url, expected if name == compared else None, print)
        for name, url in trails.items()
        if only in (None, name)
    ]
    if not any(results):
        print(HELP)
    return max(results)


def check(name: str, url: str, expected: ChainHead | None, say: Callable[[str], object]) -> int:
    """Check the trail at `url` and say what was found; returns what `main` does."""
    trail: Trail = "central" if name == CENTRAL else "site"
    try:
        with _session(url) as session:
            head = verify_and_record(session, trail, expected=expected)
    except ChainBroken as broken:
        say(f"{name}: NOT as it was recorded. {broken}")
        return 1
    except SQLAlchemyError as error:
        say(f"{name}: the database does not answer ({type(error).__name__}).")
        return 2
    say(f"{name}: every event up to position {head.position} is as it was recorded. Head {head}")
    return 0


def known_trails(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `central` and each institution's code -> URL, from the environment or the demonstration that is running.

    Raises
    ------
    LaunchRefused
        If no database is named and none is running.
    """
    trails = {CENTRAL: central_url(environment)}
    if environment.get("CENTRAL_DATABASE_URL"):
        trails.update(json.loads(environment.get("SITE_DATABASE_URLS") or "{}"))
        if single := environment.get("SITE_DATABASE_URL"):
            trails.setdefault(environment.get("INSTITUTION", "site"), single)
        data_dir = environment.get("DATA_DIR")
        return {**trails, **(site_url_file(Path(data_dir)).read("app") if data_dir else {})}
    server = EmbeddedPostgres(read_options(environment).data_dir)
    codes = _codes(trails[CENTRAL])
    return {**trails, **{code: server.url(f"site_{code}") for code in codes}}


def _codes(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql("SELECT code FROM institutions ORDER BY code").scalars())
    finally:
        engine.dispose()


@contextmanager
def _session(url: str) -> Iterator[Session]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), hide_parameters=True)
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
