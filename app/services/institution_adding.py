"""Adding an institution: its row, first accounts and, where this installation has its own server, its Site database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput
from app.permissions import Permission
from app.services import audit
from app.services.one_time_links import NewLink, issue_link
from app.services.person_entry import email_problems, name_problems, tidy_email, tidy_name
from app.settings import get_settings, is_loopback
from db.central import Institution, MedicalWorker
from db.embedded import EmbeddedPostgres
from db.provision import prefix_of, provision_site
from db.site_urls import site_url_file
from db.states import Role
from fl.features import FieldProblem

# Part of the name of a role and a database, of a file and of an e-mail address; `_MOST_CODE` leaves room for them.
_CODE = re.compile(r"[a-z][a-z0-9_]*")
_MOST_CODE, _MOST_NAME, _MOST_ADDRESS = 30, 255, 500


@dataclass(frozen=True)
class NewPerson:
    """A person who gets an account at the new institution."""

    name: str
    email: str


@dataclass(frozen=True)
class NewAccount:
    """An account that was made, and the one-time link with which its owner chooses a password."""

    name: str
    email: str
    role: Role
    link: NewLink


@dataclass(frozen=True)
class AddedInstitution:
    """What came of it.

    Attributes
    ----------
    database_made
        Whether its Site database was made here; otherwise the hospital sets up its Site as `site_commands` says.
    """

    code: str
    name: str
    accounts: list[NewAccount]
    database_made: bool


def database_is_made_here() -> bool:
    """Tell whether this installation has a PostgreSQL server of its own, on which it makes Site databases."""
    return _own_server() is not None


def add_institution(
    *,
    central: Session,
    actor: Actor,
    code: str,
    name: str,
    address: str | None,
    manager: NewPerson,
    doctor: NewPerson | None = None,
) -> AddedInstitution:
    """Add an institution; where databases are made here, it has its Site as soon as the session commits.

    The web process and the supervisor notice the new Site database by themselves.

    Parameters
    ----------
    manager
        Who decides for the institution whether it takes part.
    doctor
        Who can enter its first patients; None leaves that for later.

    Raises
    ------
    InvalidInput
        Naming every field that is wrong.
    Conflict
        If the code or an e-mail address is taken.
    """
    actor.require(Permission.INSTITUTIONS_MANAGE)
    code, name = code.strip(), " ".join(name.split())
    address = " ".join((address or "").split()) or None
    people = {
        Role.INSTITUTION_ADMIN: ("manager", _tidy(manager)),
        **({Role.DOCTOR: ("doctor", _tidy(doctor))} if doctor is not None else {}),
    }
    problems = [
        *_check_institution(code, name, address),
        *(problem for field, person in people.values() for problem in _check_person(field, person)),
    ]
    if doctor is not None and people[Role.DOCTOR][1].email == people[Role.INSTITUTION_ADMIN][1].email:
        problems.append(FieldProblem("doctor_email", "Two people need two e-mail addresses."))
    if problems:
        raise InvalidInput(problems)
    _refuse_taken(central, code, [person.email for _, person in people.values()])
    persons = {role: person for role, (_, person) in people.items()}
    accounts = _insert(central, actor, Institution(code=code, name=name, address=address), persons)
    server = _own_server()
    if server is not None:
        central_url = get_settings().central_database_url.get_secret_value()
        urls = provision_site(server, code, prefix=prefix_of(central_url))
        # Read by nobody before the institution is committed: the supervisor asks the central database first.
        site_url_file(get_settings().data_dir).add(code, app=urls.app, train=urls.train)
    return AddedInstitution(code, name, accounts, database_made=server is not None)


def site_commands(code: str) -> str:
    """Return what is run at a hospital to set up its Site, as lines of a shell; values in angle brackets are theirs."""
    scheme, server = "postgresql+psycopg2://", "<database host>:5432"
    owner, app, train = (
        f"{scheme}{role}site_{code}:<password {number}>@{server}/site_{code}"
        for number, role in enumerate(("", "app_", "train_"), start=1)
    )
    return "\n".join(
        [
            "# 1. Three roles, a database that nobody else may enter, and its tables. The passwords are yours;",
            "#    only these two commands need those of the server's administrator and of the tables' owner",
            f"export ADMIN_DATABASE_URL='{scheme}postgres:<password of the administrator>@{server}/postgres'",
            f'export SITE_OWNER_DATABASE_URLS=\'{{"{code}": "{owner}"}}\'',
            f'export SITE_DATABASE_URLS=\'{{"{code}": "{app}"}}\'',
            f'export SITE_TRAIN_DATABASE_URLS=\'{{"{code}": "{train}"}}\'',
            "python -m db.roles && python -m db.migrate",
            "unset ADMIN_DATABASE_URL SITE_OWNER_DATABASE_URLS SITE_TRAIN_DATABASE_URLS",
            "",
            "# 2. The key of its SuperNode; register the public half, which is printed, on the hub's Institutions page",
            "python -m fl.runtime.supernode_key supernode.key",
            "",
            "# 3. The SuperNode, which trains on the hospital's patients; keep it running. The hub hands out ca.pem",
            f"INSTITUTION={code} \\",
            f"SITE_DATABASE_URL='{train}' \\",
            "SUPERNODE_KEY=supernode.key \\",
            "SUPERLINK_ADDRESS=<address of the hub>:8000 \\",
            "SUPERLINK_ROOT_CERTIFICATES=ca.pem \\",
            "python -m fl.runtime.supernode",
            "",
            "# 4. The application for the hospital's people; the consortium gives the address of its database",
            "FEDERATION=false \\",
            f"CENTRAL_DATABASE_URL='{scheme}central_{code}:<password given>@<host given>:5432/central' \\",
            f'SITE_DATABASE_URLS=\'{{"{code}": "{app}"}}\' \\',
            "JWT_SECRET='<a random key of 32 characters or more>' \\",
            "python -m streamlit run app/main.py",
        ]
    )


def _own_server() -> EmbeddedPostgres | None:
    settings = get_settings()
    central = make_url(settings.central_database_url.get_secret_value())
    server = EmbeddedPostgres(settings.data_dir)
    if not is_loopback(central.host) or server.pid is None or server.port != central.port:
        return None
    return server


def _tidy(person: NewPerson) -> NewPerson:
    return NewPerson(tidy_name(person.name), tidy_email(person.email))


def _check_institution(code: str, name: str, address: str | None) -> list[FieldProblem]:
    problems = []
    if not _CODE.fullmatch(code) or len(code) > _MOST_CODE:
        problems.append(
            FieldProblem(
                "code",
                f"The code has up to {_MOST_CODE} small letters, digits and underscores and begins with a letter.",
            )
        )
    if not 2 <= len(name) <= _MOST_NAME or not name.isprintable():
        problems.append(FieldProblem("name", f"The name has from 2 to {_MOST_NAME} characters."))
    if address is not None and (len(address) > _MOST_ADDRESS or not address.isprintable()):
        problems.append(FieldProblem("address", f"The address has {_MOST_ADDRESS} characters at most."))
    return problems


def _check_person(field: str, person: NewPerson) -> list[FieldProblem]:
    whose = {"manager": "The hospital administrator's", "doctor": "The doctor's"}[field]
    return [
        *name_problems(person.name, field=f"{field}_name", whose=f"{whose} name"),
        *email_problems(person.email, field=f"{field}_email", whose=f"{whose} e-mail address"),
    ]


def _refuse_taken(central: Session, code: str, emails: Sequence[str]) -> None:
    if central.scalar(select(Institution.id).where(Institution.code == code)) is not None:
        raise Conflict(f"There is an institution with the code {code} already.")
    taken = central.scalars(select(MedicalWorker.email).where(MedicalWorker.email.in_(emails))).all()
    if taken:
        raise Conflict(f"Somebody signs in as {taken[0]} already; use another e-mail address.")


def _insert(
    central: Session, actor: Actor, institution: Institution, people: Mapping[Role, NewPerson]
) -> list[NewAccount]:
    try:
        central.add(institution)
        central.flush()
        workers = [
            MedicalWorker(
                email=person.email,
                password_hash=None,
                name=person.name,
                role=role,
                institution_id=institution.id,
            )
            for role, person in people.items()
        ]
        central.add_all(workers)
        central.flush()
    except IntegrityError as error:
        raise Conflict("Somebody has just added this institution or one of these people.") from error
    audit.record(
        central=central,
        actor=actor,
        action="institution_added",
        target=f"institution {institution.code}",
        details={"accounts": [str(role) for role in people]},
    )
    accounts = []
    for worker in workers:
        central.refresh(worker)  # what the database filled in
        link = issue_link(central, worker, actor=actor)
        accounts.append(NewAccount(worker.name, worker.email, Role(worker.role), link))
    return accounts
