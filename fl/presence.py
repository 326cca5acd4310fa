"""While a ServerApp waits for its Run, it asks the connected Sites how they are, without ever holding the Run up."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from flwr.app import Message
from flwr.serverapp import Grid
from sqlalchemy import case, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db.central import Institution, TrainingRun
from db.engines import sessions_for
from db.federation import SitePresence
from db.states import ENDED_STATUSES, Consent, RunKind, RunStatus
from fl.exchange import read_answer
from fl.messages import outgoing
from fl.runtime.flower_private import PRESENCE_MESSAGE
from fl.site_binding import SiteBinding

log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,50}")
_MOST_ROWS = 2**31 - 1
CALL_UNDER_WAY_SECONDS = 2.0  # to SuperLink or the database; usually a few hundredths


@dataclass(frozen=True)
class Rhythm:
    """How often Sites are asked; all in seconds.

    Attributes
    ----------
    first
        From the start of the ServerApp to the first question.
    every
        From one question to the next.
    patience
        An answer that comes later counts as none.
    look
        From one look for answers to the next.
    """

    first: float
    every: float
    patience: float
    look: float


# Unmodified Flower starts a process for each message; a Run that follows at once is not to wait for it.
RHYTHMS = {"warm": Rhythm(0.0, 20.0, 10.0, 0.25), "stock": Rhythm(30.0, 900.0, 120.0, 2.0)}


@contextmanager
def asking_sites(grid: Grid, database_url: str, binding: SiteBinding) -> Iterator[None]:
    """Ask the Sites in a thread of its own as long as the block runs.

    Leaving waits for no Site, only for the one call of SuperLink or of the database that is under way: what comes after
    has the grid to itself.
    """
    left = threading.Event()
    asker = PresenceAsker(grid, database_url, binding, RHYTHMS[os.environ.get("FLOWER_RUNTIME", "warm")])
    thread = threading.Thread(target=asker.ask_until, args=(left,), name="presence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join(CALL_UNDER_WAY_SECONDS)


@dataclass
class PresenceAsker:
    """Asks every connected Site and writes what it answers into `site_presence`.

    Attributes
    ----------
    asked_at
        When this process asked before, by the database's clock: who has not answered since then has missed a question.
    """

    grid: Grid
    database_url: str
    binding: SiteBinding
    rhythm: Rhythm
    asked_at: datetime | None = None
    _unanswered: dict[str, int] = field(default_factory=dict)

    def ask_until(self, left: threading.Event) -> None:
        """Ask again and again; whatever fails is tried again at the next turn."""
        pause = self.rhythm.first
        while not left.wait(pause):
            started = time.monotonic()
            try:
                self.ask(left)
            except (SQLAlchemyError, httpx.HTTPError) as error:
                log.warning("the Sites could not be asked for their presence (%s)", type(error).__name__)
            except Exception:  # this thread must outlive a mistake: without it no Site would be asked again
                log.exception("asking the Sites for their presence failed")
            pause = max(self.rhythm.every - (time.monotonic() - started), self.rhythm.look)

    def ask(self, left: threading.Event) -> list[str]:
        """Ask every connected Site once; return the codes of those that answered in time.

        Returns early, with nothing more written, when `left` is set.
        """
        with sessions_for(self.database_url)() as session:
            now, since = session.execute(select(func.clock_timestamp(), _last_training())).one()
            unbroken = self.asked_at or _oldest_unbroken(session, now, self.rhythm.every)
        content = outgoing({"since": since.isoformat() if since else ""})
        institutions = self.binding.institutions_of(list(self.grid.get_node_ids()))
        nodes = sorted(institutions)
        messages = [Message(content, dst_node_id=node, message_type=PRESENCE_MESSAGE) for node in nodes]
        late = self._unanswered  # of the question before; taken off SuperLink's hands, and not counted
        self.asked_at = now
        if left.is_set() or not messages:
            return []
        sent = zip(self.grid.push_messages(messages), nodes, strict=True)
        waiting = {message_id: node for message_id, node in sent if message_id}
        answered = []
        deadline = time.monotonic() + self.rhythm.patience
        while waiting and time.monotonic() < deadline and not left.is_set():
            for reply in self.grid.pull_messages([*waiting, *late]):
                message_id = reply.metadata.reply_to_message_id
                late.pop(message_id, None)
                node = waiting.pop(message_id, None)
                if node is not None and not left.is_set():
                    answered += self._keep(node, institutions[node], reply, unbroken)
            if waiting:
                left.wait(self.rhythm.look)
        self._unanswered = waiting
        return answered

    def _keep(self, node_id: int, institution: str, reply: Message, unbroken: datetime) -> list[str]:
        answer = read_answer(node_id, institution, reply)
        if answer.outcome != "ok":
            log.info("SuperNode %s did not tell its presence: %s", node_id, answer.reason)
            return []
        try:
            told = read_presence(answer.body)
        except (KeyError, TypeError, ValueError) as problem:
            log.warning("what SuperNode %s told of its presence was rejected: %s", node_id, problem)
            return []
        with sessions_for(self.database_url)() as session, session.begin():
            institution_id = session.scalar(
                select(Institution.id).where(Institution.code == answer.institution)
            )
            if institution_id is None:
                return []
            _write(session, institution_id, str(node_id), told, unbroken)
        return [answer.institution]


def read_presence(body: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a `site_presence` row that a Site's answer holds.

    Raises
    ------
    ValueError
        Naming what cannot be.
    """
    usable, new = int(body["usable_rows"]), int(body["new_rows"])
    if not 0 <= new <= usable <= _MOST_ROWS:
        raise ValueError("numbers of patients that cannot be")
    if usable % 10 or new % 10:
        raise ValueError("numbers of patients that are not rounded down to tens")
    version, sha256 = str(body["software_version"]), str(body["bundle_sha256"])
    if not _VERSION.fullmatch(version) or not _SHA256.fullmatch(sha256):
        raise ValueError("a version or a hash of another form")
    return {
        "usable_rows": usable,
        "new_rows": new,
        "software_version": version,
        "bundle_sha256": sha256,
        "consent": Consent(str(body["consent"])),
    }


