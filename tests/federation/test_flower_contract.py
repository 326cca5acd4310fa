"""What `fl.runtime.flower_private` takes for granted of Flower's private parts; fails first when Flower changes."""

from __future__ import annotations

import inspect
import time
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.cli.build import build_fab_from_files
from flwr.common.config import get_fused_config_from_fab
from flwr.common.constant import SUPERLINK_NODE_ID, Status
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.inflatable import inflatable_object, inflatable_utils
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink import main as superlink_main
from flwr.superlink.config_loader import get_license_plugin
from flwr.superlink.grid import http_grid
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.fleet_http_connection import http_request_response
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fl.messages import body_of, outgoing
from fl.runtime import flower_messages
from fl.runtime.environment import PROJECT_ROOT
from fl.runtime.flower_messages import QuickPulls, fetch_message
from fl.runtime.flower_private import IDLE_MIDDLEWARE, adapt_superlink, build_bundle
from fl.runtime.superlink_guard import CONTROL, SELF_REGISTRATION


def _parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_pinned_version_is_the_one_that_was_read() -> None:
    assert version("flwr") == "1.41.0"
    assert "flwr==1.41.0" in (PROJECT_ROOT / "requirements.txt").read_text()


def test_the_fleet_connection_gives_the_eight_calls_in_this_order() -> None:
    assert _parameters(http_request_response)[:4] == [
        "server_address",
        "insecure",
        "root_certificates",
        "authentication_keys",
    ]
    source = inspect.getsource(http_request_response)
    yielded = source[source.index("yield (") : source.index("except Exception")]
    order = [
        "node_id",
        "receive",
        "send",
        "get_run",
        "get_fab",
        "pull_object",
        "push_object",
        "confirm_message",
    ]
    positions = [yielded.index(name) for name in order]
    assert positions == sorted(positions)


def test_objects_can_be_pulled_and_pushed_as_we_do() -> None:
    wanted = {"initial_backoff", "backoff_cap", "max_time"}
    assert wanted <= set(_parameters(inflatable_utils.pull_objects))
    assert "object_ids_to_push" in _parameters(inflatable_utils.push_objects)
    assert _parameters(inflatable_utils.inflate_object_from_contents)[:2] == ["object_id", "object_contents"]
    for name in (
        "get_all_nested_objects",
        "get_object_tree",
        "iterate_object_tree",
        "no_object_id_recompute",
    ):
        assert callable(getattr(inflatable_object, name))


def test_the_grid_has_what_our_own_pulling_of_answers_uses() -> None:
    source = inspect.getsource(http_grid.HttpGrid)
    for used in ("_runtime_client.PullMessages(", "_runtime_client.PullObject", "ConfirmMessageReceived("):
        assert used in source
    assert _parameters(http_grid.HttpGrid.pull_messages) == ["self", "message_ids"]
    assert isinstance(http_grid.HttpGrid.run, property)


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch) -> Message:
    for name, value in {"run_id": 1, "node_id": SUPERLINK_NODE_ID, "task_id": 1}.items():
        monkeypatch.setattr(TaskIdentity, f"_{name}", value)
    return Message(outgoing({"weights": np.arange(5.0), "seed": 7}), dst_node_id=3, message_type="train")


def test_a_message_of_ours_is_fetched_with_one_object_and_is_the_one_that_was_sent(message: Message) -> None:
    objects = inflatable_object.get_all_nested_objects(message)
    tree = inflatable_object.get_object_tree(message)
    asked: list[str] = []

    def pull(object_id: str) -> bytes:
        asked.append(object_id)
        return objects[object_id].deflate()

    envelope = remove_content_from_message(message)
    fetched = fetch_message(envelope.metadata, tree, pull, 1.0)
    assert len(asked) == 1 and len(objects) == 3
    assert fetched.object_id == message.object_id == fetched.metadata.message_id
    assert body_of(fetched) == body_of(message)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({"other": ConfigRecord({"seed": 7})}),
        RecordDict({"body": MetricRecord({"seed": 7})}),
        RecordDict({"body": ConfigRecord({"seed": 7}), "more": ConfigRecord()}),
        RecordDict(),
    ],
)
def test_any_other_message_is_fetched_whole(message: Message, content: RecordDict) -> None:
    message.content = content
    objects = inflatable_object.get_all_nested_objects(message)
    tree = inflatable_object.get_object_tree(message)
    fetched = fetch_message(
        message.metadata, tree, lambda object_id: bytes(objects[object_id].deflate()), 1.0
    )
    assert fetched.object_id == message.object_id and dict(fetched.content) == dict(content)


