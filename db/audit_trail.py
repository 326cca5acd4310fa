"""Tables that chain an audit trail by hashes: the same in the central database and in each Site's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Identity, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from db.central import CentralBase
from db.site import SiteBase

GENESIS = bytes(32)  # what the first seal follows


class SealColumns:
    """One link of the chain: which event it seals, when, and the hash over both and the link before.

    Positions follow the order of sealing, not the events' ids: a transaction that took its id early may commit late.
    """

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    sealed_at: Mapped[datetime]
    previous_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)


class UnsealedColumns:
    """An event that waits for its seal; written by a trigger in the event's own transaction."""

    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class VerificationColumns:
    """That somebody recomputed the chain: how far it reached, and what was wrong, if anything."""

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    verified_at: Mapped[datetime] = mapped_column(server_default=func.now())
    position: Mapped[int] = mapped_column(BigInteger)  # of the last link that was right; 0: none
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    problem: Mapped[str | None] = mapped_column(Text)  # NULL: everything was as it was recorded


class AuditSeal(SealColumns, CentralBase):
    """Seals of `audit_events`; never changed afterwards."""

    __tablename__ = "audit_seals"


class AuditUnsealed(UnsealedColumns, CentralBase):
    """Events of `audit_events` that wait."""

    __tablename__ = "audit_unsealed"


class AuditVerification(VerificationColumns, CentralBase):
    """Verifications of the central chain; never changed afterwards."""

    __tablename__ = "audit_verifications"


class AccessSeal(SealColumns, SiteBase):
    """Seals of `access_events`; never changed afterwards."""

    __tablename__ = "audit_seals"


class AccessUnsealed(UnsealedColumns, SiteBase):
    """Events of `access_events` that wait."""

    __tablename__ = "audit_unsealed"


class AccessVerification(VerificationColumns, SiteBase):
    """Verifications of the Site's chain; never changed afterwards."""

    __tablename__ = "audit_verifications"


CHAIN_APPEND_ONLY = (AuditSeal.__tablename__, AuditVerification.__tablename__)
