"""Sessions on the databases that this process was given; only here is known which URL belongs to whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from app.actor import Actor
from app.errors import CentralUnavailable, DatabaseUnavailable, PermissionRefused, SiteUnavailable
from app.read_replica import ReadReplica, call_after_writes, replica_engine
from app.request_keys import has_key, mark
from app.settings import get_settings
from app.waiting import note_commit, wait_on_connecting
from db.engines import engine_for
from db.privileges import DatabaseKind
from db.site_urls import site_url_file

_CENTRAL_SILENT = "The consortium's database does not answer. Try again in a minute."
_READ_ONLY = {"postgresql_readonly": True}


@contextmanager
def central_session(*, changes: bool = True) -> Iterator[Session]:
    """Open a session on the consortium's database; commits at the end, rolls back on an error.

    Parameters
    ----------
    changes
        It may make the change that the request in hand asks for; False for one that only looks or keeps a record.

    Raises
    ------
    CentralUnavailable
        If the database does not answer.
    """
    url = get_settings().central_database_url.get_secret_value()
    silent = CentralUnavailable(_CENTRAL_SILENT)
    with _committed_session(url, silent, "central" if changes else None) as session:
        yield session


@contextmanager
def central_lookup() -> Iterator[Session]:
    """Open a session on the consortium's database each of whose statements stands alone, as who is calling does.

    Beginning and committing a transaction would be two more round trips; what needs several statements to agree
    takes `central_session`.

    Raises
    ------
    CentralUnavailable
        If the database does not answer.
    """
    url = get_settings().central_database_url.get_secret_value()
    silent = CentralUnavailable(_CENTRAL_SILENT)
    with _answering(session := _alone(url)(), silent):
        yield session


@contextmanager
def central_read_session() -> Iterator[Session]:
    """Open a session that reads the consortium's database for a dashboard, and cannot write.

    It reads the replica, if there is one, it answers and is not behind; else the primary. What this process wrote is
    there; what another did may come `LAG_LIMIT` later.

    Raises
    ------
    CentralUnavailable
        If the database does not answer. Where the replica fell silent in the middle, the next one reads the primary.
    """
    silent = CentralUnavailable(_CENTRAL_SILENT)
    replica = _replica()
    session = _of_replica(replica) if replica is not None and replica.may_answer() else None
    if session is None:
        session, replica = _sessions(get_settings().central_database_url.get_secret_value())(), None
    try:
        with _answering(session, silent):
            if replica is None:
                session.connection(execution_options=_READ_ONLY)
            yield session
            session.commit()  # a forgotten change is refused here rather than lost
    except CentralUnavailable as error:
        if replica is not None and error is silent:
            replica.set_aside()
            error.connection_lost = True  # begun again, it is answered by the primary
        raise


@contextmanager
def site_session(actor: Actor, *, changes: bool = True, in_one_statement: bool = False) -> Iterator[Session]:
    """Open a session on the database of the actor's own institution; there is no way to another one's.

    Parameters
    ----------
    changes
        As of `central_session`.
    in_one_statement
        Whatever is changed is changed by one statement: it needs no transaction around it, which would be two more
        journeys to the database. A request with a key has one all the same, for its mark.

    Raises
    ------
    PermissionRefused
        If the person belongs to no institution.
    SiteUnavailable
        If this process has no URL of that institution, or its database does not answer.
    """
    if actor.institution_code is None:
        raise PermissionRefused("Your account belongs to no hospital, so it has no patients.")
    url = site_database_url(actor.institution_code)
    if url is None:
        raise SiteUnavailable(
            f"This address does not serve the patients of {actor.institution_name}. "
            "Use the address of your own hospital."
        )
    silent = SiteUnavailable(
        f"The patient database of {actor.institution_name} does not answer. Try again in a minute."
    )
    if in_one_statement and not has_key("site"):
        note_commit(url)
        with _answering(session := _alone(url)(), silent):
            yield session
        return
    with _committed_session(url, silent, "site" if changes else None) as session:
        yield session


@contextmanager
def housekeeping_session(institution_code: str) -> Iterator[Session]:
    """Open a session on a served institution's database for work that nobody asked for, such as sealing its trail.

    Raises
    ------
    SiteUnavailable
        If this process has no URL of that institution, or its database does not answer.
    """
    url = site_database_url(institution_code)
    if url is None:
        raise SiteUnavailable(f"This process does not serve {institution_code}.")
    with _committed_session(
        url, SiteUnavailable(f"The database of {institution_code} does not answer.")
    ) as session:
        yield session


def served_institutions() -> list[str]:
    """Return the codes of the institutions whose databases this process may open."""
    settings = get_settings()
    return sorted({*settings.site_database_urls, *site_url_file(settings.data_dir).read("app")})


def site_database_url(institution_code: str) -> str | None:
    """Return the URL of an institution's database that this process was started with or given since, if any."""
    settings = get_settings()
    secret = settings.site_database_urls.get(institution_code)
    if secret is not None:
        return secret.get_secret_value()
    return site_url_file(settings.data_dir).read("app").get(institution_code)


@cache
def _sessions(url: str) -> sessionmaker[Session]:
    """Return the session factory for `url`, whose new connections wait while the server restarts."""
    wait_on_connecting(engine_for(url))
    # A factory of its own: what is told after a write concerns this web process alone.
    sessions = sessionmaker(engine_for(url), expire_on_commit=False)
    if url == get_settings().central_database_url.get_secret_value():
        call_after_writes(sessions, _tell_replica)
    return sessions


@cache
def _alone(url: str) -> sessionmaker[Session]:
    """Return the factory of sessions whose statements each stand alone."""
    engine = engine_for(url, autocommit=True)
    wait_on_connecting(engine)
    return sessionmaker(engine, expire_on_commit=False)


def _replica() -> ReadReplica | None:
    settings = get_settings()
    url = settings.central_read_database_url
    if url is None or not url.get_secret_value():
        return None
    return _known_replica(url.get_secret_value(), settings.central_database_url.get_secret_value())


@cache
def _known_replica(url: str, primary_url: str) -> ReadReplica:
    return ReadReplica(url, primary_url)


def _tell_replica() -> None:
    replica = _replica()
    if replica is not None:
        replica.note_write()


def _of_replica(replica: ReadReplica) -> Session | None:
    """Return a session that is connected to the replica; None if it does not answer."""
    session = Session(replica_engine(replica.url), expire_on_commit=False)
    try:
        session.connection()
    except (DBAPIError, PoolTimeout):
        session.close()
        replica.set_aside()
        return None
    return session


@contextmanager
def _committed_session(
    url: str, silent: DatabaseUnavailable, changed: DatabaseKind | None = None
) -> Iterator[Session]:
    session = _sessions(url)()
    with _answering(session, silent):
        yield session
        if session.in_transaction():
            if changed is not None:
                mark(session, changed)
            note_commit(url)
        session.commit()


@contextmanager
def _answering(session: Session, silent: DatabaseUnavailable) -> Iterator[None]:
    """Raise `silent` where the database does not answer, and close the session in any case."""
    try:
        yield
    except DBAPIError as error:
        silent.connection_lost = error.connection_invalidated
        if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
            raise silent from error
        raise
    except PoolTimeout as error:
        raise silent from error
    finally:
        # Also after st.stop() and st.rerun(), which are BaseExceptions: closing rolls back what is open.
        # On a connection that is gone there is nothing to roll back, and what happened before is what counts.
        with suppress(DBAPIError):
            session.close()
