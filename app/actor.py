"""The person on whose behalf a service acts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from app.errors import PermissionRefused
from app.permissions import Permission, may
from db.states import Role


@dataclass(frozen=True)
class Actor:
    """A signed-in Worker, read from the database when the request or rerun began."""

    worker_id: int
    name: str
    email: str
    role: Role
    institution_id: int | None
    institution_code: str | None
    institution_name: str | None
    session_id: uuid.UUID
    address: str | None = None

    def may(self, permission: Permission) -> bool:
        """Tell whether this person's role has `permission`."""
        return may(self.role, permission)

    def require(self, permission: Permission) -> None:
        """Raise `PermissionRefused` unless this person's role has `permission`."""
        if not self.may(permission):
            raise PermissionRefused("Your role does not include this. Ask an administrator if you need it.")
