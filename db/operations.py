"""Tables of the central database about the product at work: counts of each minute, and mistakes of the program."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Identity, Index, Integer, String, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.central import CentralBase


class RequestMinute(CentralBase):
    """What one web process answered within one minute; the histograms are those of `app.measures`."""

    __tablename__ = "request_minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(String(16), primary_key=True)  # drawn at its start
    requests: Mapped[int] = mapped_column(server_default=text("0"))
    client_errors: Mapped[int] = mapped_column(server_default=text("0"))  # status 400 to 499
    server_errors: Mapped[int] = mapped_column(server_default=text("0"))  # status 500 and above
    sign_in_failures: Mapped[int] = mapped_column(server_default=text("0"))
    predictions: Mapped[int] = mapped_column(server_default=text("0"))
    request_buckets: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    prediction_buckets: Mapped[list[int]] = mapped_column(ARRAY(Integer))


class Fault(CentralBase):
    """One mistake of the program, by the reference that a person was shown; its stack is in the log alone."""

    __tablename__ = "faults"
    __table_args__ = (Index("faults_time", "occurred_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    reference: Mapped[str] = mapped_column(String(16), unique=True)
    place: Mapped[str] = mapped_column(String(200))  # route template or page
    kind: Mapped[str] = mapped_column(String(200))  # class of the exception
    request_id: Mapped[str | None] = mapped_column(String(64))
    process: Mapped[str] = mapped_column(String(16))
