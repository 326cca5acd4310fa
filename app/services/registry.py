"""The registry of model versions: a person decides which one is in use, and every decision is kept with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput
from app.permissions import Permission
from app.services import audit, models
from app.services.metrics import finite
from app.services.registry_history import champion_row, previous_of, undecided
from db.central import ModelVersion, Promotion
from db.states import PromotionAction, VersionStatus
from fl.features import FieldProblem

SHORTEST_REASON, LONGEST_REASON = 3, 500  # characters
NOTHING_IN_USE = ""  # as `expected_champion`: no version was in use


def promote(
    *, central: Session, actor: Actor, version: str, reason: str, expected_champion: str | None = None
) -> ModelVersion:
    """Put a version into use; the one before is retired.

    Parameters
    ----------
    expected_champion
        The version that the person saw in use, `NOTHING_IN_USE` if none; None: whichever is.

    Raises
    ------
    InvalidInput
        If the reason is too short or too long.
    NotFound
        If there is no such version.
    Conflict
        If another version is in use than expected, this one is already, was retired, has no figures, or is damaged.
    """
    actor.require(Permission.PROMOTE)
    reason = checked_reason(reason)
    with locked(central):
        row = models.find_version(central, version)
        before = _champion_as_expected(central, expected_champion)
        if row.status == VersionStatus.CHAMPION:
            raise Conflict(f"Version {row.version} is already in use.")
        if row.status == VersionStatus.RETIRED:
            raise Conflict(f"Version {row.version} was in use before; roll back to it instead.")
        _check_usable(row)
        if row.is_shadow:
            _end_shadow(central, actor, row, "It came into use.")
        _replace(central, actor, row, before, PromotionAction.PROMOTE, reason)
    return row


def reject(*, central: Session, actor: Actor, version: str, reason: str) -> ModelVersion:
    """Decide against a candidate; it stays on record and can still be promoted later.

    Raises
    ------
    InvalidInput, NotFound
        As `promote`.
    Conflict
        If the version is no candidate.
    """
    actor.require(Permission.PROMOTE)
    reason = checked_reason(reason)
    with locked(central):
        row = models.find_version(central, version)
        _require_candidate(row, "rejected")
        if row.is_shadow:
            _end_shadow(central, actor, row, "It was rejected.")
        row.status = VersionStatus.REJECTED
        _record(central, actor, row, PromotionAction.REJECT, reason)
    return row


def roll_back(
    *,
    central: Session,
    actor: Actor,
    reason: str,
    version: str | None = None,
    expected_champion: str | None = None,
) -> ModelVersion:
    """Put a retired version back into use, in one step.

    Parameters
    ----------
    version
        A retired version; None: the one that was in use before.

    Raises
    ------
    InvalidInput, NotFound
        As `promote`.
    Conflict
        If another version is in use than expected, there is none to go back to, or the version was never in use.
    """
    actor.require(Permission.PROMOTE)
    reason = checked_reason(reason)
    with locked(central):
        before = _champion_as_expected(central, expected_champion)
        if version is None:
            version = previous_of(central, before)
        row = models.find_version(central, version)
        if row.status == VersionStatus.CHAMPION:
            raise Conflict(f"Version {row.version} is already in use.")
        if row.status != VersionStatus.RETIRED:
            raise Conflict(
                f"Version {row.version} was never in use, so it cannot be rolled back to. Promote it."
            )
        _check_loads(row)
        _replace(central, actor, row, before, PromotionAction.ROLLBACK, reason)
    return row


def propose(*, central: Session, actor: Actor, version: str, reason: str) -> None:
    """Ask the administrators to promote a candidate.

    Raises
    ------
    InvalidInput, NotFound
        As `promote`.
    Conflict
        If the version is no candidate or has no figures, or this person has an open proposal of it.
    """
    actor.require(Permission.PROMOTION_PROPOSE)
    reason = checked_reason(reason)
    with locked(central):
        row = models.find_version(central, version)
        _require_candidate(row, "proposed")
        _check_usable(row)
        if central.scalar(
            select(Promotion.id).where(
                undecided(), Promotion.model_version_id == row.id, Promotion.worker_id == actor.worker_id
            )
        ):
            raise Conflict(f"You have already proposed version {row.version}; an administrator decides.")
        _record(central, actor, row, PromotionAction.PROPOSE, reason)


def start_shadow(*, central: Session, actor: Actor, version: str, reason: str) -> ModelVersion:
    """Let a candidate predict beside the version in use, unseen; another shadow must be stopped first.

    Raises
    ------
    InvalidInput, NotFound
        As `promote`.
    Conflict
        If the version is no candidate, is damaged or is the shadow already, or another one is.
    NoModelYet
        If no version is in use.
    """
    actor.require(Permission.PROMOTE)
    reason = checked_reason(reason)
    with locked(central):
        row = models.find_version(central, version)
        models.champion(central=central)
        _require_candidate(row, "the shadow")
        if row.is_shadow:
            raise Conflict(f"Version {row.version} already predicts as the shadow.")
        other = central.scalar(select(ModelVersion.version).where(ModelVersion.is_shadow))
        if other is not None:
            raise Conflict(f"Version {other} is the shadow at present. Stop it first.")
        _check_loads(row)
        row.is_shadow = True
        _record(central, actor, row, PromotionAction.SHADOW_START, reason)
    return row


def stop_shadow(*, central: Session, actor: Actor, version: str, reason: str) -> ModelVersion:
    """End the shadow; what it predicted is kept and still compared.

    Raises
    ------
    InvalidInput, NotFound
        As `promote`.
    Conflict
        If the version is not the shadow.
    """
    actor.require(Permission.PROMOTE)
    reason = checked_reason(reason)
    with locked(central):
        row = models.find_version(central, version)
        if not row.is_shadow:
            raise Conflict(f"Version {row.version} is not the shadow.")
        _end_shadow(central, actor, row, reason)
    return row


@contextmanager
def locked(central: Session) -> Iterator[None]:
    """Let one decision after the other change the registry; a Run that ends meanwhile waits, readers do not."""
    central.flush()
    central.execute(text("SET LOCAL lock_timeout = '10s'"))
    central.execute(text("LOCK TABLE model_versions IN SHARE ROW EXCLUSIVE MODE"))
    central.expire_all()
    yield
    central.flush()


def checked_reason(reason: str) -> str:
    """Return a reason without space around it; raises `InvalidInput` if it is too short or too long."""
    trimmed = " ".join(reason.split())
    if not SHORTEST_REASON <= len(trimmed) <= LONGEST_REASON:
        sentence = f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} characters."
        raise InvalidInput([FieldProblem("reason", sentence)])
    return trimmed


def _champion_as_expected(central: Session, expected: str | None) -> ModelVersion | None:
    row = champion_row(central)
    found = row.version if row else NOTHING_IN_USE
    if expected is not None and found != expected:
        now = f"version {found} is in use" if found else "no version is in use"
        then = f"version {expected}" if expected else "none"
        raise Conflict(
            f"Meanwhile {now}, not {then} as when you looked. Nothing was changed: look again, then decide."
        )
    return row


def _require_candidate(row: ModelVersion, what: str) -> None:
    if row.status != VersionStatus.CANDIDATE:
        state = {
            VersionStatus.CHAMPION: "is in use",
            VersionStatus.RETIRED: "was in use before",
            VersionStatus.REJECTED: "was not adopted",
        }[VersionStatus(row.status)]
        raise Conflict(f"Version {row.version} {state}; only one that waits for a decision can be {what}.")


def _check_usable(row: ModelVersion) -> None:
    if finite(row.r2) is None and finite(row.rmse) is None:
        raise Conflict(
            f"Version {row.version} has no figures yet: nobody knows how good it is. Have it evaluated first."
        )
    _check_loads(row)


def _check_loads(row: ModelVersion) -> None:
    models.load(row)


def _replace(
    central: Session,
    actor: Actor,
    row: ModelVersion,
    before: ModelVersion | None,
    action: PromotionAction,
    reason: str,
) -> None:
    if before is not None:
        before.status = VersionStatus.RETIRED
        central.flush()
    row.status = VersionStatus.CHAMPION
    _record(central, actor, row, action, reason, before)


def _end_shadow(central: Session, actor: Actor, row: ModelVersion, reason: str) -> None:
    row.is_shadow = False
    _record(central, actor, row, PromotionAction.SHADOW_STOP, reason)


def _record(
    central: Session,
    actor: Actor,
    row: ModelVersion,
    action: PromotionAction,
    reason: str,
    before: ModelVersion | None = None,
) -> None:
    central.add(
        Promotion(
            model_version_id=row.id,
            previous_version_id=before.id if before else None,
            action=action,
            worker_id=actor.worker_id,
            reason=reason,
        )
    )
    audit.record(
        central=central,
        actor=actor,
        action=f"model_{action}",
        target=f"model version {row.version}",
        details={"previous": before.version} if before else None,
    )
    central.flush()
