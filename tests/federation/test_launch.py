"""`python -m app.launch` on real processes: starting, refusing, stopping, and recovering from kill -9."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from app.auth.one_time_link import choose_password
from app.settings import DEMO_PASSWORD, PROJECT_ROOT
from db.embedded import EmbeddedPostgres
from db.ports import free_port, port_is_free
from tests.launching import Launch

READY = "Ctrl-C stops everything"
CSV = "age,sex,bmi,children,smoker,region,charges\n19,female,27.9,0,yes,southwest,16884.924\n"


Start = Callable[..., Launch]


@pytest.fixture
def data_dir(open_folder: Path) -> Iterator[Path]:
    yield open_folder / "data"
    EmbeddedPostgres(open_folder / "data").erase()


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """Starts launchers on one data folder and ends all of them."""
    launches: list[Launch] = []

    def start(**environment: str) -> Launch:
        port = int(environment.pop("PORT", launches[0].port if launches else free_port()))
        # Without a federation there is no TensorFlow, and the tests are quick.
        launches.append(Launch(data_dir, port, FEDERATION="false", **environment))
        return launches[-1]

    yield start
    for launch in launches:
        if launch.process.poll() is None:
            launch.process.terminate()
            launch.process.wait(timeout=20)
        assert launch.process.stdout is not None
        launch.process.stdout.close()


def _eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def _gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _family(launch: Launch) -> list[psutil.Process]:
    """Everything that runs for `launch`: its own tree and PostgreSQL, which is nobody's child."""
    server = EmbeddedPostgres(launch.data_dir)
    assert server.pid is not None
    roots = [psutil.Process(launch.process.pid), psutil.Process(server.pid)]
    return [member for root in roots for member in (root, *root.children(recursive=True))]


def _scalar(data_dir: Path, database: str, query: str) -> object:
    engine = create_engine(EmbeddedPostgres(data_dir).url(database))
    try:
        with engine.connect() as connection:
            return connection.scalar(text(query))
    finally:
        engine.dispose()


def test_first_start_second_start_and_every_way_to_stop(start: Start, data_dir: Path) -> None:
    patients: object = None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        launch = start()
        launch.wait_for(READY)
        said = "".join(launch.said)
        for expected in (
            f"http://127.0.0.1:{launch.port}",
            "admin@demo.local",
            "nurse@southwest.demo.local",
            "fedcost-demo",
            "334 generated patients",
        ):
            assert expected in said
        assert launch.answers()
        found = _scalar(
            data_dir,
            "site_northeast",
            "SELECT string_agg(id::text || last_name, ',' ORDER BY id) FROM patients",
        )
        assert patients in (None, found), "the second start has the same patients"
        patients = found
        family = _family(launch)
        begun = time.monotonic()
        launch.process.send_signal(number)
        code, said = launch.ended()
        assert time.monotonic() - begun < 10
        assert (code, "Stopped" in said) == (0, True), said
        assert [process for process in family if not _gone(process)] == []
        assert port_is_free(launch.port)


def test_what_dies_is_started_again(start: Start, data_dir: Path) -> None:
    launch = start()
    launch.wait_for(READY)
    launch.web.kill()
    launch.wait_for("The web application has ended; starting it again.")
    _eventually(launch.answers)

    server = EmbeddedPostgres(data_dir)
    assert server.pid is not None
    psutil.Process(server.pid).kill()
    launch.wait_for("PostgreSQL has ended; starting it again.")
    _eventually(launch.answers)
    assert _scalar(data_dir, "site_northeast", "SELECT count(*) FROM patients") == 334


def test_after_kill_9_of_the_launcher_the_application_dies_and_the_next_start_recovers(
    start: Start, data_dir: Path
) -> None:
    launch = start()
    launch.wait_for(READY)
    web = launch.web
    launch.process.kill()
    _eventually(lambda: _gone(web), 10)
    again = start()
    again.wait_for(READY)
    assert again.answers()
    assert _scalar(data_dir, "site_northeast", "SELECT count(*) FROM patients") == 334


def test_after_kill_9_of_everything_the_next_start_recovers(start: Start, data_dir: Path) -> None:
    launch = start()
    launch.wait_for(READY)
    for process in _family(launch):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    launch.process.wait(timeout=10)
    again = start()
    again.wait_for(READY)
    assert _scalar(data_dir, "site_northeast", "SELECT count(*) FROM patients") == 334


