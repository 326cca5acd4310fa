"""Everything here that leans on Flower's private parts; flwr is pinned and tests/federation holds it to them.

Imports are inside the functions: a ServerApp starts a quarter of a second sooner without what only others use.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fl.messages import answer
from fl.runtime.flower_messages import fetch_message
from fl.runtime.pace import Pace
from fl.runtime.superlink_guard import CallerGuard, SenderGuard

log = logging.getLogger(__name__)

# Asked while no Run is going on, and also of a Site that runs another version.
PRESENCE_MESSAGE = "query.presence"
BUNDLED = ("fl", "db")
OTHER_VERSION = "The hospital runs another version of Fedcost than the consortium; both need the same."


# SuperLink's middleware that passes every request on unread unless plugins or tracing are on, which they are not here.
IDLE_MIDDLEWARE = (
    "ControlSensitiveResponseMiddleware",
    "ControlLicenseMiddleware",
    "RuntimeTracingMiddleware",
    "ControlEventLogMiddleware",
    "FleetEventLogMiddleware",
)


def adapt_superlink(control_secret: str) -> None:
    """Guard the SuperLink of this process, and let it skip the middleware that has nothing to do.

    Parameters
    ----------
    control_secret
        What a caller of the Control API must show; see `fl.runtime.superlink_guard`.
    """
    from flwr.superlink import main
    from starlette.middleware import Middleware

    complete = main._get_middleware
    main._get_middleware = lambda: [
        Middleware(CallerGuard, secret=control_secret),
        *(one for one in complete() if getattr(one.cls, "__name__", "") not in IDLE_MIDDLEWARE),
        Middleware(SenderGuard),
    ]


def make_messages_outside_a_run() -> None:
    """Let this process, which Flower did not start, make the messages that its strategies aggregate."""
    from flwr.common.constant import SUPERLINK_NODE_ID
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1


@dataclass(frozen=True)
class Bundle:
    """The Flower App Bundle of this installation: `fl/`, `db/` and their pyproject."""

    content: bytes

    @property
    def sha256(self) -> str:
        """The hash by which Flower and the Sites know the bundle."""
        return hashlib.sha256(self.content).hexdigest()


def build_bundle(project_root: Path) -> Bundle:
    """Build the bundle from the installed files; the same files give the same bytes.

    Flower would look at every file below the root, 12,000 of them in `.venv`; the bundle needs these few.
    """
    from flwr.cli.build import build_fab_from_files

    files = [
        project_root / "pyproject.toml",
        *(file for part in BUNDLED for file in project_root.glob(f"{part}/**/*.py")),
    ]
    return Bundle(
        build_fab_from_files({str(file.relative_to(project_root)): file for file in sorted(files)})[0]
    )


@dataclass
class WarmSuperNode:
    """A SuperNode that runs the installed ClientApp in its own process, where TensorFlow stays loaded.

    Flower's SuperNode starts a process for each message and sleeps three seconds between looks; this one speaks
    the same Fleet API through Flower's own connection, calls the app directly and looks when a message is
    due. It runs no code but the installed bundle's: a run of another bundle is refused.

    Attributes
    ----------
    key
        Signs every call; SuperLink knows its public half by which institution it is.
    root_certificates
        PEM of the authority that signed SuperLink's certificate; None speaks plain text.
    on_connected
        Called with the node id once SuperLink has accepted the SuperNode.
    """

    superlink_address: str
    app: ClientApp
    institution: str
    bundle_sha256: str
    key: ec.EllipticCurvePrivateKey
    root_certificates: bytes | None = None
    on_connected: Callable[[int], None] = lambda node_id: None
    _contexts: dict[int, Context | None] = field(default_factory=dict)
    _answered: tuple[int, str] | None = None  # run and id of the last message

    def serve(self, keep_on: Callable[[], bool], pause: Callable[[float], bool]) -> None:
        """Answer messages until `keep_on` says no; leaves and unregisters properly then.

        Parameters
        ----------
        pause
            Waits so many seconds, less if somebody says that a Run begins; answers whether somebody did.
        """
        from flwr.supercore.run import RunNotRunningException
        from flwr.supernode.fleet_http_connection import http_request_response

        keys = self.key, self.key.public_key()
        insecure = self.root_certificates is None
        with http_request_response(
            self.superlink_address, insecure, self.root_certificates, keys
        ) as connection:
            node_id, receive, send, get_run, get_fab, pull_object, push_object, confirm = connection
            self.on_connected(node_id)
            pace = Pace()
            while keep_on():
                try:
                    received = receive()
                    if received is not None:
                        of_a_run = received[0].metadata.message_type != PRESENCE_MESSAGE
                        if of_a_run:
                            pace.received()
                        self._answer(
                            node_id, *received, send, get_run, get_fab, pull_object, push_object, confirm
                        )
                        if of_a_run:
                            pace.answered()
                except RunNotRunningException:
                    log.info("a message of a run that has ended was dropped")
                if pause(pace.pause()):
                    pace.woken()

    def _answer(
        self,
        node_id: int,
        envelope: Message,
        object_tree: Any,
        send: Callable[..., tuple[set[str], str]],
        get_run: Callable[[int], Any],
        get_fab: Callable[[str, int], Any],
        pull_object: Callable[[int, str], bytes],
        push_object: Callable[[int, str, str, bytes], None],
        confirm: Callable[[int, str], None],
    ) -> None:
        from flwr.supercore.inflatable.inflatable_object import (
            get_all_nested_objects,
            get_object_tree,
            no_object_id_recompute,
        )
        from flwr.supercore.inflatable.inflatable_utils import push_objects

        run_id, message_id = envelope.metadata.run_id, envelope.metadata.message_id
        message = fetch_message(
            envelope.metadata, object_tree, lambda object_id: pull_object(run_id, object_id), patience=30.0
        )
        started = time.perf_counter()
        reply = self._reply_to(message, self._context_of(node_id, run_id, get_run, get_fab))
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            tree, objects = get_object_tree(reply), get_all_nested_objects(reply)
            missing, session_id = send(reply, tree, time.perf_counter() - started)
            push_objects(
                objects,
                lambda object_id, content: push_object(run_id, session_id, object_id, content),
                object_ids_to_push=missing,
            )
        # SuperLink may forget a message once all of it was sent to it, which the next message of the run proves.
        last, self._answered = self._answered, (run_id, message_id)
        if last is not None and last[0] == run_id:
            confirm(*last)

    def _reply_to(self, message: Message, context: Context | None) -> Message:
        from flwr.common.constant import ErrorCode

        if context is None and message.metadata.message_type == PRESENCE_MESSAGE:
            metadata = message.metadata  # the installed code answers, and says which it is
            context = self._new_context(metadata.run_id, metadata.dst_node_id, {}, 0)
        if context is None:
            refusal = {
                "institution": self.institution,
                "outcome": "failed",
                "reason": OTHER_VERSION,
                "seconds": 0.0,
            }
            return answer("statistics", refusal, reply_to=message)
        try:
            return self.app(message=message, context=context)
        except Exception:  # whatever it was, the hub is answered, and waits for nothing
            log.exception("the ClientApp failed")
            # The reason stays in the Site's log: an exception's text may hold values of patients.
            reason = "The ClientApp raised an exception."
            return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=reason), reply_to=message)

    def _context_of(
        self, node_id: int, run_id: int, get_run: Callable[[int], Any], get_fab: Callable[[str, int], Any]
    ) -> Context | None:
        """Return the run's context, or None if its bundle is not the installed one."""
        from flwr.common.config import get_fused_config_from_fab

        if run_id not in self._contexts:
            self._contexts.clear()
            run = get_run(run_id)
            content = get_fab(run.fab_hash, run_id).content
            if Bundle(content).sha256 != self.bundle_sha256:
                log.warning("refused run %s: its code is not what is installed here", run_id)
                self._contexts[run_id] = None
            else:
                config = get_fused_config_from_fab(content, run)
                self._contexts[run_id] = self._new_context(run_id, node_id, config, run.series_id)
        return self._contexts[run_id]

    def _new_context(self, run_id: int, node_id: int, run_config: Any, series_id: int) -> Context:
        return Context(
            run_id=run_id,
            node_id=node_id,
            node_config={"institution": self.institution},
            state=RecordDict(),
            run_config=run_config,
            series_id=series_id,
        )
