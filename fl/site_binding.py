"""Which institution a SuperNode answers for: what its key says, never what it says of itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import select

from db.central import Institution
from db.engines import sessions_for
from db.supernode_keys import SupernodeKey
from fl.transactions import transact

log = logging.getLogger(__name__)
LOOK_AGAIN_SECONDS = 0.5  # for a SuperNode that has no registered key, so far


class SiteBinding(Protocol):
    """Knows which SuperNode has the key of which institution."""

    def institutions_of(self, node_ids: Collection[int]) -> Mapping[int, str]:
        """Return node id -> institution's code, of those whose key is registered; the others may not be asked."""
        ...


@dataclass(frozen=True)
class KnownBinding:
    """A binding that is known beforehand, of SuperNodes that are no processes of their own."""

    codes: Mapping[int, str]

    def institutions_of(self, node_ids: Collection[int]) -> Mapping[int, str]:
        """Return what is known of these."""
        return {node_id: self.codes[node_id] for node_id in node_ids if node_id in self.codes}


@dataclass
class RegisteredKeys:
    """The binding that the supervisor writes when it tells SuperLink of a key.

    A SuperNode that SuperLink reports and that is not known yet is looked up; SuperLink itself forgets one whose key
    was revoked, so what is known stays true for as long as SuperLink reports it.
    """

    database_url: str
    _codes: dict[int, str] = field(default_factory=dict)
    _look_again_at: float = 0.0

    def institutions_of(self, node_ids: Collection[int]) -> Mapping[int, str]:
        """Return node id -> institution's code of those whose key is registered."""
        unknown = set(node_ids) - self._codes.keys()
        if unknown and time.monotonic() >= self._look_again_at:
            self._codes |= self._read()
            if strangers := unknown - self._codes.keys():
                log.warning("SuperNodes without a registered key are not asked: %s", sorted(strangers))
            self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        return {node_id: self._codes[node_id] for node_id in node_ids if node_id in self._codes}

    def _read(self) -> dict[int, str]:
        query = (
            select(SupernodeKey.flwr_node_id, Institution.code)
            .join(Institution, Institution.id == SupernodeKey.institution_id)
            .where(SupernodeKey.flwr_node_id.is_not(None), SupernodeKey.revoked_at.is_(None))
        )
        rows = transact(sessions_for(self.database_url), lambda session: session.execute(query).all())
        return {int(node_id): code for node_id, code in rows if node_id is not None}