def test_an_institution_that_was_added_is_there_after_every_kind_of_start(
    start: Start, data_dir: Path
) -> None:
    def call(method: str, path: str, token: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{launch.port}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def sign_in(email: str, password: str) -> str:
        body = {"email": email, "password": password}
        return str(call("POST", "/auth/login", "", body)["access_token"])

    def patients_of_the_new_doctor() -> list[object]:
        token = sign_in("dov@lakeside.example.org", password)
        return list(call("GET", "/patients", token)["items"])

    launch = start()
    launch.wait_for(READY)
    added = call(
        "POST",
        "/institutions",
        sign_in("admin@demo.local", DEMO_PASSWORD),
        {
            "code": "lakeside",
            "name": "Lakeside Hospital",
            "manager": {"name": "Mara Lake", "email": "mara@lakeside.example.org"},
            "doctor": {"name": "Dr. Dov Lake", "email": "dov@lakeside.example.org"},
        },
    )
    password = "harbour lantern twelve"
    with Session(create_engine(EmbeddedPostgres(data_dir).url("central"))) as central:
        _, _, token = added["accounts"][1]["link"]["link"].partition("#")
        choose_password(central, token=token, password=password)
        central.commit()
    assert added["database_made"] and patients_of_the_new_doctor() == []
    launch.web.kill()
    launch.wait_for("The web application has ended; starting it again.")
    _eventually(launch.answers)
    assert patients_of_the_new_doctor() == []
    launch.process.terminate()
    launch.ended()
    launch = start()
    launch.wait_for(READY)
    assert patients_of_the_new_doctor() == []
    assert _scalar(data_dir, "site_lakeside", "SELECT count(*) FROM patients") == 0


def test_a_second_start_says_where_the_first_one_runs(start: Start) -> None:
    first = start()
    first.wait_for(READY)
    code, said = start(PORT=str(free_port())).ended()
    assert code == 2
    assert (
        f"already runs from this folder: http://127.0.0.1:{first.port} (process {first.process.pid})" in said
    )
    assert first.answers()


def test_a_busy_port_is_said_in_one_sentence_and_nothing_stays_behind(start: Start, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, said = start(PORT=str(port)).ended(60)
    assert code == 2
    assert f"Port {port} is in use by another program. Choose another: make run PORT={port + 1}" in said
    assert EmbeddedPostgres(data_dir).pid is None


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"HOST": "0.0.0.0"}, "HOST=0.0.0.0 is refused"),  # noqa: S104 - that it is refused is the point
        ({"HOST": "hospital.example"}, "HOST=hospital.example is refused"),
        ({"PORT": "0"}, "PORT must be a number from 1 to 65535, not 0."),
        ({"CENTRAL_DATABASE_URL": "postgresql://db.example/x"}, "CENTRAL_DATABASE_URL is set"),
        ({"FLOWER_RUNTIME": "fast"}, "FLOWER_RUNTIME must be warm or stock, not fast."),
        ({"DATA": "missing.csv"}, "The file cannot be read: No such file or directory."),
    ],
)
def test_what_a_demonstration_may_not_do_is_refused_before_anything_starts(
    start: Start, data_dir: Path, environment: dict[str, str], sentence: str
) -> None:
    code, said = start(**environment).ended()
    assert code == 2
    assert sentence in said
    assert "Traceback" not in said
    assert not data_dir.exists()


def test_a_file_takes_the_place_of_the_generated_patients(
    start: Start, data_dir: Path, tmp_path: Path
) -> None:
    csv = tmp_path / "own.csv"
    csv.write_text(CSV + "200,male,27,0,no,northeast,1\n20,male,27,0,no,nowhere,1\n")
    code, said = start(DATA=str(csv)).ended()
    assert code == 2
    assert "row 3: Age" in said
    assert "row 4: Region" in said
    assert not data_dir.exists()

    csv.write_text(CSV)
    launch = start(DATA=str(csv))
    launch.wait_for(READY)
    assert "1 patient of own.csv" in "".join(launch.said)
    assert _scalar(data_dir, "site_southwest", "SELECT insurance_cost FROM patients") is not None
    launch.process.terminate()
    launch.ended()

    csv.write_text(CSV.replace("19,", "20,"))
    code, said = start(DATA=str(csv)).ended()
    assert code == 2
    assert "already holds 1 patient of own.csv" in said
    assert "make clean" in said
    assert EmbeddedPostgres(data_dir).pid is None


def test_erasing_leaves_nothing_and_spares_a_folder_that_is_not_ours(start: Start, data_dir: Path) -> None:
    launch = start()
    launch.wait_for(READY)
    erase = [sys.executable, "-m", "app.launch", "--erase"]

    def erased(folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DATA_DIR": str(folder)}
        return subprocess.run(
            erase, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
        )

    assert "already runs" in erased(data_dir).stderr
    launch.process.terminate()
    launch.ended()
    assert erased(data_dir).returncode == 0
    assert not data_dir.exists()
    foreign = data_dir.parent / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    assert "left alone" in erased(foreign).stderr
    assert (foreign / "thesis.txt").exists()
