"""The real web process, and requests that arrive at it at fixed times whether or not it keeps up."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.hospital import EMAIL, Hospital
from db.ports import free_port
from db.provision import DatabaseUrls

PROJECT_ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 16
HOST = "127.0.0.1"


def serving(application: str, hospital: Hospital, data_dir: Path) -> contextlib.AbstractContextManager[int]:
    """Serve an application on the hospital's databases in a process of its own; gives the port."""
    return served(application, hospital.urls, data_dir)


@contextmanager
def served(application: str, urls: DatabaseUrls, data_dir: Path, **variables: str) -> Iterator[int]:
    """Serve an application on databases in a process of its own; yields the port."""
    port = free_port()
    environment = {
        **os.environ,
        "HOST": HOST,
        "PORT": str(port),
        "DEMO_MODE": "false",
        "FEDERATION": "false",
        "DATA_DIR": str(data_dir),
        "CENTRAL_DATABASE_URL": urls.app_central,
        "SITE_DATABASE_URLS": json.dumps(urls.app_sites),
        "JWT_SECRET": secrets.token_urlsafe(32),
        **variables,
    }
    command = [sys.executable, "-m", "uvicorn", application, "--host", HOST, "--port", str(port)]
    log_path = data_dir / f"{application.partition(':')[0]}-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--log-level", "warning"],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # as of any service: Linux shares processors out by session
        )
    try:
        _wait_until_up(process, port, log_path)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"The web process ended with {process.returncode}:\n{log_path.read_text()}")
        try:
            if _asked(http.client.HTTPConnection(HOST, port, timeout=10), "GET", "/api/health", b"", {}):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("The web process did not answer within two minutes.")


def access_token(port: int, password: str) -> str:
    """Sign in as the hospital's doctor."""
    body = json.dumps({"email": EMAIL, "password": password}).encode()
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    answer = _asked(connection, "POST", "/api/auth/login", body, {"Content-Type": "application/json"})
    return str(json.loads(answer)["access_token"])


def milliseconds_of(
    port: int, token: str, bodies: Sequence[bytes], *, each_second: float, path: str = "/api/predictions"
) -> list[float]:
    """Post every body at its time and return how long each took, from that time to the end of its answer.

    Request number i is due i / `each_second` seconds after the first, also if those before are still waited for: a
    queue in front of the server is part of what people wait for. At most `CONNECTIONS` are under way at once.
    """
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    took = [0.0] * len(bodies)
    numbers, failures = itertools.count(), list[BaseException]()
    start = time.perf_counter() + 0.2

    def ask() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=300)
        try:
            for number in iter(lambda: next(numbers), None):
                if number >= len(bodies) or failures:
                    return
                due = start + number / each_second
                time.sleep(max(0.0, due - time.perf_counter()))
                _asked(connection, "POST", path, bodies[number], headers)
                took[number] = (time.perf_counter() - due) * 1000
        except BaseException as error:  # a thread's failure must end the benchmark, whatever it is
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return took


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
) -> bytes:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        sys.exit(f"{method} {path} answered {answer.status}: {content[:300]!r}")
    return content
