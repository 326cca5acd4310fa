"""What each kind of role may do with each table: the whole list, which `db.granting` brings into the databases.

Nobody but a database's owner, which only migrations use, may do anything that is not written here. A privilege is
SELECT, INSERT, UPDATE or DELETE, of the whole row unless columns follow it in brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

DatabaseKind = Literal["central", "site"]


class RoleKind(StrEnum):
    """Who connects, besides the owner."""

    APP = "app"  # web process, supervisor and ServerApp; at a Site its web process
    TRAIN = "train"  # SuperNode and ClientApp of a Site
    SITES = "sites"  # what the web processes of all Sites may do in the central database


READ = "SELECT"
ADD = "SELECT, INSERT"  # for tables whose rows are written once
CHANGE = "SELECT, INSERT, UPDATE"
EXPIRE = "SELECT, INSERT, DELETE"  # written once, and erased with a patient or after the time that is set
CHANGE_EXPIRE = "SELECT, INSERT, UPDATE, DELETE"

APP, TRAIN, SITES = RoleKind.APP, RoleKind.TRAIN, RoleKind.SITES

TablePrivileges = dict[str, dict[RoleKind, str]]

# Deleted are only rows that retention may be set for, counts of requests, and answers that are kept for a day. What
# `SITES` see of a row depends on `db.row_security`, too.
CENTRAL: TablePrivileges = {
    "alembic_version": {APP: READ, SITES: READ},
    "audit_events": {APP: ADD, SITES: ADD},
    # Written by functions of the owner only.
    "audit_seals": {APP: READ},
    "audit_unsealed": {APP: READ},
    "audit_verifications": {APP: ADD},
    "backups": {APP: ADD},
    "faults": {APP: ADD},
    "federation_status": {APP: CHANGE, SITES: READ},
    "idempotency_keys": {APP: CHANGE_EXPIRE, SITES: CHANGE_EXPIRE},
    "institutions": {APP: CHANGE, SITES: READ},
    "medical_workers": {APP: CHANGE, SITES: CHANGE},
    "model_versions": {APP: CHANGE, SITES: READ},
    "one_time_links": {APP: CHANGE_EXPIRE, SITES: CHANGE},
    "promotions": {APP: ADD, SITES: READ},
    "refresh_tokens": {APP: CHANGE_EXPIRE, SITES: CHANGE},
    # Counts, which are forgotten after thirty days; a Site's web process keeps none here.
    "request_minutes": {APP: f"{CHANGE}, DELETE"},
    "retention_jobs": {APP: CHANGE},
    "retention_settings": {APP: CHANGE},
    "run_events": {APP: EXPIRE},
    "run_queue": {APP: CHANGE},
    "sessions": {APP: CHANGE_EXPIRE, SITES: CHANGE},
    "shadow_comparisons": {APP: CHANGE},
    "site_presence": {APP: CHANGE, SITES: READ},
    # Never the arrays that other institutions sent.
    "site_results": {
        APP: CHANGE,
        SITES: "SELECT (id, run_id, round_number, phase, institution_id, outcome, reason, num_examples, created_at)",
    },
    "supernode_keys": {APP: CHANGE},
    "training_rounds": {APP: CHANGE},
    "training_runs": {APP: CHANGE, SITES: READ},
    "training_triggers": {APP: CHANGE},
    "trigger_events": {APP: ADD},
}

SITE: TablePrivileges = {
    "access_events": {APP: ADD},
    "alembic_version": {APP: READ},
    "audit_seals": {APP: READ},
    "audit_unsealed": {APP: READ},
    "audit_verifications": {APP: ADD},
    "erasures": {APP: ADD},
    "idempotency_keys": {APP: CHANGE_EXPIRE},
    "participation": {APP: CHANGE, TRAIN: "SELECT (id, consent)"},
    "patient_changes": {APP: EXPIRE},
    # Training reads no name.
    "patients": {
        APP: CHANGE_EXPIRE,
        TRAIN: (
            "SELECT (id, age, sex, bmi, children, smoker, region, insurance_cost, cost_entered_at, created_at, "
            "deleted_at)"
        ),
    },
    "predictions": {APP: EXPIRE, TRAIN: "SELECT (id, patient_id, predicted_cost, model_version, created_at)"},
    "retention_jobs": {APP: CHANGE},
    "retention_settings": {APP: CHANGE},
    # The training process writes down what it was asked for; it can neither approve nor refuse it.
    "run_approvals": {
        APP: "SELECT, UPDATE (decision, decided_by, decided_by_name, decided_at)",
        TRAIN: (
            "SELECT, INSERT (run_id, settings_sha256, settings), UPDATE (settings_sha256, settings, requested_at)"
        ),
    },
    "shadow_predictions": {APP: ADD, TRAIN: "SELECT (prediction_id, model_version, predicted_cost)"},
}

TABLES: dict[DatabaseKind, TablePrivileges] = {"central": CENTRAL, "site": SITE}

# Imports and batches compare what arrives with what is there in temporary tables.
ON_DATABASE: dict[DatabaseKind, dict[RoleKind, str]] = {
    "central": {APP: "CONNECT", SITES: "CONNECT"},
    "site": {APP: "CONNECT, TEMPORARY", TRAIN: "CONNECT"},
}

# Our own functions that a role calls itself; a trigger's function needs no privilege of who fires it.
FUNCTIONS: dict[DatabaseKind, dict[str, tuple[RoleKind, ...]]] = {
    "central": {"seal_audit(most integer)": (APP, SITES)},
    "site": {"seal_audit(most integer)": (APP,)},
}

ROLES_OF: dict[DatabaseKind, tuple[RoleKind, ...]] = {"central": (APP, SITES), "site": (APP, TRAIN)}

_PRIVILEGE = re.compile(r"(SELECT|INSERT|UPDATE|DELETE|CONNECT|TEMPORARY)(?: \(([a-z0-9_, ]+)\))?(?:, |$)")


@dataclass(frozen=True, order=True)
class Grant:
    """One privilege of one role.

    Attributes
    ----------
    on
        What GRANT calls it: `TABLE patients`, `SCHEMA public`, `FUNCTION f()` or `DATABASE central`.
    column
        Empty: of the whole.
    """

    role: str
    privilege: str
    on: str
    column: str = ""


def role_name(kind: RoleKind, database: str) -> str:
    """Return the name of a database's role; none can be that of an institution's, whatever its code."""
    return f"{kind}_{database}"


def institution_role(central_database: str, institution_code: str) -> str:
    """Return the name of the role by which an institution's web process enters the central database."""
    return f"{central_database}_{institution_code}"


