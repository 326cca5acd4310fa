"""Messages fetched in fewer calls than Flower needs; leans on its private parts as `fl.runtime.flower_private` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Error, Message, RecordDict

from fl.messages import BODY

AT_ONCE = 0.0  # seconds to wait for an object
GONE_LOOK_SECONDS = 0.5  # a Site that was killed while it sent its answer never sends the rest
LONGEST_SECONDS = 30.0  # that sending an answer may take


def pull_objects_quickly() -> None:
    """Let this process fetch one object of each of our answers instead of three, and never wait for a single one.

    Flower fetches the three objects of a message one answer after the other, and waits for one that is still on its way
    while the others are there.
    """
    from flwr.superlink.grid.http_grid import HttpGrid

    pulls = QuickPulls()

    def pull_messages(self: HttpGrid, message_ids: Iterable[str]) -> Iterable[Message]:
        return pulls.pull(self, message_ids)

    HttpGrid.pull_messages = pull_messages  # type: ignore[method-assign]


@dataclass
class Announced:
    """An answer that SuperLink has announced and that is not here yet."""

    metadata: Any
    tree: Any
    since: float
    look_at: float


@dataclass
class QuickPulls:
    """What `HttpGrid.pull_messages` does, in half the calls.

    Confirming a message makes SuperLink delete its objects; whoever sends them would fail if that happened while the
    last is still on its way. Only one of them is waited for here, so an answer is confirmed when the next answer of
    the same SuperNode is here: it sends one after the other.
    """

    _to_confirm: dict[int, str] = field(default_factory=dict)  # node id -> its last message
    _confirm_now: list[str] = field(default_factory=list)
    _announced: list[Announced] = field(default_factory=list)

    def pull(self, grid: Any, message_ids: Iterable[str]) -> list[Message]:
        """Return the answers to these messages that have arrived whole; of a SuperNode that is gone, an error."""
        from flwr.common.serde import message_from_proto
        from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
        from flwr.proto.runtime_pb2 import PullAppMessagesRequest
        from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf

        client, run_id, now = grid._runtime_client, grid.run.run_id, time.monotonic()
        while self._confirm_now:
            client.ConfirmMessageReceived(
                ConfirmMessageReceivedRequest(
                    node=grid.node, run_id=run_id, message_object_id=self._confirm_now.pop()
                )
            )
        # SuperLink announces an answer once; asked again, it says that there is none.
        announced = {one.metadata.reply_to_message_id for one in self._announced}
        if unheard := set(message_ids) - announced:
            listed = client.PullMessages(PullAppMessagesRequest(message_ids=sorted(unheard)))
            for proto, tree in zip(listed.messages_list, listed.message_object_trees, strict=True):
                metadata = message_from_proto(proto).metadata
                self._announced.append(Announced(metadata, tree, now, now + GONE_LOOK_SECONDS))
        pull_object = make_pull_object_fn_protobuf(client.PullObject, grid.node, run_id)
        waiting, self._announced = self._announced, []
        messages = []
        for one in waiting:
            message = self._fetched(one, pull_object, grid)
            if message is None:
                self._announced.append(one)
            else:
                messages.append(message)
        return messages

    def _fetched(self, one: Announced, pull: Callable[[str], bytes], grid: Any) -> Message | None:
        from flwr.app.message import make_message
        from flwr.common.constant import ErrorCode
        from flwr.supercore.inflatable.inflatable_utils import ObjectPullError

        node_id = one.metadata.src_node_id
        try:
            message = fetch_message(one.metadata, one.tree, pull, AT_ONCE)
        except ObjectPullError:
            if not _never_comes(one, grid):
                return None
            return make_message(
                one.metadata,
                error=Error(ErrorCode.MESSAGE_UNAVAILABLE, "The answer was not sent to its end."),
            )
        previous = self._to_confirm.pop(node_id, None)
        if previous is not None:
            self._confirm_now.append(previous)
        self._to_confirm[node_id] = one.tree.object_id
        return message


def _never_comes(one: Announced, grid: Any) -> bool:
    now = time.monotonic()
    if now < one.look_at:
        return False
    one.look_at = now + GONE_LOOK_SECONDS
    return now - one.since > LONGEST_SECONDS or one.metadata.src_node_id not in grid.get_node_ids()


def fetch_message(metadata: Any, tree: Any, pull: Callable[[str], bytes], patience: float) -> Message:
    """Fetch a message of which SuperLink gave the metadata and the tree of its objects.

    Objects are known by the hash of their content. Of a message of ours only the record is fetched; what lies around it
    follows from the metadata, and if that has the announced hash, it is the message that was sent.

    Parameters
    ----------
    patience
        Seconds to wait for an object that is still on its way.

    Raises
    ------
    flwr.supercore.inflatable.inflatable_utils.ObjectPullError
        If an object did not come.
    """
    from flwr.app import ConfigRecord
    from flwr.app.message import make_message
    from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

    object_ids = [node.object_id for node in iterate_object_tree(tree)]  # children before their parents
    contents: dict[str, bytes] = {}
    if len(object_ids) == 3:
        contents = _pulled(object_ids[:1], pull, patience)
        with contextlib.suppress(ValueError):  # it is no ConfigRecord
            record = ConfigRecord.inflate(contents[object_ids[0]])
            message = make_message(metadata, RecordDict({BODY: record}))
            if message.object_id == tree.object_id:
                message.metadata.__dict__["_message_id"] = tree.object_id
                return message
    contents |= _pulled([object_id for object_id in object_ids if object_id not in contents], pull, patience)
    whole = inflate_object_from_contents(tree.object_id, contents)
    assert isinstance(whole, Message)
    whole.metadata.__dict__["_message_id"] = tree.object_id
    return whole


def _pulled(object_ids: list[str], pull: Callable[[str], bytes], patience: float) -> dict[str, bytes]:
    from flwr.supercore.inflatable.inflatable_utils import pull_objects

    return pull_objects(object_ids, pull, initial_backoff=0.02, backoff_cap=0.5, max_time=patience)
