"""The locust users of `make bench-load`: predictions due at fixed times, whether or not the server keeps up."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

_PLAN = json.loads(Path(os.environ["LOAD_PLAN"]).read_text())
_ADDRESSES: list[str] = _PLAN["addresses"]
_TOKENS: list[str] = _PLAN["tokens"]
_BODIES: list[list[str]] = _PLAN["bodies"]  # of each token's hospital
_COUNT: int = _PLAN["count"]
_EACH_SECOND: float = _PLAN["each_second"]

_numbers, _users = itertools.count(), itertools.count()
_took: list[float] = []  # milliseconds from when it was due
_answered_at: list[float] = []
_ids: list[str] = []
_errors: Counter[str] = Counter()
_start = time.time() + _PLAN["begins_in"]


class Clinician(FastHttpUser):
    """One connection; takes whichever prediction is due next."""

    wait_time = constant(0)
    network_timeout = connection_timeout = 60.0
    max_retries = 0  # one that is sent is answered, or is an error

    def __init__(self, environment: Any) -> None:
        self.host = _ADDRESSES[next(_users) % len(_ADDRESSES)]
        super().__init__(environment)

    @task
    def predict(self) -> None:
        """Send one prediction at its time and keep how long its answer took from then."""
        number = next(_numbers)
        if number >= _COUNT:
            gevent.sleep(0.2)
            if len(_ids) + sum(_errors.values()) >= _COUNT:
                self.environment.runner.quit()
            return
        due = _start + number / _EACH_SECOND
        gevent.sleep(max(0.0, due - time.time()))
        who = number % len(_TOKENS)
        bodies = _BODIES[who]
        with self.client.post(
            "/api/predictions",
            data=bodies[number % len(bodies)],
            headers={"Authorization": f"Bearer {_TOKENS[who]}", "Content-Type": "application/json"},
            name="POST /api/predictions",
            catch_response=True,
        ) as answer:
            if answer.status_code == 200:
                _ids.append(answer.json()["id"])
                _took.append((time.time() - due) * 1000)
                _answered_at.append(time.time())
                answer.success()
            else:
                said = f"{answer.status_code} {answer.error or (answer.text or '')[:200]}"
                _errors[said] += 1
                answer.failure(said)


@events.quitting.add_listener
def _keep(**_: Any) -> None:
    seen = {"ids": _ids, "took": _took, "answered_at": _answered_at, "errors": dict(_errors), "began": _start}
    Path(_PLAN["result"]).write_text(json.dumps(seen))
