"""The audit trail as a chain of hashes: sealing new events, the chain's head, and proving every link again.

Sealing is a function of the database, because the application may not write seals. Proving is not: each hash is
computed here from the rows, so that a function that was tampered with proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any, Literal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.errors import FedcostError, InvalidInput
from db.audit_trail import GENESIS, AccessVerification, AuditVerification
from fl.features import FieldProblem

Trail = Literal["central", "site"]

BATCH = 5_000  # events that one call seals
_CHUNK = 20_000  # links that are read at a time
_TABLE: dict[Trail, str] = {"central": "audit_events", "site": "access_events"}
# What a hash covers after the position and the time of sealing, in this order; the migrations say the same.
_FIELDS: dict[Trail, tuple[str, ...]] = {
    "central": (
        "e.id",
        "(extract(epoch FROM e.occurred_at) * 1000000)::bigint",
        "e.worker_id",
        "e.role",
        "e.institution_id",
        "e.action",
        "e.target",
        "e.outcome",
        "e.address",
        "e.request_id",
    ),
    "site": (
        "e.id",
        "(extract(epoch FROM e.occurred_at) * 1000000)::bigint",
        "e.worker_id",
        "e.role",
        "e.action",
        "e.patient_id::text",
        "e.outcome",
        "e.address",
        "e.request_id",
    ),
}
_VERIFICATIONS: dict[Trail, type[AuditVerification] | type[AccessVerification]] = {
    "central": AuditVerification,
    "site": AccessVerification,
}
_ACTION: dict[Trail, int] = {"central": 5, "site": 4}  # where the action stands among them


class ChainBroken(FedcostError):
    """The trail is not what was sealed; the message names the first event that is wrong."""


@dataclass(frozen=True)
class ChainHead:
    """The last link: whoever writes it down elsewhere can tell later whether the chain was made anew.

    Attributes
    ----------
    position
        0 if nothing is sealed yet.
    sha256
        In hexadecimal digits.
    """

    position: int
    sha256: str
    sealed_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.position}:{self.sha256}"


@dataclass(frozen=True)
class ChainState:
    """How far a trail is sealed, how many events wait for it, and what the last verification found."""

    head: ChainHead
    waiting: int
    verified_at: datetime | None
    verified_position: int | None
    problem: str | None


def seal(session: Session) -> int | None:
    """Seal the oldest events that wait, at most `BATCH`; returns how many, or None while another process seals."""
    sealed: int | None = session.scalar(text("SELECT seal_audit(:most)"), {"most": BATCH})
    return sealed


def read_head(written: str) -> ChainHead:
    """Read a head as it was printed, `position:hash`; raises `InvalidInput` if it is none."""
    position, _, sha256 = written.strip().partition(":")
    digits = sha256.lower()
    if not (
        position.isascii()
        and position.isdigit()
        and len(digits) == 64
        and set(digits) <= set("0123456789abcdef")
    ):
        raise InvalidInput(
            [
                FieldProblem(
                    "head", "A head is a position, a colon and 64 hexadecimal digits, as verifying prints it."
                )
            ]
        )
    return ChainHead(int(position), digits)


def chain_head(session: Session) -> ChainHead:
    """Return the last link."""
    row = session.execute(
        text("SELECT position, sha256, sealed_at FROM audit_seals ORDER BY position DESC LIMIT 1")
    ).first()
    return ChainHead(0, GENESIS.hex()) if row is None else ChainHead(row[0], bytes(row[1]).hex(), row[2])


def chain_state(session: Session, trail: Trail) -> ChainState:
    """Return what a page says about the chain."""
    table = _VERIFICATIONS[trail]
    last: Any = session.scalars(select(table).order_by(table.id.desc()).limit(1)).first()
    waiting = session.scalar(text("SELECT count(*) FROM audit_unsealed")) or 0
    head = chain_head(session)
    if last is None:
        return ChainState(head, waiting, None, None, None)
    return ChainState(head, waiting, last.verified_at, last.position, last.problem)


def positions_of(session: Session, event_ids: Sequence[int]) -> dict[int, int]:
    """Return event -> position of its seal, of those that are sealed."""
    rows = session.execute(
        text("SELECT event_id, position FROM audit_seals WHERE event_id = ANY(:ids)"),
        {"ids": list(event_ids)},
    )
    return dict(rows.all())


def verify_and_record(session: Session, trail: Trail, *, expected: ChainHead | None = None) -> ChainHead:
    """Verify in one snapshot and record what was found; raises `ChainBroken` after that.

    `session` must not have read anything yet.
    """
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    table = _VERIFICATIONS[trail]
    reached = [ChainHead(0, GENESIS.hex())]
    try:
        verify_chain(session, trail, expected=expected, reached=reached.append)
    except ChainBroken as broken:
        session.add(table(**_verified(reached[-1]), problem=str(broken)))
        session.commit()
        raise
    session.add(table(**_verified(reached[-1])))
    session.commit()
    return reached[-1]


def verify_chain(
    session: Session,
    trail: Trail,
    *,
    expected: ChainHead | None = None,
    reached: Callable[[ChainHead], object] = lambda head: None,
) -> None:
    """Compute every hash of the chain again from the events.

    Parameters
    ----------
    expected
        A head that was written down earlier; it must still be in the chain.
    reached
        Told the last link that was right, again and again.

    Raises
    ------
    ChainBroken
        Naming the first event that was changed, deleted, inserted in between or put elsewhere.
    """
    # Names of this module's own tables and columns, no one else's words.
    query = text(
        "SELECT s.position, (extract(epoch FROM s.sealed_at) * 1000000)::bigint, s.event_id, "  # noqa: S608  # nosec B608
        f"s.previous_sha256, s.sha256, e.details::text, {', '.join(_FIELDS[trail])} "
        f"FROM audit_seals s LEFT JOIN {_TABLE[trail]} e ON e.id = s.event_id "
        "WHERE s.position > :after ORDER BY s.position LIMIT :chunk"
    )
    head, place = GENESIS, 0
    while rows := session.execute(query, {"after": place, "chunk": _CHUNK}).all():
        for position, sealed, event_id, previous, stored, details, *fields in rows:
            if position != place + 1:
                raise ChainBroken(
                    f"The seal at position {place + 1} is missing: the event that it sealed was taken out of the "
                    f"chain, before event {event_id}."
                )
            if bytes(previous) != head:
                raise ChainBroken(_out_of_order(session, head, place + 1, event_id))
            if fields[0] is None:
                raise ChainBroken(f"Event {event_id}, sealed at position {position}, was deleted.")
            head = hashlib.sha256(head + _canonical(position, sealed, fields, details)).digest()
            if head != bytes(stored):
                raise ChainBroken(
                    f"Event {event_id} ({fields[_ACTION[trail]]}, {_moment(fields[1])}) is not what was sealed at "
                    f"position {position}: it was changed, or put in the place of another."
                )
            place = position
            if expected is not None and expected.position == place and expected.sha256 != head.hex():
                raise ChainBroken(
                    f"The link at position {place} (event {event_id}) is not the one that was written down: the chain "
                    "was made anew."
                )
        reached(ChainHead(place, head.hex()))
    if expected is not None and expected.position > place:
        raise ChainBroken(
            f"The chain ends at position {place}, but position {expected.position} was written down: its end was cut "
            "off."
        )
    _check_unsealed(session, _TABLE[trail])


def _check_unsealed(session: Session, table: str) -> None:
    past = session.execute(
        text(
            f"SELECT e.id FROM {table} e WHERE NOT EXISTS (SELECT FROM audit_seals s WHERE s.event_id = e.id) "  # noqa: S608  # nosec B608
            "AND NOT EXISTS (SELECT FROM audit_unsealed u WHERE u.event_id = e.id) ORDER BY e.id LIMIT 1"
        )
    ).scalar()
    if past is not None:
        raise ChainBroken(f"Event {past} was inserted past the trail: it never waited for a seal.")
    gone = session.execute(
        text(
            "SELECT u.event_id FROM audit_unsealed u "  # noqa: S608  # nosec B608
            f"WHERE NOT EXISTS (SELECT FROM {table} e WHERE e.id = u.event_id) ORDER BY u.event_id LIMIT 1"
        )
    ).scalar()
    if gone is not None:
        raise ChainBroken(f"Event {gone} was deleted before it was sealed.")


def _canonical(position: int, sealed: int, fields: Sequence[Any], details: str) -> bytes:
    """Return the JSON array that the hash is over, as PostgreSQL writes jsonb."""
    values = [
        "null" if value is None else encode_basestring(value) if isinstance(value, str) else str(value)
        for value in fields
    ]
    return f"[{position}, {sealed}, {', '.join(values)}, {details}]".encode()


def _out_of_order(session: Session, head: bytes, place: int, event_id: int) -> str:
    elsewhere = session.execute(
        text("SELECT position, event_id FROM audit_seals WHERE previous_sha256 = :head"), {"head": head}
    ).first()
    if elsewhere is None:
        return (
            f"Event {event_id}, at position {place}, does not follow the one before it: something between them was "
            "taken out."
        )
    return (
        f"Event {event_id} stands at position {place}, where event {elsewhere[1]} was sealed, which now stands at "
        f"position {elsewhere[0]}: it was inserted in between, or the order was changed."
    )


def _verified(head: ChainHead) -> dict[str, Any]:
    return {"position": head.position, "sha256": bytes.fromhex(head.sha256)}


def _moment(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1_000_000, UTC):%d %b %Y %H:%M:%S} UTC"
