"""Each rule of the System page says its sentence when something is wrong, and nothing when everything is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services.operations import Interval
from app.services.system_rules import RULES, findings
from app.services.system_state import (
    AuditState,
    BackupState,
    DatabaseState,
    DiskState,
    SiteSeen,
    SupervisorState,
    SystemState,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DATABASE = DatabaseState(
    "18.6", 10**7, 12, 200, 1, 15, 0, NOW - timedelta(days=3), 0.01, "0009", "0009", None
)
RECENT = Interval(NOW, 1000, 30, 10, 3, 50, 0.01, 0.1, 0.003, 0.01)
GOOD = SystemState(
    now=NOW,
    database=DATABASE,
    supervisor=SupervisorState("hub:7", "up", NOW - timedelta(seconds=1), "warm", "ab" * 32),
    federation_expected=True,
    federation_up=True,
    sites=[SiteSeen("northeast", "Harbour Light", NOW - timedelta(seconds=20), NOW - timedelta(hours=4))],
    disk=DiskState(free=50, total=100),
    versions=[],
    backup=BackupState(NOW - timedelta(hours=12), 10**8, failed_since=False),
    fault=None,
    audit=AuditState(2, NOW - timedelta(seconds=1), NOW - timedelta(days=1), None),
    recent=RECENT,
    failed_sign_ins=20,
    champion_since=NOW - timedelta(days=10),
    certificate_expires_at=NOW + timedelta(days=31),
    participation=[],
    web_since=NOW - timedelta(days=2),
    queue_length=0,
)


def _with(**changes: Any) -> SystemState:
    of_database = {name: changes.pop(name) for name in list(changes) if hasattr(DATABASE, name)}
    return replace(GOOD, database=replace(DATABASE, **of_database), **changes)


BROKEN: dict[str, tuple[SystemState, str]] = {
    "audit_tampered": (
        _with(audit=AuditState(0, None, NOW, "Event 7 was changed.")),
        "The last verification of the audit trail failed: Event 7 was changed.",
    ),
    "migrations": (
        _with(revision="0003"),
        "The central database has schema 0003, and this software wants 0009.",
    ),
    "supervisor_silent": (
        _with(supervisor=replace(GOOD.supervisor, heartbeat_at=NOW - timedelta(seconds=31))),  # type: ignore[type-var]
        "The supervisor of the federation has been silent for 31 seconds.",
    ),
    "software_old": (
        _with(revision="0010"),
        "The central database has schema 0010, newer than the 0009 that this software knows.",
    ),
    "disk": (_with(disk=DiskState(9, 100)), "Only 9 % of the disk of the data folder is free."),
    "error_rate": (
        _with(recent=replace(RECENT, server_errors=11)),
        "11 of 1,000 requests of the last ten minutes failed by a mistake of the program.",
    ),
    "pool_exhausted": (
        _with(pool_in_use=15),
        "All 15 database connections of this web process are in use.",
    ),
    "connections": (_with(connections=181), "The database server has 181 of at most 200 connections open."),
    "certificate": (
        _with(certificate_expires_at=NOW + timedelta(days=29)),
        "SuperLink's certificate expires in 29 days.",
    ),
    "backup": (
        _with(backup=BackupState(NOW - timedelta(days=3), 1, failed_since=False)),
        "The last backup is 3 days old.",
    ),
    "backup_failed": (
        _with(backup=BackupState(NOW, 1, failed_since=True)),
        "The last attempt at a backup failed.",
    ),
    "site_silent": (
        _with(sites=[SiteSeen("northeast", "Harbour Light", NOW - timedelta(minutes=61), None)]),
        "Harbour Light has not answered for 1 hour.",
    ),
    "sign_ins": (_with(failed_sign_ins=21), "21 sign-ins were refused within ten minutes."),
    "clocks": (
        _with(clock_difference=-6.0),
        "The database's clock is 6 seconds behind that of this server.",
    ),
    "replica": (_with(replica_lag=31.0), "The read replica is 31 seconds behind."),
    "audit_unsealed": (
        _with(audit=AuditState(5, NOW - timedelta(minutes=6), None, None)),
        "5 events of the audit trail wait for their seal, the oldest for 6 minutes.",
    ),
    "champion_old": (
        _with(champion_since=NOW - timedelta(days=91)),
        "The model in use has been so for 91 days.",
    ),
}


def test_nothing_is_said_while_everything_is_right() -> None:
    assert findings(GOOD) == []


def test_every_rule_is_tried_here() -> None:
    assert set(BROKEN) == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_in_a_sentence_with_what_to_do(name: str) -> None:
    state, sentence = BROKEN[name]
    [finding] = findings(state)
    assert (finding.rule, finding.what) == (name, sentence)
    assert finding.todo.endswith(".")


def test_the_worst_stands_first() -> None:
    both = replace(GOOD, champion_since=NOW - timedelta(days=91), disk=DiskState(1, 100))
    assert [finding.rule for finding in findings(both)] == ["disk", "champion_old"]


@pytest.mark.parametrize(
    "state",
    [
        _with(backup=None),
        _with(supervisor=None, federation_expected=False),
        _with(recent=None),
        _with(recent=replace(RECENT, requests=19, server_errors=5)),
        _with(champion_since=None, certificate_expires_at=None, disk=None),
        _with(sites=[SiteSeen("northeast", "Harbour Light", None, None)]),
    ],
)
def test_what_does_not_apply_here_is_not_complained_about(state: SystemState) -> None:
    assert findings(state) == []


def test_no_backup_ever_and_no_supervisor_ever_are_said() -> None:
    state = _with(supervisor=None, backup=BackupState(None, None, failed_since=False))
    assert [finding.what for finding in findings(state)] == [
        "The supervisor of the federation was never heard of.",
        "No backup was ever made.",
    ]


def test_an_expired_certificate_is_said() -> None:
    [finding] = findings(_with(certificate_expires_at=NOW - timedelta(days=1)))
    assert finding.what == "SuperLink's certificate has expired."
