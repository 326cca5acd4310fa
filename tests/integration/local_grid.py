"""A Grid that hands messages to the real ClientApp in this process, and can make a Site misbehave."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Context, Error, Message, RecordDict

from bench.offline_grid import OfflineGrid, be_an_app
from fl.client_app import app
from fl.messages import body_of, outgoing
from fl.site_binding import KnownBinding

Misbehaviour = Callable[[dict[str, Any]], dict[str, Any] | None]
GONE = Error(code=8, reason="ClientApp stopped responding.")


def spoil(**changes: Any) -> Misbehaviour:
    """Return a misbehaviour that replaces fields of an answer."""
    return lambda body: {**body, **changes}


def silent(body: dict[str, Any]) -> None:
    """Never answer."""


@dataclass
class LocalGrid(OfflineGrid):
    """One SuperNode per Site, answering at once.

    Attributes
    ----------
    site_urls
        Institution code -> URL of its database.
    misbehave
        (institution code, message type) -> what becomes of the answer.
    dead
        Codes of Sites whose SuperNode answers with an error.
    """

    site_urls: Mapping[str, str]
    misbehave: dict[tuple[str, str], Misbehaviour] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    replies: list[Message] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let this process make messages."""
        be_an_app()

    @property
    def binding(self) -> KnownBinding:
        """Each SuperNode has the key of its Site."""
        return KnownBinding(dict(enumerate(sorted(self.site_urls), start=1)))

    def get_node_ids(self) -> Iterable[int]:
        """Return ids 1 to n, in the order of the codes."""
        return range(1, len(self.site_urls) + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the ClientApp answer each message."""
        ids = []
        for number, message in enumerate(messages):
            self.sent.append(message)
            message.metadata.__dict__["_message_id"] = f"{len(self.sent)}-{number}"
            ids.append(message.metadata.message_id)
            self._answer(message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers to these messages that were not pulled yet."""
        wanted = set(message_ids)
        found = [reply for reply in self.replies if reply.metadata.reply_to_message_id in wanted]
        self.replies = [reply for reply in self.replies if reply not in found]
        return found

    def _answer(self, message: Message) -> None:
        code = sorted(self.site_urls)[message.metadata.dst_node_id - 1]
        if code in self.dead:
            self.replies.append(Message(GONE, reply_to=message))
            return
        context = Context(
            run_id=1,
            node_id=message.metadata.dst_node_id,
            node_config={"institution": code},
            state=RecordDict(),
            run_config={},
        )
        before = os.environ.get("SITE_DATABASE_URL")
        os.environ["SITE_DATABASE_URL"] = self.site_urls[code]
        try:
            reply = app(message=message, context=context)
        finally:
            os.environ.pop("SITE_DATABASE_URL")
            if before is not None:
                os.environ["SITE_DATABASE_URL"] = before
        misbehaviour = self.misbehave.get((code, message.metadata.message_type))
        if misbehaviour is not None:
            body = misbehaviour(body_of(reply))
            if body is None:
                return
            reply.content = outgoing(body)
        self.replies.append(reply)
