"""One question to many Sites: send, collect answers as they come, and stop at the time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from fl.messages import body_of

POLL_SECONDS = 0.03
CANCEL_CHECK_SECONDS = 0.25
STOPPED = "The hospital's training process stopped before it answered."
UNREADABLE = "The hospital's answer could not be read."


@dataclass(frozen=True)
class Answer:
    """What came back from one SuperNode.

    Attributes
    ----------
    institution
        Code that the Site gave; None if there was no readable answer.
    outcome
        `ok`, `excluded` or `failed`.
    body
        The fields of the phase; empty unless the outcome is `ok`.
    """

    node_id: int
    institution: str | None
    outcome: str
    reason: str
    seconds: float | None = None
    body: dict[str, Any] = field(default_factory=dict)


def read_answer(node_id: int, message: Message) -> Answer:
    """Read a reply; what cannot be read becomes a failed answer with a reason."""
    if message.has_error():
        return Answer(node_id, None, "failed", STOPPED)
    try:
        body = body_of(message)
        institution, outcome, reason = (str(body.pop(name)) for name in ("institution", "outcome", "reason"))
        seconds = float(body.pop("seconds"))
    except (KeyError, TypeError, ValueError):
        return Answer(node_id, None, "failed", UNREADABLE)
    if outcome not in ("ok", "excluded", "failed"):
        return Answer(node_id, institution, "failed", UNREADABLE)
    return Answer(node_id, institution, outcome, reason[:300], seconds, body if outcome == "ok" else {})


def ask(
    grid: Grid,
    messages: Iterable[Message],
    *,
    time_limit: float,
    on_answer: Callable[[Answer], None],
    check: Callable[[], None],
) -> list[int]:
    """Send messages and hand over each answer as it arrives.

    Parameters
    ----------
    time_limit
        Seconds after which nobody is waited for any longer.
    check
        Called a few times a second; what it raises ends the waiting.

    Returns
    -------
    list of int
        Ids of the SuperNodes that had not answered by then.
    """
    listed = list(messages)
    sent = zip(grid.push_messages(listed), listed, strict=True)
    deadline = time.monotonic() + time_limit
    waiting: dict[str, int] = {}
    for message_id, message in sent:
        if message_id:
            waiting[message_id] = message.metadata.dst_node_id
        else:
            on_answer(Answer(message.metadata.dst_node_id, None, "failed", STOPPED))
    next_check = 0.0
    while waiting and time.monotonic() < deadline:
        if time.monotonic() >= next_check:
            check()
            next_check = time.monotonic() + CANCEL_CHECK_SECONDS
        for reply in grid.pull_messages(list(waiting)):
            node_id = waiting.pop(reply.metadata.reply_to_message_id, None)
            if node_id is not None:
                on_answer(read_answer(node_id, reply))
        if waiting:
            time.sleep(POLL_SECONDS)
    return list(waiting.values())
