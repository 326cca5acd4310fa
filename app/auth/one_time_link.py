"""Opening a one-time link: whose it is, and choosing the password of that account once, without being signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session

from app.auth.account_events import record_of
from app.auth.own_password import set_password
from app.auth.password_rules import check_new_password
from app.errors import NotFound
from app.services.one_time_links import link_sha256
from db.accounts import OneTimeLink
from db.central import MedicalWorker

USELESS = (
    "This link does not work any more: it was used, replaced by a later one, or is older than a day. Ask your "
    "administrator for a new one."
)


@dataclass(frozen=True)
class LinkHolder:
    """Whose password a link is for."""

    name: str
    email: str
    expires_at: datetime


def link_holder(central: Session, *, token: str) -> LinkHolder:
    """Return whose link this is, without using it.

    Raises
    ------
    NotFound
        If the link does not work any more, or never did.
    """
    row = central.execute(
        select(MedicalWorker.name, MedicalWorker.email, OneTimeLink.expires_at)
        .join(MedicalWorker, MedicalWorker.id == OneTimeLink.worker_id)
        .where(_alive(token), MedicalWorker.is_active)
    ).one_or_none()
    if row is None:
        raise NotFound(USELESS)
    return LinkHolder(*row)


def choose_password(central: Session, *, token: str, password: str, address: str | None = None) -> str:
    """Set the password of the link's account and return its e-mail address; of two uses at once one succeeds.

    A password that is not accepted leaves the link as it was. The database ends what sessions the account has.

    Raises
    ------
    NotFound
        If the link does not work any more, or never did.
    InvalidInput
        If the password is not accepted.
    """
    used = central.scalar(
        update(OneTimeLink)
        .where(_alive(token))
        .values(used_at=func.clock_timestamp())
        .returning(OneTimeLink.worker_id)
    )
    worker = central.scalars(
        select(MedicalWorker)
        .where(MedicalWorker.id == used, MedicalWorker.is_active)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if worker is None:
        raise NotFound(USELESS)
    check_new_password(password, worker=worker)
    set_password(central, worker_id=worker.id, password=password)
    record_of(central, worker, "reset_link_used", address=address)
    return worker.email


def _alive(token: str) -> ColumnElement[bool]:
    return and_(
        OneTimeLink.token_sha256 == link_sha256(token),
        OneTimeLink.used_at.is_(None),
        OneTimeLink.ended_at.is_(None),
        OneTimeLink.expires_at > func.clock_timestamp(),
    )
