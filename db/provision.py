"""One database each for the consortium and for every institution, with their roles, on an embedded server."""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine, make_url, text

from db.embedded import EmbeddedPostgres
from db.migrate import migrate_central, migrate_site
from db.private_files import write_private
from db.privileges import RoleKind, institution_role, role_name
from db.role_making import make_database, make_group, make_institution_role, make_owner, make_role, quoted

CREDENTIALS = "credentials.json"
CENTRAL = "central"  # database and its owner, after the prefix


@dataclass(frozen=True)
class SiteUrls:
    """SQLAlchemy URLs of one institution, each with the password of a role that may enter one database only.

    Attributes
    ----------
    owner
        For migrations of the Site's database.
    app
        For the web process: every patient, nothing of the tables themselves.
    train
        For the SuperNode: what training reads, and no name.
    central
        For the institution's own web process, where it runs apart: the central database, of its own people.
    """

    owner: str
    app: str
    train: str
    central: str


@dataclass(frozen=True)
class DatabaseUrls:
    """SQLAlchemy URLs, each with the password of a role that may enter that one database only.

    Attributes
    ----------
    central, sites
        For migrations and preparations: the owners of the consortium's database, and of each institution's by code.
    app_central, app_sites, train_sites, central_of_sites
        For the processes of the product, as `SiteUrls` says.
    """

    central: str
    sites: dict[str, str]
    app_central: str
    app_sites: dict[str, str]
    train_sites: dict[str, str]
    central_of_sites: dict[str, str]


def provision(
    server: EmbeddedPostgres, institution_codes: Sequence[str], *, prefix: str = ""
) -> DatabaseUrls:
    """Make the roles and databases that are missing and bring every database to the newest schema and privileges.

    Parameters
    ----------
    server
        A running server. Passwords are random and kept in `credentials.json` of its data folder.
    institution_codes
        One site database is made for each.
    prefix
        Begins the name of every database, so that one server can hold several consortia.
    """
    central = f"{prefix}{CENTRAL}"
    with _superuser(server) as maker:
        owner = maker.database(central)
        app = maker.role(RoleKind.APP, central)
        maker.group(RoleKind.SITES, central)
    migrate_central(owner)
    sites = {code: provision_site(server, code, prefix=prefix) for code in institution_codes}
    return DatabaseUrls(
        central=owner,
        sites={code: urls.owner for code, urls in sites.items()},
        app_central=app,
        app_sites={code: urls.app for code, urls in sites.items()},
        train_sites={code: urls.train for code, urls in sites.items()},
        central_of_sites={code: urls.central for code, urls in sites.items()},
    )


def provision_all(server: EmbeddedPostgres, institution_codes: Sequence[str]) -> DatabaseUrls:
    """Do the same for these institutions and for every other one that the central database knows."""
    urls = provision(server, institution_codes)
    engine = create_engine(urls.central)
    try:
        with engine.connect() as connection:
            known = connection.scalars(text("SELECT code FROM institutions ORDER BY code")).all()
    finally:
        engine.dispose()
    return provision(server, (*institution_codes, *(code for code in known if code not in urls.sites)))


def provision_site(server: EmbeddedPostgres, institution_code: str, *, prefix: str = "") -> SiteUrls:
    """Make the roles and the database of one institution, or find them, and migrate it.

    The central database must have been made before.
    """
    central, site = f"{prefix}{CENTRAL}", f"{prefix}site_{institution_code}"
    with _superuser(server) as maker:
        urls = SiteUrls(
            owner=maker.database(site),
            app=maker.role(RoleKind.APP, site),
            train=maker.role(RoleKind.TRAIN, site),
            central=maker.institution(central, institution_code),
        )
    migrate_site(urls.owner)
    return urls


def prefix_of(central_url: str) -> str:
    """Return the prefix under which `provision` made this central database.

    Raises
    ------
    ValueError
        If `provision` did not make it.
    """
    name = make_url(central_url).database or ""
    if not name.endswith(CENTRAL):
        raise ValueError("this central database was not made by db.provision")
    return name.removesuffix(CENTRAL)


class _Maker:
    """Makes roles and databases as the superuser, and returns how to connect as them."""

    def __init__(self, server: EmbeddedPostgres, connection: Connection, passwords: dict[str, str]) -> None:
        self._server, self._connection, self._passwords = server, connection, passwords

    def database(self, name: str) -> str:
        """Make a database and its owner, who bears its name; return the owner's URL."""
        make_owner(self._connection, name, self._password(name))
        make_database(self._connection, name, name)
        return self._url(name, name)

    def role(self, kind: RoleKind, database: str) -> str:
        """Make one of a database's roles that own nothing; return its URL."""
        name = role_name(kind, database)
        make_role(self._connection, name, self._password(name), kind)
        self._admit(name, database)
        return self._url(name, database)

    def group(self, kind: RoleKind, database: str) -> None:
        """Make one of a database's roles that others are members of."""
        name = role_name(kind, database)
        make_group(self._connection, name)
        self._admit(name, database)

    def institution(self, central: str, code: str) -> str:
        """Make the role by which an institution enters the central database; return its URL."""
        password = self._password(institution_role(central, code))
        return self._url(make_institution_role(self._connection, central, code, password), central)

    def _admit(self, role: str, database: str) -> None:
        """Let a role pass pg_hba.conf, which asks for membership in the role that bears the database's name.

        Without INHERIT and SET it gives nothing else: neither the owner's privileges nor the right to become it.
        """
        owner, member = quoted(self._connection, database), quoted(self._connection, role)
        self._connection.exec_driver_sql(
            f"GRANT {owner} TO {member} WITH ADMIN FALSE, INHERIT FALSE, SET FALSE"
        )

    def _password(self, role: str) -> str:
        return self._passwords.setdefault(role, secrets.token_urlsafe(24))

    def _url(self, role: str, database: str) -> str:
        return self._server.url(database, role, self._passwords[role])


@contextmanager
def _superuser(server: EmbeddedPostgres) -> Iterator[_Maker]:
    """Give what makes roles and databases; one process at a time, and the passwords are kept."""
    with credentials(server.data_dir) as passwords:
        engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield _Maker(server, connection, passwords)
        finally:
            engine.dispose()


@contextmanager
def credentials(data_dir: Path) -> Iterator[dict[str, str]]:
    """Give the passwords by role and keep what was added; one process at a time, never half written."""
    path = data_dir / CREDENTIALS
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        passwords = dict(kept)
        yield passwords
        if passwords != kept:
            write_private(path, json.dumps(passwords, indent=2))
