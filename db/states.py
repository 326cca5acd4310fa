"""The words that columns of the databases hold: roles, states, kinds and outcomes."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a Worker is; `app.permissions` says what each may do."""

    NURSE = "nurse"
    DOCTOR = "doctor"
    DATA_SCIENTIST = "data_scientist"
    ADMIN = "admin"
    INSTITUTION_ADMIN = "institution_admin"


class RunKind(StrEnum):
    """What a Run is for."""

    FEDERATED = "federated"  # Rounds of training, which make a model version
    LEAST_SQUARES = "least_squares"  # one message: the baseline alone
    COHORT = "cohort"  # one message: what the Sites' patients are like
    EVALUATION = "evaluation"  # one message: a version beside the champion on the same held-out rows


class RunStatus(StrEnum):
    """The states of a Run, in the order in which it passes them."""

    QUEUED = "queued"
    STARTING = "starting"
    STATISTICS = "statistics"
    TRAINING = "training"
    EVALUATING = "evaluating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUNNING_STATUSES = (RunStatus.STARTING, RunStatus.STATISTICS, RunStatus.TRAINING, RunStatus.EVALUATING)

ENDED_STATUSES = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class RoundStatus(StrEnum):
    """The states of one Round."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


class Phase(StrEnum):
    """What a Site was asked for."""

    STATISTICS = "statistics"
    TRAIN = "train"
    EVALUATE = "evaluate"
    COHORT = "cohort"


class SiteOutcome(StrEnum):
    """How a Site answered: used, sat out with a reason, failed, or came too late."""

    OK = "ok"
    EXCLUDED = "excluded"
    FAILED = "failed"
    LATE = "late"


class VersionStatus(StrEnum):
    """The states of a ModelVersion; exactly one at most is champion."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    RETIRED = "retired"
    REJECTED = "rejected"


class PromotionAction(StrEnum):
    """What happened to a ModelVersion."""

    PROMOTE = "promote"
    REJECT = "reject"
    ROLLBACK = "rollback"
    PROPOSE = "propose"  # a data scientist asks an administrator to promote
    SHADOW_START = "shadow_start"
    SHADOW_STOP = "shadow_stop"


class VersionOrigin(StrEnum):
    """Where the weights of a ModelVersion come from."""

    RUN = "run"
    IMPORT = "import"


class EventSeverity(StrEnum):
    """How much an event of a Run matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Consent(StrEnum):
    """What an institution's administrator allows: every Run, none, or each after its settings were approved."""

    OPEN = "open"
    PAUSED = "paused"
    APPROVAL = "approval"


class SessionKind(StrEnum):
    """What a session is for."""

    BROWSER = "browser"
    API = "api"


class SessionEnd(StrEnum):
    """Why a session ended; the last four are written by the database itself, see migration 0003."""

    SIGNED_OUT = "signed_out"
    ENDED_BY_OWNER = "ended_by_owner"  # from the list of the own sessions
    ENDED_BY_ADMINISTRATOR = "ended_by_administrator"
    TOKEN_REUSED = "token_reused"  # noqa: S105 - a refresh token came a second time
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    ROLE_CHANGED = "role_changed"
    INSTITUTION_CHANGED = "institution_changed"
    DEACTIVATED = "deactivated"


def one_of(column: str, values: type[StrEnum]) -> str:
    """Return the SQL condition that a column holds one of these words."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"
