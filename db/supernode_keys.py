"""Table of the central database: which key a SuperNode must have to answer for which institution."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.central import CentralBase, Institution


class SupernodeKey(CentralBase):
    """A public key whose holder answers for one institution, until it is revoked; never deleted, never used again."""

    __tablename__ = "supernode_keys"
    __table_args__ = (
        CheckConstraint(
            "revoked_at IS NULL OR flwr_node_id IS NULL", name="supernode_keys_revoked_has_no_node"
        ),
        Index("supernode_keys_institution", "institution_id"),
        Index(
            "supernode_keys_node",
            "flwr_node_id",
            unique=True,
            postgresql_where=text("flwr_node_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    institution_id: Mapped[int] = mapped_column(ForeignKey("institutions.id"))
    public_key: Mapped[str] = mapped_column(String(300))  # one line of OpenSSH, without its comment
    fingerprint: Mapped[str] = mapped_column(String(60), unique=True)  # as `ssh-keygen -l` tells it
    registered_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # NULL: the supervisor made the key itself, for a SuperNode that it starts
    registered_by: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))
    # By which the SuperLink that runs now knows the holder; NULL until the supervisor has told SuperLink of the key
    flwr_node_id: Mapped[str | None] = mapped_column(String(20))

    institution: Mapped[Institution] = relationship(lazy="joined")
