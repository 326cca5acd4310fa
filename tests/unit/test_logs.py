"""Every process writes one JSON object a line: what happened, where it belongs, and no exception's text."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from app.log_privacy import log_fault
from app.request_log import PAGE, UNMATCHED, route_of
from app.settings import PROJECT_ROOT
from db.logs import described, in_words

NAME = "Love" + "lace"  # never as it is in this file, whose lines a stack could show


def _lines(program: str, **environment: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert NAME not in finished.stderr
    return finished.stderr.splitlines()


def _objects(program: str, **environment: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(program, **environment)]


BEGIN = """
import logging
from db.logs import belonging_to, configure_logs
configure_logs("supervisor", context=lambda: {"request_id": "r-1"})
log = logging.getLogger("fl.something")
"""


def test_a_line_says_when_how_grave_who_and_to_which_request_and_run_it_belongs() -> None:
    program = (
        f'{BEGIN}\nwith belonging_to(run_id=7):\n    log.info("round %d starts", 3, extra={{"round": 3}})'
    )
    [line] = _objects(program)
    assert line.pop("time").endswith("Z")
    assert line.pop("pid") > 0
    assert line == {
        "level": "info",
        "process": "supervisor",
        "logger": "fl.something",
        "message": "round 3 starts",
        "run_id": 7,
        "round": 3,
        "request_id": "r-1",
    }


def test_a_value_that_no_line_may_have_is_left_out() -> None:
    [line] = _objects(f'{BEGIN}\nlog.info("saved", extra={{"last_name": "Love" + "lace", "run_id": 2}})')
    assert "last_name" not in line
    assert line["run_id"] == 2


RAISE = """
def fail():
    try:
        raise KeyError("Love" + "lace")
    except KeyError as cause:
        raise RuntimeError("Failing row contains " + "Love" + "lace") from cause
"""


@pytest.mark.parametrize(
    "how",
    [
        "try:\n    fail()\nexcept RuntimeError:\n    log.exception('it failed')",
        "import threading\nthread = threading.Thread(target=fail)\nthread.start()\nthread.join()",
        "fail()",
    ],
    ids=["logged", "in a thread", "uncaught"],
)
def test_an_exception_leaves_its_class_and_frames_and_what_caused_it_but_no_text(how: str) -> None:
    [line] = _objects(f"{BEGIN}{RAISE}\n{how}")
    assert line["exception"]["class"] == "RuntimeError"
    assert line["exception"]["frames"][-1].endswith(" fail")
    assert line["exception"]["cause"]["class"] == "KeyError"


def test_a_traceback_that_a_library_wrote_into_its_message_loses_its_text_too() -> None:
    program = f"""{BEGIN}{RAISE}
import traceback
try:
    fail()
except RuntimeError:
    log.error("Startup failed\\n" + traceback.format_exc())
"""
    [line] = _objects(program)
    assert line["message"].splitlines()[0] == "Startup failed"
    assert line["message"].splitlines()[-1] == "RuntimeError"
    assert ", in fail" in line["message"]


def test_passwords_in_addresses_and_tokens_are_cut_out() -> None:
    secret = "s3cret-password"
    said = f"postgresql+psycopg2://site:{secret}@127.0.0.1/db and Bearer abc.def.ghi"
    [line] = _objects(f"{BEGIN}\nlog.warning({said!r})")
    assert line["message"] == "postgresql+psycopg2://…@127.0.0.1/db and Bearer …"


def test_a_library_that_brought_its_own_handler_writes_the_same_lines() -> None:
    program = f"""
import logging
other = logging.getLogger("flwr")
other.addHandler(logging.StreamHandler())
other.propagate = False
{BEGIN}
other.warning("from the library")
logging.getLogger("httpx").info("of every call")
"""
    assert [line["message"] for line in _objects(program)] == ["from the library"]


def test_a_task_that_nobody_awaited_does_not_bring_its_exceptions_text_into_the_log() -> None:
    program = f"""{BEGIN}
import asyncio, gc
async def fail():
    raise RuntimeError("Love" + "lace")
async def main():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
asyncio.run(main())
"""
    [line] = _objects(program)
    assert line["message"] == "Task exception was never retrieved"
    assert line["exception"]["class"] == "RuntimeError"


def test_text_is_for_people_and_says_the_same() -> None:
    lines = _lines(
        f"{BEGIN}{RAISE}\ntry:\n    fail()\nexcept RuntimeError:\n    log.exception('it failed')",
        LOG_FORMAT="text",
    )
    assert "error fl.something it failed process=supervisor request_id=r-1" in lines[0]
    assert lines[1] == "RuntimeError"
    assert "caused by KeyError" in lines


def test_another_format_is_refused_with_a_sentence() -> None:
    assert _lines(BEGIN, LOG_FORMAT="xml") == ["LOG_FORMAT must be json or text, not 'xml'."]


def test_a_fault_has_a_reference_and_its_stack_and_no_text_even_where_nothing_was_set_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        raise RuntimeError(f"Failing row contains ({NAME})")
    except RuntimeError as error:
        reference = log_fault(logging.getLogger("somewhere"), error, at="a page")
    [record] = caplog.records
    assert reference in record.getMessage()
    assert NAME not in caplog.text
    fault: Mapping[str, Any] = vars(record)["exception"]
    assert "test_logs.py" in in_words(fault)


def test_the_causes_that_python_hides_stay_hidden() -> None:
    try:
        try:
            raise KeyError
        except KeyError:
            raise ValueError from None
    except ValueError as error:
        assert "cause" not in described(error)


class _Route:
    path = "/patients/{patient_id}"


@pytest.mark.parametrize(
    ("path", "matched", "route"),
    [
        ("/api/patients/5", _Route(), "/api/patients/{patient_id}"),
        (f"/api/{NAME}", None, UNMATCHED),
        ("/auth/session", None, "/auth/session"),
        (f"/{NAME}", None, PAGE),
        ("/", None, PAGE),
    ],
)
def test_a_request_is_known_by_its_route_and_never_by_its_path(path: str, matched: Any, route: str) -> None:
    assert route_of({"route": matched}, path) == route
