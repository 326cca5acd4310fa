"""What `fl.runtime.flower_private` takes for granted of Flower's private parts; fails first when Flower changes."""

from __future__ import annotations

import inspect
from importlib.metadata import version

from flwr.cli.build import build_fab_from_files
from flwr.common.config import get_fused_config_from_fab
from flwr.common.constant import Status
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.inflatable import inflatable_object, inflatable_utils
from flwr.supercore.run import RunNotRunningException
from flwr.superlink.grid import http_grid
from flwr.supernode.fleet_http_connection import http_request_response

from fl.runtime.environment import PROJECT_ROOT
from fl.runtime.flower_private import build_bundle


def _parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_pinned_version_is_the_one_that_was_read() -> None:
    assert version("flwr") == "1.41.0"
    assert "flwr==1.41.0" in (PROJECT_ROOT / "requirements.txt").read_text()


def test_the_fleet_connection_gives_the_eight_calls_in_this_order() -> None:
    assert _parameters(http_request_response)[:3] == ["server_address", "insecure", "root_certificates"]
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


def test_the_grid_pulls_objects_through_the_name_that_we_replace() -> None:
    assert "pull_objects(" in inspect.getsource(http_grid.HttpGrid.pull_messages)
    assert hasattr(http_grid, "pull_objects")


def test_the_control_client_has_the_calls_we_make() -> None:
    for name in ("StartRun", "StopRun", "ListRuns", "ListNodes", "UnregisterNode", "close"):
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
