"""A Grid without SuperLink: what Flower asks of every Grid and a Run of ours never uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1


class OfflineGrid(Grid):
    """To be completed with `get_node_ids`, `push_messages` and `pull_messages`."""

    def set_run(self, run: Any) -> None:
        """Nothing to remember."""

    @property
    def run(self) -> Any:
        """There is no Flower run here."""
        raise NotImplementedError

    def create_message(self, *arguments: Any, **named: Any) -> Message:
        """Deprecated in Flower; not used."""
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Wait as Flower does; not used."""
        raise NotImplementedError


def be_an_app() -> None:
    """A message can be made only where Flower runs an app: say that this process is one."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, SUPERLINK_NODE_ID, 1
