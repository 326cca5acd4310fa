"""What is wrong with the product at work, in a sentence, and what to do about it: rules as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from app.services.system_state import SystemState

Severity = Literal["error", "warning"]

LEAST_FREE = 0.10  # of the disk
LONGEST_SILENCE = timedelta(seconds=30)  # of the supervisor
SITE_SILENCE = timedelta(hours=1)
BACKUP_AGE = timedelta(days=2)
CERTIFICATE_NOTICE = timedelta(days=30)
MOST_ERRORS = 0.01  # of the requests of the last ten minutes
FEWEST_REQUESTS = 20  # below which a share says little
CHAMPION_AGE = timedelta(days=90)
MOST_FAILED_SIGN_INS = 20  # in ten minutes
MOST_CONNECTIONS = 0.90  # of those the database accepts
CLOCK_DIFFERENCE = 5.0  # seconds
REPLICA_LAG = 30.0  # seconds
UNSEALED_FOR = timedelta(minutes=5)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to do."""

    rule: str
    severity: Severity
    what: str
    todo: str


@dataclass(frozen=True)
class Rule:
    """Looks at one fact; `what` returns a sentence for each thing that is wrong with it, usually none."""

    name: str
    severity: Severity
    what: Callable[[SystemState], Iterator[str]]
    todo: str


