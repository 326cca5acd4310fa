"""`python -m db.roles`: makes roles and databases on one's own PostgreSQL server, from the URLs that will use them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping

from sqlalchemy import URL, create_engine, make_url

from db.privileges import RoleKind, institution_role, role_name
from db.role_making import make_database, make_group, make_institution_role, make_owner, make_role


class RolesRefused(ValueError):
    """The environment does not say which roles to make; the message says what is missing or wrong."""


def make_roles(environment: Mapping[str, str]) -> list[str]:
    """Make the roles and databases of one's own server that the environment names; return the roles' names.

    ADMIN_DATABASE_URL connects as a role that may make roles and databases. The others are the URLs by which the
    processes will connect; one server may have the databases of the consortium, of a Site, or of both:
    CENTRAL_OWNER_DATABASE_URL, CENTRAL_DATABASE_URL and CENTRAL_SITE_DATABASE_URLS (JSON: institution code -> URL);
    SITE_OWNER_DATABASE_URLS, SITE_DATABASE_URLS and SITE_TRAIN_DATABASE_URLS (JSON likewise).

    Raises
    ------
    RolesRefused
        If something is missing, or a role has another name than its database asks for.
    """
    if not environment.get("ADMIN_DATABASE_URL"):
        raise RolesRefused("Set ADMIN_DATABASE_URL to the URL of a role that may make roles and databases.")
    owners = list(_urls(environment, "CENTRAL_OWNER_DATABASE_URL", "SITE_OWNER_DATABASE_URLS"))
    if not owners:
        raise RolesRefused("Set CENTRAL_OWNER_DATABASE_URL or SITE_OWNER_DATABASE_URLS.")
    made = []
    engine = create_engine(environment["ADMIN_DATABASE_URL"], isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for _, url in owners:
                name, database, password = _parts(url)
                make_owner(connection, name, password)
                make_database(connection, database, name)
                made.append(name)
            for kind, variable in (
                (RoleKind.APP, "CENTRAL_DATABASE_URL"),
                (RoleKind.APP, "SITE_DATABASE_URLS"),
                (RoleKind.TRAIN, "SITE_TRAIN_DATABASE_URLS"),
            ):
                for _, url in _urls(environment, variable):
                    name, database, password = _parts(url)
                    _check(variable, name, role_name(kind, database))
                    make_role(connection, name, password, kind)
                    made.append(name)
            for code, url in _urls(environment, "CENTRAL_SITE_DATABASE_URLS"):
                name, database, password = _parts(url)
                _check("CENTRAL_SITE_DATABASE_URLS", name, institution_role(database, code))
                make_group(connection, role_name(RoleKind.SITES, database))
                made.append(make_institution_role(connection, database, code, password))
    finally:
        engine.dispose()
    return made


def _urls(environment: Mapping[str, str], *variables: str) -> Iterator[tuple[str, URL]]:
    """Yield (institution code or nothing, URL) of variables that hold one URL or a JSON object of them."""
    for variable in variables:
        value = environment.get(variable, "")
        several: dict[str, str] = json.loads(value) if value.startswith("{") else {"": value} if value else {}
        for code, url in several.items():
            yield code, make_url(url)


def _parts(url: URL) -> tuple[str, str, str]:
    if not (url.username and url.database and url.password):
        raise RolesRefused("Each URL names a role, its password and a database.")
    return url.username, url.database, str(url.password)


def _check(variable: str, name: str, wanted: str) -> None:
    if name != wanted:
        raise RolesRefused(f"The role in {variable} is called {wanted}, not {name}.")


if __name__ == "__main__":
    try:
        roles = make_roles(os.environ)
    except RolesRefused as refusal:
        sys.exit(str(refusal))
    sys.stdout.write(f"Made: {', '.join(roles)}. Now: python -m db.migrate\n")
