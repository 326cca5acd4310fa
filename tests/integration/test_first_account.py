"""The first administrator of an installation, made at the hub's own prompt."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import select, update

from app.auth.one_time_link import choose_password
from app.databases import central_session
from app.errors import Conflict, InvalidInput
from app.first_account import make_first_account
from app.settings import PROJECT_ROOT
from db.central import AuditEvent, MedicalWorker
from db.states import Role
from tests.integration.conftest import Consortium


def _make(email: str = "first@test.local", **given: Any) -> str:
    with central_session() as central:
        return make_first_account(central, email=email, name="First Person", **given).path


def _without_administrator(world: Consortium) -> None:
    with world.central() as central:
        central.execute(update(MedicalWorker).where(MedicalWorker.role == Role.ADMIN).values(is_active=False))
        central.commit()


def _run(world: Consortium, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "JWT_SECRET"},
        "CENTRAL_DATABASE_URL": world.urls.central,
        "PUBLIC_URL": "https://fedcost.example/",
    }
    return subprocess.run(
        [sys.executable, "-m", "app.first_account", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_prints_a_link_once_and_refuses_while_there_is_an_administrator(
    consortium: Consortium,
) -> None:
    refused = _run(consortium, "first@test.local", "First Person")
    assert refused.returncode == 2 and "--reset" in refused.stderr and not refused.stdout
    _without_administrator(consortium)
    made = _run(consortium, "First@Test.local", "First Person")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip().partition("https://fedcost.example/set_password#")[2]
    with central_session() as central:
        assert choose_password(central, token=token, password="seven otters juggle") == "first@test.local"
    with consortium.central() as central:
        worker = central.scalars(select(MedicalWorker).where(MedicalWorker.email == "first@test.local")).one()
        assert (worker.role, worker.institution_id, worker.is_active) == (Role.ADMIN, None, True)
        kept = central.execute(select(AuditEvent.action, AuditEvent.details)).all()
        assert ("first_account_made", {"reset": False}) in [tuple(row) for row in kept]
        assert token not in str(kept)


def test_a_reset_gives_a_link_to_an_administrator_and_to_nobody_of_another_role(
    consortium: Consortium,
) -> None:
    with pytest.raises(Conflict, match="active administrator"):
        _make()
    assert _make("admin@test.local", reset=True) != _make("admin@test.local", reset=True)
    with pytest.raises(Conflict, match="another role"):
        _make("doctor@northeast.test.local", reset=True)
    with pytest.raises(InvalidInput):
        _make("nobody", reset=True)
