"""Answers of requests that came with a key, kept for a day for whoever sends them again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from app.errors import AlreadyDone, KeyUsedOtherwise, RequestUnderWay
from app.request_keys import KEPT_FOR, RequestKey
from db.idempotency import IDEMPOTENCY_KEYS, SiteIdempotencyKey
from db.privileges import DatabaseKind
from db.site import Patient

LARGEST_ANSWER = 1024 * 1024  # characters; a larger one is not kept
# After this time nobody is going to keep an answer that is still missing: its process has ended.
ANSWERED_WITHIN = timedelta(seconds=60)


@dataclass(frozen=True)
class KeptAnswer:
    """What was answered before; `headers` are those that belong to the answer and not to its request."""

    status: int
    headers: Mapping[str, str]
    body: str


def earlier_answer(*, session: Session, key: RequestKey, keeps_answer: bool) -> KeptAnswer | None:
    """Return what the same request was answered before; None if it was not carried out.

    Parameters
    ----------
    keeps_answer
        Answers of this route are kept at all.

    Raises
    ------
    KeyUsedOtherwise
        If the caller has used the key for another request.
    RequestUnderWay
        If its answer is about to be kept.
    AlreadyDone
        If its answer is not kept.
    """
    row = IDEMPOTENCY_KEYS[key.database]
    found = session.execute(
        select(
            row.request_sha256,
            row.status,
            row.headers,
            row.answer,
            (row.created_at > func.now() - ANSWERED_WITHIN).label("fresh"),
        ).where(row.worker_id == key.worker_id, row.key == key.key, row.created_at >= func.now() - KEPT_FOR)
    ).one_or_none()
    if found is None:
        return None
    if found.request_sha256 != key.request_sha256:
        raise KeyUsedOtherwise(
            "You have used this Idempotency-Key for another request. Send this one with a new key."
        )
    if found.status is not None:
        return KeptAnswer(found.status, found.headers, found.answer)
    if keeps_answer and found.fresh:
        raise RequestUnderWay(
            "The first request with this Idempotency-Key is being answered. Send it again in a moment."
        )
    raise AlreadyDone(
        "A request with this Idempotency-Key was carried out, but its answer is not kept. Read what it has changed."
    )


def keep_answer(
    *, session: Session, key: RequestKey, answer: KeptAnswer, patient_id: uuid.UUID | None = None
) -> None:
    """Keep what a request that has left its mark was answered.

    Parameters
    ----------
    patient_id
        Whom the answer is about; that of somebody who was erased meanwhile is not kept.
    """
    if len(answer.body) > LARGEST_ANSWER:
        return
    kept: dict[str, Any] = {
        "status": answer.status,
        "headers": dict(answer.headers),
        "answer": answer.body,
    }
    if patient_id is not None:
        # An erasure that is under way is waited for.
        present = (
            select(Patient.id).where(Patient.id == patient_id).with_for_update(read=True, key_share=True)
        )
        if session.scalar(present) is None:
            return
        kept[SiteIdempotencyKey.patient_id.key] = patient_id
    row = IDEMPOTENCY_KEYS[key.database]
    session.execute(
        update(row)
        .where(row.worker_id == key.worker_id, row.key == key.key, row.attempt == key.attempt)
        .values(**kept)
    )


def forget_old(session: Session, database: DatabaseKind) -> int:
    """Delete every key that is older than a day; returns how many."""
    row = IDEMPOTENCY_KEYS[database]
    deleted = session.execute(delete(row).where(row.created_at < func.now() - KEPT_FOR))
    return cast("CursorResult[Any]", deleted).rowcount