def findings(state: SystemState) -> list[Finding]:
    """Return what is wrong, what is worst first."""
    found = [
        Finding(rule.name, rule.severity, what, rule.todo) for rule in RULES for what in rule.what(state)
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _disk(state: SystemState) -> Iterator[str]:
    if state.disk is not None and state.disk.free_share < LEAST_FREE:
        yield f"Only {100 * state.disk.free_share:.0f} % of the disk of the data folder is free."


def _backup(state: SystemState) -> Iterator[str]:
    if state.backup is None:
        return
    if state.backup.finished_at is None:
        yield "No backup was ever made."
    elif state.now - state.backup.finished_at > BACKUP_AGE:
        days = (state.now - state.backup.finished_at).days
        yield f"The last backup is {days} days old."


def _backup_failed(state: SystemState) -> Iterator[str]:
    if state.backup is not None and state.backup.failed_since:
        yield "The last attempt at a backup failed."


def _supervisor(state: SystemState) -> Iterator[str]:
    if not state.federation_expected:
        return
    if state.supervisor is None:
        yield "The supervisor of the federation was never heard of."
    elif state.now - state.supervisor.heartbeat_at > LONGEST_SILENCE:
        yield f"The supervisor of the federation has been silent for {_age(state.now - state.supervisor.heartbeat_at)}."


def _sites(state: SystemState) -> Iterator[str]:
    for site in state.sites:
        if site.last_seen_at is not None and state.now - site.last_seen_at > SITE_SILENCE:
            yield f"{site.name} has not answered for {_age(state.now - site.last_seen_at)}."


def _certificate(state: SystemState) -> Iterator[str]:
    expires = state.certificate_expires_at
    if expires is None:
        return
    if expires <= state.now:
        yield "SuperLink's certificate has expired."
    elif expires - state.now < CERTIFICATE_NOTICE:
        yield f"SuperLink's certificate expires in {_age(expires - state.now)}."


def _errors(state: SystemState) -> Iterator[str]:
    recent = state.recent
    if recent is None or recent.requests < FEWEST_REQUESTS or recent.error_share is None:
        return
    if recent.error_share > MOST_ERRORS:
        yield (
            f"{recent.server_errors} of {recent.requests:,} requests of the last ten minutes failed by a mistake of "
            "the program."
        )


def _champion(state: SystemState) -> Iterator[str]:
    if state.champion_since is not None and state.now - state.champion_since > CHAMPION_AGE:
        yield f"The model in use has been so for {(state.now - state.champion_since).days} days."


def _sign_ins(state: SystemState) -> Iterator[str]:
    if state.failed_sign_ins > MOST_FAILED_SIGN_INS:
        yield f"{state.failed_sign_ins} sign-ins were refused within ten minutes."


def _pool(state: SystemState) -> Iterator[str]:
    if state.database.pool_in_use >= state.database.pool_size:
        yield f"All {state.database.pool_size} database connections of this web process are in use."


def _connections(state: SystemState) -> Iterator[str]:
    used, limit = state.database.connections, state.database.connections_limit
    if used > MOST_CONNECTIONS * limit:
        yield f"The database server has {used} of at most {limit} connections open."


def _clocks(state: SystemState) -> Iterator[str]:
    difference = state.database.clock_difference
    if abs(difference) > CLOCK_DIFFERENCE:
        way = "ahead of" if difference > 0 else "behind"
        yield f"The database's clock is {abs(difference):.0f} seconds {way} that of this server."


def _migrations(state: SystemState) -> Iterator[str]:
    if state.database.behind:
        yield (
            f"The central database has schema {state.database.revision or 'none'}, and this software wants "
            f"{state.database.expected_revision}."
        )


def _software(state: SystemState) -> Iterator[str]:
    found, wanted = state.database.revision, state.database.expected_revision
    if not state.database.behind and found != wanted:
        yield f"The central database has schema {found}, newer than the {wanted} that this software knows."


def _replica(state: SystemState) -> Iterator[str]:
    lag = state.database.replica_lag
    if lag is not None and lag > REPLICA_LAG:
        yield f"The read replica is {lag:.0f} seconds behind."


def _unsealed(state: SystemState) -> Iterator[str]:
    oldest = state.audit.oldest_unsealed_at
    if oldest is not None and state.now - oldest > UNSEALED_FOR:
        waiting, age = state.audit.unsealed, _age(state.now - oldest)
        yield f"{waiting:,} events of the audit trail wait for their seal, the oldest for {age}."


def _tampered(state: SystemState) -> Iterator[str]:
    if state.audit.problem:
        yield f"The last verification of the audit trail failed: {state.audit.problem}"


def _age(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {word}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"


RULES: tuple[Rule, ...] = (
    Rule(
        "audit_tampered",
        "error",
        _tampered,
        "Keep the database as it is, and compare with the last backup: somebody changed the record.",
    ),
    Rule("migrations", "error", _migrations, "Run python -m db.migrate with the software that is installed."),
    Rule(
        "supervisor_silent",
        "error",
        _supervisor,
        "See logs/supervisor.log at the hub; restarting its web process starts it again. No run goes on meanwhile.",
    ),
    Rule(
        "disk",
        "error",
        _disk,
        "Delete old archives and logs, or give the disk more room; on a full disk no run can be saved.",
    ),
    Rule("error_rate", "error", _errors, "Look up the last error below in the log by its reference."),
    Rule(
        "pool_exhausted",
        "error",
        _pool,
        "If it stays so, look for slow statements in pg_stat_activity, and start one more web process.",
    ),
    Rule(
        "connections",
        "error",
        _connections,
        "Raise max_connections of PostgreSQL, or run fewer web processes.",
    ),
    Rule(
        "certificate",
        "warning",
        _certificate,
        "Renew it with python -m fl.runtime.certificates, then restart the hub.",
    ),
    Rule("backup", "warning", _backup, "Run make backup, and have it run every night."),
    Rule("backup_failed", "warning", _backup_failed, "See why in the log, then run make backup again."),
    Rule(
        "site_silent",
        "warning",
        _sites,
        "Ask the hospital to look at its SuperNode. Runs go on without it if enough others take part.",
    ),
    Rule(
        "sign_ins",
        "warning",
        _sign_ins,
        "Look in the audit from where they come. Accounts close by themselves after five wrong passwords.",
    ),
    Rule("software_old", "warning", _software, "Bring this web process to the version of the others."),
    Rule("clocks", "warning", _clocks, "Set both clocks by NTP: sessions and tokens end by them."),
    Rule("replica", "warning", _replica, "Dashboards show old figures meanwhile; see the replica's log."),
    Rule(
        "audit_unsealed",
        "warning",
        _unsealed,
        "Restart a web process: each of them seals the trail every second.",
    ),
    Rule(
        "champion_old",
        "warning",
        _champion,
        "Train again, or set a trigger; patients and costs change with the years.",
    ),
)
