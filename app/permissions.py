"""Who may do what: the role table as data. Pages, routes and services ask it; nothing else decides."""

from __future__ import annotations

from enum import StrEnum

from db.states import Role


class Permission(StrEnum):
    """One thing that a person may do; patient permissions are always for the own institution only."""

    PATIENTS_READ = "patients_read"
    PATIENTS_WRITE = "patients_write"
    PATIENTS_DELETE = "patients_delete"
    PATIENTS_IMPORT = "patients_import"
    PATIENTS_EXPORT = "patients_export"
    PATIENTS_ERASE = "patients_erase"
    PREDICT = "predict"
    PREDICT_BATCH = "predict_batch"
    MODEL_CARD = "model_card"
    TRAINING_READ = "training_read"
    MODELS_READ = "models_read"
    PROMOTION_PROPOSE = "promotion_propose"
    TRAINING_CONTROL = "training_control"
    PROMOTE = "promote"
    WORKERS_MANAGE = "workers_manage"
    AUDIT_READ = "audit_read"
    RETENTION = "retention"
    COHORT_READ = "cohort_read"
    MODELS_EXPORT = "models_export"
    MODELS_IMPORT = "models_import"
    INSTITUTIONS_MANAGE = "institutions_manage"
    PARTICIPATION = "participation"
    OWN_ACCOUNT = "own_account"
    SYSTEM_READ = "system_read"


_EVERYBODY = frozenset({Permission.MODEL_CARD, Permission.OWN_ACCOUNT})
_NURSE = _EVERYBODY | {Permission.PATIENTS_READ, Permission.PATIENTS_WRITE, Permission.PREDICT}
_DOCTOR = _NURSE | {
    Permission.PATIENTS_DELETE,
    Permission.PATIENTS_IMPORT,
    Permission.PATIENTS_EXPORT,
    Permission.PATIENTS_ERASE,
    Permission.PREDICT_BATCH,
}
_DATA_SCIENTIST = _EVERYBODY | {
    Permission.TRAINING_READ,
    Permission.MODELS_READ,
    Permission.PROMOTION_PROPOSE,
    Permission.COHORT_READ,
    Permission.MODELS_EXPORT,
    Permission.MODELS_IMPORT,
}
_ADMIN = _EVERYBODY | frozenset(
    {
        Permission.TRAINING_READ,
        Permission.MODELS_READ,
        Permission.TRAINING_CONTROL,
        Permission.PROMOTE,
        Permission.WORKERS_MANAGE,
        Permission.AUDIT_READ,
        Permission.RETENTION,
        Permission.COHORT_READ,
        Permission.MODELS_EXPORT,
        Permission.MODELS_IMPORT,
        Permission.INSTITUTIONS_MANAGE,
        Permission.SYSTEM_READ,
    }
)
# Decides for one hospital whether it takes part, and looks after its people; has no say in the consortium and sees
# no patient. Of the audit each administrator reads the own part: the Site's here, the central one in the consortium.
_INSTITUTION_ADMIN = _EVERYBODY | {
    Permission.PARTICIPATION,
    Permission.WORKERS_MANAGE,
    Permission.AUDIT_READ,
    Permission.RETENTION,
}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.NURSE: _NURSE,
    Role.DOCTOR: _DOCTOR,
    Role.DATA_SCIENTIST: _DATA_SCIENTIST,
    Role.ADMIN: _ADMIN,
    Role.INSTITUTION_ADMIN: _INSTITUTION_ADMIN,
}


# Roles whose people belong to an institution; those of the others belong to the whole consortium.
INSTITUTION_ROLES = frozenset({Role.NURSE, Role.DOCTOR, Role.INSTITUTION_ADMIN})
# Whose accounts a role with `WORKERS_MANAGE` looks after; that of an institution only those of its own.
MANAGED_ROLES: dict[Role, frozenset[Role]] = {
    Role.ADMIN: frozenset(Role),
    Role.INSTITUTION_ADMIN: INSTITUTION_ROLES,
}


def may(role: Role, permission: Permission) -> bool:
    """Tell whether `role` has `permission`."""
    return permission in PERMISSIONS[role]
