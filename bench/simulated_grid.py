"""A Grid whose SuperNodes are a few processes: each answers for hundreds of institutions with the real ClientApp."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterable, Mapping
from multiprocessing.pool import Pool

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from bench.offline_grid import RUN_ID, OfflineGrid, be_an_app


class SimulatedGrid(OfflineGrid):
    """Hands each message to one of `workers` processes, forked from this one with TensorFlow loaded.

    Messages cross as bytes, as between SuperLink and a SuperNode. What is missing is the network: SuperLink, HTTP calls
    and the looking for messages.

    Parameters
    ----------
    site_urls
        Institution code -> URL of its database; node ids are 1 to n in the order of the codes.
    """

    def __init__(self, site_urls: Mapping[str, str], workers: int) -> None:
        import fl.client_app
        import fl.training  # noqa: F401 - loaded once, shared by the workers

        self._urls = [site_urls[code] for code in sorted(site_urls)]
        self._codes = sorted(site_urls)
        self._sent = 0
        self._replies: dict[str, Message] = {}
        self._lock = threading.Lock()
        self.busy_seconds = 0.0
        be_an_app()
        self._pool: Pool = multiprocessing.get_context("fork").Pool(workers, _prepare_worker)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers."""
        return [process.pid for process in multiprocessing.active_children() if process.pid]

    def close(self) -> None:
        """End the workers."""
        self._pool.terminate()
        self._pool.join()

    def get_node_ids(self) -> Iterable[int]:
        """Return ids 1 to n."""
        return range(1, len(self._codes) + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages for the workers; return their ids."""
        ids = []
        for message in messages:
            self._sent += 1
            message_id = str(self._sent)
            message.metadata.__dict__["_message_id"] = message_id
            place = message.metadata.dst_node_id - 1
            self._pool.apply_async(
                _answer,
                (message_to_proto(message).SerializeToString(), self._codes[place], self._urls[place]),
                callback=self._keep,
                error_callback=lambda error, message=message: self._keep_error(message, error),  # type: ignore[misc]
            )
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers to these messages that have come since."""
        with self._lock:
            return [self._replies.pop(one) for one in message_ids if one in self._replies]

    def _keep(self, answered: tuple[bytes, float]) -> None:
        reply = message_from_proto(ProtoMessage.FromString(answered[0]))
        with self._lock:
            self.busy_seconds += answered[1]
            self._replies[reply.metadata.reply_to_message_id] = reply

    def _keep_error(self, message: Message, error: BaseException) -> None:
        reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
        with self._lock:
            self._replies[message.metadata.message_id] = reply


def _prepare_worker() -> None:
    from fl.training import use_one_thread, warm_up

    use_one_thread()
    warm_up()


def _answer(message: bytes, institution: str, site_database_url: str) -> tuple[bytes, float]:
    """Let the ClientApp answer for one institution; return the reply and the seconds that it took."""
    from db.engines import engine_for
    from fl.client_app import app

    started = time.perf_counter()
    asked = message_from_proto(ProtoMessage.FromString(message))
    os.environ["SITE_DATABASE_URL"] = site_database_url
    context = Context(
        run_id=RUN_ID,
        node_id=asked.metadata.dst_node_id,
        node_config={"institution": institution},
        state=RecordDict(),
        run_config={},
    )
    try:
        reply = app(message=asked, context=context)
    finally:
        engine_for(
            site_database_url
        ).dispose()  # a server has connections for a few hundred clients, not for all
    reply = make_message(reply.metadata, reply.content)
    return message_to_proto(reply).SerializeToString(), time.perf_counter() - started
