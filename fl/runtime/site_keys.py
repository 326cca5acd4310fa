"""Tells SuperLink of the registered keys, takes revoked ones back, and makes those of this machine's SuperNodes."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from db.central import Institution
from db.supernode_keys import SupernodeKey
from fl.node_keys import fingerprint, make_private_key, public_line, public_pem, read_private_key
from fl.runtime.superlink_control import AlreadyRegistered, SuperLinkControl

log = logging.getLogger(__name__)


@dataclass
class SiteKeys:
    """The keys of the central database, beside what the SuperLink that runs now knows of them.

    SuperLink forgets everything when it ends, so each of them is told anew. The id that it gives to a key's holder is
    written beside the key: from that a ServerApp knows for whom a SuperNode answers (`fl.site_binding`).
    """

    sessions: sessionmaker[Session]
    data_dir: Path
    _told: dict[int, int] = field(
        default_factory=dict
    )  # id of the key's row -> id of the SuperNode at SuperLink
    _own: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    _own_nodes: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget what a former SuperLink knew; called before a new one is told anything."""
        self._told.clear()
        self._own_nodes.clear()
        with self.sessions() as session, session.begin():
            session.execute(
                update(SupernodeKey).where(SupernodeKey.flwr_node_id.is_not(None)).values(flwr_node_id=None)
            )

    def follow(self, control: SuperLinkControl, own: Collection[str]) -> None:
        """Make SuperLink know the keys that are registered now, and no others.

        Parameters
        ----------
        own
            Codes of the institutions whose SuperNodes run on this machine; a key is made for each that has none.
        """
        fingerprints = {code: fingerprint(public_line(self.private_key(code))) for code in own}
        with self.sessions() as session, session.begin():
            self._add_own(session, fingerprints)
            rows = session.scalars(select(SupernodeKey).order_by(SupernodeKey.id)).all()
            nodes = {}
            for row in rows:
                if row.revoked_at is not None:
                    self._take_back(control, row)
                elif row.id not in self._told:
                    self._tell(control, row)
                if row.id in self._told:
                    nodes[row.fingerprint] = self._told[row.id]
        self._own_nodes = {code: nodes[known] for code, known in fingerprints.items() if known in nodes}

    def node_of(self, code: str) -> int | None:
        """Return the id under which SuperLink knows this machine's SuperNode of an institution; None if it does not."""
        return self._own_nodes.get(code)

    @property
    def others(self) -> bool:
        """Whether SuperLink knows keys of SuperNodes on other machines."""
        return len(self._told) > len(self._own_nodes)

    def key_file(self, code: str) -> Path:
        """Return where the private key of this machine's SuperNode of an institution is."""
        return self.data_dir / "keys" / f"{code}.key"

    def private_key(self, code: str) -> ec.EllipticCurvePrivateKey:
        """Return the private key of this machine's SuperNode of an institution, made if there is none."""
        if code not in self._own:
            path = self.key_file(code)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                make_private_key(path)
            self._own[code] = read_private_key(path)
        return self._own[code]

    def codes_of(self, node_ids: Collection[int]) -> set[str]:
        """Return the codes of the institutions of these SuperNodes, by the keys that SuperLink was told of."""
        told = {row_id for row_id, node_id in self._told.items() if node_id in set(node_ids)}
        query = (
            select(Institution.code)
            .join(SupernodeKey, SupernodeKey.institution_id == Institution.id)
            .where(SupernodeKey.id.in_(told))
        )
        with self.sessions() as session:
            return set(session.scalars(query))

    def _add_own(self, session: Session, fingerprints: dict[str, str]) -> None:
        known = set(
            session.scalars(
                select(SupernodeKey.fingerprint).where(SupernodeKey.fingerprint.in_(fingerprints.values()))
            )
        )
        for code, told in fingerprints.items():
            if told not in known:
                institution_id = session.scalars(
                    select(Institution.id).where(Institution.code == code)
                ).one_or_none()
                if institution_id is not None:
                    line = public_line(self._own[code])
                    session.add(
                        SupernodeKey(institution_id=institution_id, public_key=line, fingerprint=told)
                    )
                    log.info("registered the key of this machine's SuperNode of %s", code)
        session.flush()

    def _tell(self, control: SuperLinkControl, row: SupernodeKey) -> None:
        try:
            node_id = control.register(public_pem(row.public_key), row.institution.code)
        except AlreadyRegistered:
            # Told before the transaction that was to remember it failed.
            pem = public_pem(row.public_key)
            found = [node.node_id for node in control.nodes() if node.public_pem == pem]
            if not found:
                log.error("SuperLink refuses the key %s", row.fingerprint)
                return
            node_id = found[0]
        self._told[row.id] = node_id
        row.flwr_node_id = str(node_id)
        log.info("SuperLink knows the key %s of %s", row.fingerprint, row.institution.code)

    def _take_back(self, control: SuperLinkControl, row: SupernodeKey) -> None:
        node_id = self._told.pop(row.id, None)
        row.flwr_node_id = None
        if node_id is not None:
            control.unregister(node_id)
            log.info("SuperLink refuses the revoked key %s of %s", row.fingerprint, row.institution.code)