def read_privileges(text: str) -> list[tuple[str, str]]:
    """Return (privilege, column or nothing) of each that `text` names.

    Raises
    ------
    ValueError
        If it is not written as this module's first lines say.
    """
    found, position = [], 0
    for match in _PRIVILEGE.finditer(text):
        if match.start() != position:
            break
        position = match.end()
        columns = match[2].split(", ") if match[2] else [""]
        found += [(match[1], column) for column in columns]
    if position != len(text) or not found:
        raise ValueError(f"not a list of privileges: {text!r}")
    return found


def wanted_grants(kind: DatabaseKind, database: str) -> set[Grant]:
    """Return everything that the roles of a database may do in it."""
    grants = set()
    for table, by_role in TABLES[kind].items():
        for role, text in by_role.items():
            grants |= {
                Grant(role_name(role, database), privilege, f"TABLE {table}", column)
                for privilege, column in read_privileges(text)
            }
    for role, text in ON_DATABASE[kind].items():
        name = role_name(role, database)
        grants |= {Grant(name, privilege, f"DATABASE {database}") for privilege, _ in read_privileges(text)}
        grants.add(Grant(name, "USAGE", "SCHEMA public"))
    for function, roles in FUNCTIONS[kind].items():
        grants |= {Grant(role_name(role, database), "EXECUTE", f"FUNCTION {function}") for role in roles}
    return grants