def _last_training() -> Any:
    return (
        select(func.max(TrainingRun.started_at))
        .where(TrainingRun.kind == RunKind.FEDERATED, TrainingRun.status == RunStatus.COMPLETED)
        .scalar_subquery()
    )


def _oldest_unbroken(session: Session, now: datetime, every: float) -> datetime:
    """Return since when a Site must have answered, when this process has not asked before.

    During a Run nobody asks; a ServerApp that follows one takes up what was before it.
    """
    grace = timedelta(seconds=2 * every)
    ended = session.execute(
        select(TrainingRun.started_at, TrainingRun.finished_at)
        .where(TrainingRun.status.in_(ENDED_STATUSES), TrainingRun.started_at.is_not(None))
        .order_by(TrainingRun.finished_at.desc())
        .limit(1)
    ).first()
    if ended is not None and ended.finished_at >= now - grace:
        started: datetime = ended.started_at
        return started - grace
    return now - grace


def _write(
    session: Session, institution_id: int, node_id: str, told: dict[str, Any], unbroken: datetime
) -> None:
    values = {
        "institution_id": institution_id,
        "flwr_node_id": node_id,
        "online_since": func.now(),
        "last_seen_at": func.now(),
        **told,
    }
    statement = insert(SitePresence).values(**values)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in values if name != "institution_id"}
    # A SuperNode that was started again has another id.
    broken = or_(SitePresence.last_seen_at < unbroken, SitePresence.flwr_node_id != node_id)
    changed["online_since"] = case((broken, statement.excluded.online_since), else_=SitePresence.online_since)
    session.execute(statement.on_conflict_do_update(index_elements=["institution_id"], set_=changed))
