"""One question to many Sites: send, collect answers as they come, and stop at the time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from fl.messages import body_of

# A look costs SuperLink, which has one thread, some milliseconds; a pause grows with the time waited so far.
SHORTEST_POLL_SECONDS = 0.03
LONGEST_POLL_SECONDS = 0.5
POLL_GROWTH = 0.12
CANCEL_CHECK_SECONDS = 0.25
STOPPED = "The hospital's training process stopped before it answered."
UNREADABLE = "The hospital's answer could not be read."
FOREIGN = "The hospital's SuperNode answered for another institution than its key is registered for."


@dataclass(frozen=True)
class Answer:
    """What came back from one SuperNode.

    Attributes
    ----------
    institution
        Code of the institution whose key the SuperNode has.
    outcome
        `ok`, `excluded` or `failed`.
    body
        The fields of the phase; empty unless the outcome is `ok`.
    """

    node_id: int
    institution: str
    outcome: str
    reason: str
    seconds: float | None = None
    body: dict[str, Any] = field(default_factory=dict)


def read_answer(node_id: int, institution: str, message: Message) -> Answer:
    """Read a reply; what cannot be read, or speaks for another institution, becomes a failed answer with a reason.

    Parameters
    ----------
    institution
        Code of the institution whose key the SuperNode has; what the answer says of itself must agree.
    """
    if message.has_error():
        return Answer(node_id, institution, "failed", STOPPED)
    try:
        body = body_of(message)
        said, outcome, reason = (str(body.pop(name)) for name in ("institution", "outcome", "reason"))
        seconds = float(body.pop("seconds"))
    except (KeyError, TypeError, ValueError):
        return Answer(node_id, institution, "failed", UNREADABLE)
    if said != institution:
        return Answer(node_id, institution, "failed", FOREIGN)
    if outcome not in ("ok", "excluded", "failed"):
        return Answer(node_id, institution, "failed", UNREADABLE)
    return Answer(node_id, institution, outcome, reason[:300], seconds, body if outcome == "ok" else {})


@dataclass
class Exchange:
    """Messages that were sent, and the SuperNodes that have not answered them.

    Parameters
    ----------
    institutions
        Id of a SuperNode -> code of the institution whose key it has, of everybody who is sent a message.
    on_answer
        Called with each answer as it arrives.
    check
        Called a few times a second; what it raises ends the waiting.
    """

    grid: Grid
    institutions: Mapping[int, str]
    on_answer: Callable[[Answer], None]
    check: Callable[[], None]
    _waiting: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> list[int]:
        """Ids of the SuperNodes that have not answered."""
        return list(self._waiting.values())

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages; a SuperNode that is gone has answered at once that it stopped."""
        listed = list(messages)
        for message_id, message in zip(self.grid.push_messages(listed), listed, strict=True):
            if message_id:
                self._waiting[message_id] = message.metadata.dst_node_id
            else:
                node_id = message.metadata.dst_node_id
                self.on_answer(Answer(node_id, self.institutions[node_id], "failed", STOPPED))

    def collect(self, time_limit: float) -> None:
        """Hand over answers until all are in, or so many seconds have passed."""
        began = time.monotonic()
        deadline = began + time_limit
        next_check = 0.0
        while self._waiting and time.monotonic() < deadline:
            if time.monotonic() >= next_check:
                self.check()
                next_check = time.monotonic() + CANCEL_CHECK_SECONDS
            for reply in self.grid.pull_messages(list(self._waiting)):
                node_id = self._waiting.pop(reply.metadata.reply_to_message_id, None)
                if node_id is not None:
                    self.on_answer(read_answer(node_id, self.institutions[node_id], reply))
            if self._waiting:
                growing = POLL_GROWTH * (time.monotonic() - began)
                time.sleep(min(max(growing, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS))


def ask(
    grid: Grid,
    institutions: Mapping[int, str],
    messages: Iterable[Message],
    *,
    time_limit: float,
    on_answer: Callable[[Answer], None],
    check: Callable[[], None],
) -> list[int]:
    """Send messages and hand over each answer as it arrives; see `Exchange`.

    Returns
    -------
    list of int
        Ids of the SuperNodes that had not answered within `time_limit` seconds.
    """
    exchange = Exchange(grid, institutions, on_answer, check)
    exchange.send(messages)
    exchange.collect(time_limit)
    return exchange.waiting
