"""Managing the institutions of the consortium: what is known of each, deactivating, and adding one."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, select

from app.auth.one_time_link import link_holder
from app.databases import central_session, site_database_url, site_session
from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused, SiteUnavailable
from app.permissions import PERMISSIONS, Permission
from app.services import institution_adding
from app.services.institution_adding import (
    AddedInstitution,
    NewPerson,
    add_institution,
    database_is_made_here,
)
from app.services.institutions import InstitutionView, list_institutions, set_active
from app.settings import get_settings
from db.central import AuditEvent, Institution, MedicalWorker
from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.provision import prefix_of, provision_all
from db.site import Patient
from db.site_urls import FILE, SiteUrlFile
from db.states import Role
from fl.recorder import RunRecorder
from fl.runtime.environment import SupervisorEnvironment
from fl.runtime.site_list import SiteList
from tests.integration.conftest import Consortium
from tests.integration.institution_facts import add_run, answer_presence, say

MANAGER = NewPerson("Mara Lake", "Mara@Lakeside.example.org ")
DOCTOR = NewPerson("Dr. Dov Lake", "dov@lakeside.example.org")


ROLES_OF_THIS_TEST = (
    "SELECT rolname FROM pg_roles WHERE rolname ~ '^((app|sites|train)_)?(central|site)(_here|_lakeside)?$'"
)


def listed(consortium: Consortium) -> dict[str, InstitutionView]:
    with central_session() as central:
        views = list_institutions(central=central, actor=consortium.actors["admin"]).items
    return {view.code: view for view in views}


def set_state(consortium: Consortium, code: str, active: bool, reason: str = "A reason") -> None:
    with central_session() as central:
        set_active(central=central, actor=consortium.actors["admin"], code=code, active=active, reason=reason)


def add(consortium: Consortium, **changed: Any) -> AddedInstitution:
    entry = {"code": "lakeside", "name": "Lakeside Hospital", "address": "", "manager": MANAGER, **changed}
    with central_session() as central:
        return add_institution(central=central, actor=consortium.actors["admin"], **entry)


def test_every_institution_is_listed_with_what_its_site_said(consortium: Consortium) -> None:
    say(consortium, {"northeast": "connected", "southeast": "starting"}, bundle="a" * 64)
    answer_presence(consortium, "northeast", consent="paused")
    answer_presence(consortium, "northwest", bundle="b" * 64, ago=30)  # on another machine
    answer_presence(consortium, "southwest", ago=300)
    views = listed(consortium)
    assert {code: view.connection for code, view in views.items()} == {
        "northeast": "connected",
        "northwest": "connected",
        "southeast": "starting",
        "southwest": "down",
    }
    northeast = views["northeast"]
    assert (northeast.usable_rows, northeast.consent, northeast.same_code) == (300, "paused", True)
    assert northeast.people == 3 and northeast.online_since is not None
    assert views["northwest"].same_code is False
    assert (views["southeast"].usable_rows, views["southeast"].same_code) == (None, None)


def test_a_supervisor_that_is_silent_says_nothing_of_anybody(consortium: Consortium) -> None:
    say(consortium, {"northeast": "connected"}, ago=60)
    assert {view.connection for view in listed(consortium).values()} == {"down"}


def test_the_last_runs_say_what_was_used_and_why_not(consortium: Consortium) -> None:
    for _ in range(6):
        add_run(consortium, {"northeast": [("statistics", "ok", None), ("train", "ok", None)]})
    newest = add_run(
        consortium,
        {
            "northeast": [
                ("statistics", "ok", None),
                ("train", "late", "Too slow."),
                ("train", "failed", "Lost."),
                ("evaluate", "excluded", "Fewer than 10."),
            ]
        },
    )
    add_run(consortium, {}, status="queued")
    views = listed(consortium)
    assert len(views["northeast"].runs) == 5 and views["southwest"].runs == []
    part = views["northeast"].runs[0]
    assert (part.run_id, part.used, part.asked, part.reason) == (newest, 1, 3, "Lost.")


def test_a_deactivated_institution_is_asked_by_no_run_and_its_supernode_is_not_wanted(
    consortium: Consortium,
) -> None:
    settings = get_settings()
    environment = SupervisorEnvironment(
        consortium.urls.app_central, consortium.urls.train_sites, settings.data_dir, "warm", "127.0.0.1", 0
    )
    wanted = SiteList(environment, sessions_for(consortium.urls.app_central))
    assert set(wanted.read()) == set(consortium.urls.sites)
    run_id = add_run(consortium, {})
    set_state(consortium, "southeast", False, " It leaves\nfor a year ")
    assert set(wanted.read()) == set(consortium.urls.sites) - {"southeast"}
    assert "southeast" not in RunRecorder(consortium.urls.app_central, run_id).plan().institutions
    view = listed(consortium)["southeast"]
    assert (view.connection, view.is_active, view.status_reason) == (
        "inactive",
        False,
        "It leaves for a year",
    )
    assert view.status_by == "The admin"
    set_state(consortium, "southeast", True, "It is back")
    view = listed(consortium)["southeast"]
    assert (view.connection, view.is_active, view.status_reason) == ("down", True, "It is back")
    with consortium.central() as central:
        events = central.execute(
            select(AuditEvent.action, AuditEvent.target, AuditEvent.details).order_by(AuditEvent.id)
        ).all()
    assert [tuple(each) for each in events] == [
        ("institution_deactivated", "institution southeast", {"reason": "It leaves for a year"}),
        ("institution_reactivated", "institution southeast", {"reason": "It is back"}),
    ]


def test_the_people_of_a_deactivated_institution_still_see_their_patients(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ada", "Lovelace")
    set_state(consortium, "northeast", False)
    with site_session(consortium.actors["doctor"]) as site:
        assert site.scalars(select(Patient.last_name)).all() == ["Lovelace"]


def test_a_state_is_changed_once_and_with_a_reason(consortium: Consortium) -> None:
    with pytest.raises(Conflict, match="already active"):
        set_state(consortium, "northeast", True)
    with pytest.raises(NotFound):
        set_state(consortium, "nowhere", False)
    for reason in ("  ", "x" * 501):
        with pytest.raises(InvalidInput):
            set_state(consortium, "northeast", False, reason)
    assert listed(consortium)["northeast"].is_active


@pytest.mark.parametrize("person", ["scientist", "doctor", "nurse", "manager"])
def test_nobody_else_manages_institutions(consortium: Consortium, person: str) -> None:
    actor = consortium.actors[person]
    assert Permission.INSTITUTIONS_MANAGE not in PERMISSIONS[actor.role]
    with central_session() as central:
        with pytest.raises(PermissionRefused):
            list_institutions(central=central, actor=actor)
        with pytest.raises(PermissionRefused):
            set_active(central=central, actor=actor, code="northeast", active=False, reason="x")
        with pytest.raises(PermissionRefused):
            add_institution(
                central=central, actor=actor, code="lakeside", name="L", address=None, manager=MANAGER
            )


def test_where_the_site_is_run_elsewhere_the_hospital_gets_its_accounts_and_the_commands(
    consortium: Consortium,
) -> None:
    assert not database_is_made_here()
    added = add(consortium, address=" 1 Lake\nRoad ", doctor=DOCTOR)
    assert not added.database_made
    assert [(each.email, each.role) for each in added.accounts] == [
        ("mara@lakeside.example.org", Role.INSTITUTION_ADMIN),
        ("dov@lakeside.example.org", Role.DOCTOR),
    ]
    with consortium.central() as central:
        institution = central.scalars(select(Institution).where(Institution.code == "lakeside")).one()
        people = central.scalars(
            select(MedicalWorker).where(MedicalWorker.institution_id == institution.id)
        ).all()
        event = central.scalars(select(AuditEvent)).one()
    assert (institution.name, institution.address, institution.is_active) == (
        "Lakeside Hospital",
        "1 Lake Road",
        True,
    )
    tokens = {account.email: account.link.path.partition("#")[2] for account in added.accounts}
    assert len(set(tokens.values())) == 2
    for worker in people:
        assert worker.password_hash is None, "nobody but its owner chooses a password"
        with central_session() as central:
            assert link_holder(central, token=tokens[worker.email]).email == worker.email
        assert tokens[worker.email] not in str(event.details)
    assert (event.action, event.target) == ("institution_added", "institution lakeside")
    with pytest.raises(SiteUnavailable):
        _open_as(consortium, "lakeside")


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"code": "Lake Side"}, ["code"]),
        ({"code": "1lake"}, ["code"]),
        ({"code": 'x"; DROP ROLE postgres; --'}, ["code"]),
        ({"code": "l" * 31}, ["code"]),
        ({"code": ""}, ["code"]),
        ({"name": " "}, ["name"]),
        ({"name": "A\x00B"}, ["name"]),
        ({"address": "x" * 501}, ["address"]),
        ({"manager": NewPerson("", "nobody")}, ["manager_name", "manager_email"]),
        ({"doctor": NewPerson("Dr. X", "x@@example.org")}, ["doctor_email"]),
        ({"doctor": NewPerson("Dr. X", "mara@lakeside.example.org")}, ["doctor_email"]),
    ],
)
def test_an_entry_that_cannot_be_is_refused_field_by_field(
    consortium: Consortium, changed: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        add(consortium, **changed)
    assert [problem.field for problem in refusal.value.problems] == fields
    assert "lakeside" not in listed(consortium)


def test_a_code_and_an_address_are_given_once(consortium: Consortium) -> None:
    with pytest.raises(Conflict, match="code northeast already"):
        add(consortium, code="northeast")
    with pytest.raises(Conflict, match=r"signs in as doctor@northeast\.test\.local already"):
        add(consortium, manager=NewPerson("Somebody Else", "DOCTOR@northeast.test.local"))


def _open_as(consortium: Consortium, code: str) -> int:
    from dataclasses import replace

    actor = replace(consortium.actors["doctor"], institution_code=code, institution_name="Lakeside Hospital")
    with site_session(actor) as site:
        return len(site.scalars(select(Patient)).all())


@pytest.fixture
def new_code() -> str:
    """A code of its own: the data folder of the server is that of every test."""
    return f"lake_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def own_server(
    consortium: Consortium, postgres_server: EmbeddedPostgres, new_code: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmbeddedPostgres]:
    """The installation whose data folder holds the server: it makes Site databases itself."""
    monkeypatch.setenv("DATA_DIR", str(postgres_server.data_dir))
    get_settings.cache_clear()
    yield postgres_server
    prefix = prefix_of(consortium.urls.central)
    name, central = f"{prefix}site_{new_code}", f"{prefix}central"
    if (url := site_database_url(new_code)) is not None:
        engine_for(url).dispose()
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        for role in (name, f"app_{name}", f"train_{name}", f"{central}_{new_code}"):
            connection.exec_driver_sql(f"DROP ROLE IF EXISTS {role}")
    engine.dispose()


def test_where_databases_are_made_here_a_new_institution_works_at_once_and_after_a_restart(
    consortium: Consortium, own_server: EmbeddedPostgres, new_code: str
) -> None:
    data_dir = own_server.data_dir
    environment = SupervisorEnvironment(
        consortium.urls.app_central, consortium.urls.train_sites, data_dir, "warm", "127.0.0.1", 0
    )
    wanted = SiteList(environment, sessions_for(consortium.urls.app_central))
    assert new_code not in wanted.read() and site_database_url(new_code) is None
    assert add(consortium, code=new_code, doctor=DOCTOR).database_made
    # The web process and the supervisor have its URLs without a restart; nobody else may read the file.
    url = site_database_url(new_code)
    assert url is not None
    assert stat.S_IMODE((data_dir / FILE).stat().st_mode) == 0o600
    assert _open_as(consortium, new_code) == 0
    # Done again, it is the same database: a start after this one provisions what the central database knows.
    prefix = prefix_of(consortium.urls.central)
    again = institution_adding.provision_site(own_server, new_code, prefix=prefix)
    assert (again.app, again.train) == (url, wanted.read()[new_code])
    # Each of its roles enters its own database only.
    for own in (again.owner, again.app, again.train):
        elsewhere = make_url(own).set(database=make_url(consortium.urls.sites["northeast"]).database)
        with pytest.raises(Exception, match=r"pg_hba|permission denied"):
            create_engine(elsewhere).connect()


def test_an_institution_that_was_not_added_after_all_gets_no_supernode(
    consortium: Consortium, own_server: EmbeddedPostgres, new_code: str
) -> None:
    """Its database was made, but the central database did not keep it."""
    with pytest.raises(RuntimeError), central_session() as central:
        add_institution(
            central=central,
            actor=consortium.actors["admin"],
            code=new_code,
            name="Lakeside Hospital",
            address=None,
            manager=MANAGER,
        )
        raise RuntimeError("the connection is lost before the end")
    environment = SupervisorEnvironment(
        consortium.urls.app_central, consortium.urls.train_sites, own_server.data_dir, "warm", "127.0.0.1", 0
    )
    assert new_code not in SiteList(environment, sessions_for(consortium.urls.app_central)).read()
    assert add(consortium, code=new_code).database_made, "and it can be added later"


def test_the_file_of_urls_is_read_again_when_it_changed_and_forgotten_at_a_start(tmp_path: Any) -> None:
    reader, writer = SiteUrlFile(tmp_path), SiteUrlFile(tmp_path)
    assert reader.read("app") == {}
    writer.add("lakeside", app="postgresql://one", train="postgresql://two")
    assert reader.read("app") == {"lakeside": "postgresql://one"}
    writer.add("hillside", app="postgresql://three", train="postgresql://four")
    assert reader.read("train") == {"lakeside": "postgresql://two", "hillside": "postgresql://four"}
    writer.clear()
    assert reader.read("app") == reader.read("train") == {}


def test_a_start_provisions_every_institution_that_the_central_database_knows(
    postgres_server: EmbeddedPostgres,
) -> None:
    urls = provision_all(postgres_server, ("here",))
    engine = create_engine(urls.central)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO institutions (code, name) VALUES ('lakeside', 'Lakeside')")
    engine.dispose()
    again = provision_all(postgres_server, ("here",))
    assert set(again.sites) == {"here", "lakeside"} and again.sites["here"] == urls.sites["here"]
    with sessions_for(again.sites["lakeside"])() as site:
        assert site.scalars(select(Patient)).all() == []
    engine_for(again.sites["lakeside"]).dispose()
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for url in (urls.central, *again.sites.values()):
            connection.exec_driver_sql(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")
        for role in connection.exec_driver_sql(ROLES_OF_THIS_TEST).scalars().all():
            connection.exec_driver_sql(f"DROP ROLE {role}")
    engine.dispose()
