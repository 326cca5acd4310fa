"""What the web processes write down of themselves, counts of each minute and mistakes, and how it is read back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.measures import PREDICTION_BUCKETS, REQUEST_BUCKETS, Minute, SeenFault
from db.operations import Fault, RequestMinute

PROCESS = secrets.token_hex(8)  # tells the counts of this process from those of all others
KEPT = timedelta(days=30)


def write_minutes(*, central: Session, minutes: Mapping[datetime, Minute], process: str = PROCESS) -> None:
    """Keep the counts of one process; said again, a minute has what was said last.

    So a commit of which nobody knows whether it happened can simply be repeated.
    """
    if not minutes:
        return
    rows = [{"minute": minute, "process": process, **vars(counts)} for minute, counts in minutes.items()]
    statement = insert(RequestMinute).values(rows)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in ("minute", "process")}
    central.execute(statement.on_conflict_do_update(index_elements=["minute", "process"], set_=changed))


def write_faults(*, central: Session, faults: Sequence[SeenFault]) -> None:
    """Keep mistakes under their references."""
    if faults:
        rows = [{**vars(fault), "process": PROCESS} for fault in faults]
        central.execute(insert(Fault).values(rows).on_conflict_do_nothing())


def sweep_minutes(*, central: Session) -> None:
    """Forget counts of more than thirty days ago."""
    central.execute(delete(RequestMinute).where(RequestMinute.minute < func.now() - KEPT))


@dataclass(frozen=True)
class Interval:
    """What all web processes answered in a stretch of time; latencies in seconds, None where nothing was measured."""

    begin: datetime
    requests: int
    client_errors: int
    server_errors: int
    sign_in_failures: int
    predictions: int
    request_p50: float | None
    request_p95: float | None
    prediction_p50: float | None
    prediction_p95: float | None

    @property
    def error_share(self) -> float | None:
        """Share of requests that failed by our mistake, 0 to 1."""
        return self.server_errors / self.requests if self.requests else None


def history(*, central: Session, since: timedelta, step: timedelta) -> list[Interval]:
    """Read the history from the oldest to the newest stretch; one in which nothing happened is left out."""
    begin = func.date_bin(step, RequestMinute.minute, func.to_timestamp(0)).label("begin")
    rows = central.execute(
        select(begin, RequestMinute)
        .where(RequestMinute.minute >= func.now() - since)
        .order_by(begin)
        .execution_options(populate_existing=True)
    )
    grouped: dict[datetime, list[RequestMinute]] = {}
    for start, row in rows:
        grouped.setdefault(start, []).append(row)
    return [_interval(start, minutes) for start, minutes in grouped.items()]


def total(*, central: Session, since: timedelta) -> Interval | None:
    """Read what was answered in the last stretch of time; None if nothing was."""
    rows = central.scalars(select(RequestMinute).where(RequestMinute.minute >= func.now() - since)).all()
    return _interval(min(row.minute for row in rows), rows) if rows else None


def last_fault(*, central: Session) -> Fault | None:
    """Read the newest mistake."""
    return central.scalars(select(Fault).order_by(Fault.occurred_at.desc(), Fault.id.desc()).limit(1)).first()


def _interval(begin: datetime, minutes: Sequence[RequestMinute]) -> Interval:
    requests = _added([row.request_buckets for row in minutes])
    predictions = _added([row.prediction_buckets for row in minutes])
    return Interval(
        begin=begin,
        requests=sum(row.requests for row in minutes),
        client_errors=sum(row.client_errors for row in minutes),
        server_errors=sum(row.server_errors for row in minutes),
        sign_in_failures=sum(row.sign_in_failures for row in minutes),
        predictions=sum(row.predictions for row in minutes),
        request_p50=quantile(0.5, REQUEST_BUCKETS, requests),
        request_p95=quantile(0.95, REQUEST_BUCKETS, requests),
        prediction_p50=quantile(0.5, PREDICTION_BUCKETS, predictions),
        prediction_p95=quantile(0.95, PREDICTION_BUCKETS, predictions),
    )


def _added(buckets: Sequence[Sequence[int]]) -> list[int]:
    # A process of another version may have other buckets; those of the most frequent length are added.
    length = max((len(each) for each in buckets), default=0)
    return [sum(each[place] for each in buckets if len(each) == length) for place in range(length)]


def quantile(share: float, upper_ends: Sequence[float], counts: Sequence[int]) -> float | None:
    """Estimate a quantile from a histogram, seconds, as Prometheus does: evenly spread within its bucket.

    What lies beyond the last upper end is taken for that end; None if nothing was counted.
    """
    whole = sum(counts)
    if not whole or len(counts) != len(upper_ends) + 1:
        return None
    wanted, before, lower = share * whole, 0, 0.0
    for upper, here in zip(upper_ends, counts[:-1], strict=True):
        if here and before + here >= wanted:
            return lower + (upper - lower) * (wanted - before) / here
        before, lower = before + here, upper
    return upper_ends[-1]