class HalfSent:
    """A Grid and its client with an answer that is announced, once, while its content is still on its way."""

    def __init__(self, message: Message) -> None:
        self.question = message.metadata.__dict__["_reply_to_message_id"] = "1"
        self.node, self.run, self._runtime_client = Node(node_id=1), SimpleNamespace(run_id=1), self
        self.objects = {
            object_id: content.deflate()
            for object_id, content in inflatable_object.get_all_nested_objects(message).items()
        }
        self.there = False
        self.nodes = [message.metadata.src_node_id]
        self._unread = [(message_to_proto(message), inflatable_object.get_object_tree(message))]

    def PullMessages(self, request: PullAppMessagesRequest) -> PullAppMessagesResponse:
        assert (
            self._unread or self.question not in request.message_ids
        )  # SuperLink would answer with an error
        unread, self._unread = self._unread, []
        return PullAppMessagesResponse(
            messages_list=[proto for proto, _ in unread], message_object_trees=[tree for _, tree in unread]
        )

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:
        content = self.objects[request.object_id] if self.there else b""
        return PullObjectResponse(object_found=True, object_available=self.there, object_content=content)

    def get_node_ids(self) -> list[int]:
        return self.nodes


def test_an_answer_that_is_still_on_its_way_holds_nobody_up_and_comes_later(message: Message) -> None:
    grid, pulls = HalfSent(message), QuickPulls()
    started = time.monotonic()
    assert pulls.pull(grid, ["1"]) == []
    assert pulls.pull(grid, ["1"]) == []
    assert time.monotonic() - started < 0.3
    grid.there = True
    (answer,) = pulls.pull(grid, ["1"])
    assert body_of(answer) == body_of(message)
    assert pulls.pull(grid, []) == []


def test_an_answer_of_a_site_that_was_killed_while_it_sent_it_becomes_an_error_at_once(
    message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower_messages, "GONE_LOOK_SECONDS", 0.0)
    grid, pulls = HalfSent(message), QuickPulls()
    assert pulls.pull(grid, ["1"]) == []
    grid.nodes = []
    (answer,) = pulls.pull(grid, ["1"])
    assert answer.has_error()


def test_the_middleware_that_superlink_goes_without_is_there_and_does_nothing_without_plugins() -> None:
    listed = {getattr(one.cls, "__name__", "") for one in superlink_main._get_middleware()}
    assert set(IDLE_MIDDLEWARE) < listed
    assert {"NodeAuthMiddleware", "ControlAuthenticationMiddleware"} <= listed - set(IDLE_MIDDLEWARE)
    assert get_license_plugin() is None


def test_the_guards_stand_before_and_behind_what_flower_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature's check gives the request that the last guard compares; paths are what the first one judges by."""
    monkeypatch.setattr(superlink_main, "_get_middleware", superlink_main._get_middleware)
    adapt_superlink("secret")
    names = [getattr(one.cls, "__name__", "") for one in superlink_main._get_middleware()]
    assert names[0] == "CallerGuard" and names[-1] == "SenderGuard"
    assert names.index("ProtobufTranslationMiddleware") < names.index("NodeAuthMiddleware") < len(names) - 1
    paths = set(superlink_main.create_app().openapi()["paths"])
    assert {*SELF_REGISTRATION, "/v1/fleet/push-messages", "/health"} <= paths
    assert any(path.startswith(CONTROL) for path in paths)


def test_superlink_signs_a_supernode_off_when_its_key_says_so() -> None:
    assert _parameters(NodeAuthHttpInterceptor) == ["private_key", "public_key"]
    assert callable(FleetHttpClient.DeactivateNode)


def test_the_control_client_has_the_calls_we_make() -> None:
    for name in (
        "StartRun",
        "StopRun",
        "ListRuns",
        "ListNodes",
        "RegisterNode",
        "UnregisterNode",
        "close",
    ):
        assert callable(getattr(ControlHttpClient, name))
    assert Status.FINISHED == "finished"


def test_an_ended_run_is_told_by_an_exception_that_is_no_ordinary_one() -> None:
    assert issubclass(RunNotRunningException, BaseException)
    assert not issubclass(RunNotRunningException, Exception)


def test_the_bundle_is_the_same_twice_and_holds_fl_and_db_only() -> None:
    import io
    import zipfile

    assert _parameters(build_fab_from_files) == ["files"]
    assert _parameters(get_fused_config_from_fab)[:2] == ["fab_file", "run"]
    bundle = build_bundle(PROJECT_ROOT)
    assert bundle.sha256 == build_bundle(PROJECT_ROOT).sha256
    names = zipfile.ZipFile(io.BytesIO(bundle.content)).namelist()
    assert "fl/client_app.py" in names and "db/site.py" in names
    assert {name.split("/")[0] for name in names} == {"fl", "db", "pyproject.toml", ".info"}
