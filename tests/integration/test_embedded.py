"""The embedded server on its real processes: adopting, crashing, recovering, and giving up root."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import psycopg2
import pytest
from sqlalchemy import make_url

from db.embedded import EmbeddedPostgres
from db.embedded_files import SYSTEM_FOLDER
from db.ports import port_is_free

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def server(own_server: EmbeddedPostgres) -> EmbeddedPostgres:
    return own_server


def _run(server: EmbeddedPostgres, *statements: str) -> list[tuple[object, ...]]:
    url = make_url(server.url()).set(drivername="postgresql")
    with contextlib.closing(psycopg2.connect(url.render_as_string(hide_password=False))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _postmaster(server: EmbeddedPostgres) -> psutil.Process:
    assert server.pid is not None
    return psutil.Process(server.pid)


def _kill(server: EmbeddedPostgres) -> None:
    _postmaster(server).kill()
    while server.pid is not None:
        time.sleep(0.01)


def test_stopping_and_starting_keeps_rows_and_port(server: EmbeddedPostgres) -> None:
    _run(server, "CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 1000)")
    port = server.port
    server.stop()
    assert server.pid is None
    assert port_is_free(port)
    server.start()
    assert server.port == port
    assert _run(server, "SELECT count(*) FROM kept") == [(1000,)]


def test_starting_twice_adopts_the_running_server(server: EmbeddedPostgres) -> None:
    other = EmbeddedPostgres(server.data_dir)
    other.start()
    assert other.pid == server.pid
    assert other.url() == server.url()
    other.stop()
    assert server.pid is None


def test_committed_rows_survive_kill_9_of_the_postmaster(server: EmbeddedPostgres) -> None:
    _run(server, "CREATE TABLE kept (n int)")
    for start in range(0, 5000, 500):
        _run(server, f"INSERT INTO kept SELECT generate_series({start + 1}, {start + 500})")
    postmaster = _postmaster(server)
    backends = postmaster.children(recursive=True)
    _kill(server)
    server.start()
    assert _postmaster(server) != postmaster
    assert not [process for process in backends if process.is_running() and process.status() != "zombie"]
    assert _run(server, "SELECT count(*), sum(n) FROM kept") == [(5000, 5000 * 5001 // 2)]


def test_a_backend_at_work_when_the_postmaster_is_killed_does_not_block_the_next_start(
    server: EmbeddedPostgres,
) -> None:
    url = make_url(server.url()).set(drivername="postgresql").render_as_string(hide_password=False)
    busy = "import psycopg2, sys; psycopg2.connect(sys.argv[1]).cursor().execute('SELECT pg_sleep(60)')"
    client = subprocess.Popen([sys.executable, "-c", busy, url], stderr=subprocess.DEVNULL)
    while not _run(server, "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"):
        time.sleep(0.05)
    _kill(server)
    server.start()
    assert _run(server, "SELECT 1") == [(1,)]
    assert client.wait(timeout=20) != 0


def test_a_stale_pid_file_that_names_another_process_is_no_server(server: EmbeddedPostgres) -> None:
    server.stop()
    cluster = server.data_dir / "postgres" / "cluster"
    (cluster / "postmaster.pid").write_text(
        f"{os.getpid()}\n{cluster}\n1\n{server.port}\n\n127.0.0.1\n\nready   \n"
    )
    assert server.pid is None
    server.start()
    assert server.pid != os.getpid()
    assert _run(server, "SELECT 1") == [(1,)]


def test_a_taken_port_is_left_to_its_owner(server: EmbeddedPostgres) -> None:
    port = server.port
    server.stop()
    listener = (
        "import socket, sys, time; server = socket.create_server(('127.0.0.1', int(sys.argv[1]))); "
        "print('listening', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", listener, str(port)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        server.start()
        assert server.port != port
        assert _run(server, "SELECT 1") == [(1,)]
    finally:
        other.kill()
        other.wait()
        assert other.stdout is not None
        other.stdout.close()


def test_the_server_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    assert _run(server, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert _run(server, "SHOW unix_socket_directories") == [("",)]


def test_errors_are_logged_without_the_statement_and_the_row(server: EmbeddedPostgres) -> None:
    _run(server, "CREATE TABLE people (name text PRIMARY KEY)", "INSERT INTO people VALUES ('Secretname')")
    with pytest.raises(psycopg2.IntegrityError):
        _run(server, "INSERT INTO people VALUES ('Secretname')")
    log = (server.data_dir / "postgres" / "log" / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "Secretname" not in log


def test_the_superusers_password_is_for_the_owner_only(server: EmbeddedPostgres) -> None:
    password = server.data_dir / "postgres" / "superuser-password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    wrong = make_url(server.url()).set(drivername="postgresql", password="guess")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong.render_as_string(hide_password=False))


def test_ctrl_c_during_the_first_start_leaves_nothing_half_made(open_folder: Path) -> None:
    # A shell that runs the tests in the background lets its children ignore Ctrl-C.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pathlib import Path; from db.embedded import EmbeddedPostgres; "
        "EmbeddedPostgres(Path(sys.argv[1])).start()"
    )
    data_dir = open_folder / "data"
    starting = subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir)], cwd=PROJECT_ROOT, stderr=subprocess.DEVNULL
    )
    while not list(data_dir.glob("postgres/cluster.new-*")):
        time.sleep(0.01)
    starting.send_signal(signal.SIGINT)
    assert starting.wait(timeout=20) != 0
    server = EmbeddedPostgres(data_dir)
    try:
        server.start()
        assert _run(server, "SELECT 1") == [(1,)]
        assert not list(data_dir.glob("postgres/cluster.new-*"))
    finally:
        server.erase()


def _owner_of_the_server(server: EmbeddedPostgres) -> int:
    return _postmaster(server).uids().effective


def test_the_server_never_runs_as_root(server: EmbeddedPostgres) -> None:
    if os.geteuid() == 0:
        assert _owner_of_the_server(server) != 0
    else:
        assert _owner_of_the_server(server) == os.geteuid()


def test_a_data_folder_that_others_may_not_enter(open_folder: Path) -> None:
    """Root's server then lives under /var/lib/fedcost, with programs that its user may read."""
    open_folder.chmod(0o700)
    server = EmbeddedPostgres(open_folder / "data")
    server.start()
    try:
        assert _run(server, "SELECT 1") == [(1,)]
        cluster = Path(_postmaster(server).cwd())
        apart = cluster.is_relative_to(SYSTEM_FOLDER)
        assert apart == (os.geteuid() == 0)
        server.stop()
        open_folder.chmod(0o755)
        again = EmbeddedPostgres(open_folder / "data")
        again.start()
        assert Path(_postmaster(again).cwd()) == cluster, "an existing cluster stays where it is"
    finally:
        server.erase()
    assert not cluster.exists()


def test_programs_that_others_may_not_read_are_copied(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone under a 0700 folder has its environment there too."""
    import db.embedded_files as files

    monkeypatch.setattr(files, "_others_may_enter", lambda path: "pginstall" not in path.parts)
    server = EmbeddedPostgres(open_folder / "data")
    server.start()
    try:
        assert _run(server, "CREATE EXTENSION pg_trgm") == []
        copied = list((open_folder / "data" / "postgres").glob("programs-*"))
        assert bool(copied) == (os.geteuid() == 0)
    finally:
        server.erase()


def test_an_ordinary_user_runs_it_too(open_folder: Path) -> None:
    """As root this gives up root for good first; otherwise the other tests already ran as an ordinary user."""
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        import psycopg2, sqlalchemy.dialects.postgresql.psycopg2
        import db.embedded
        import db.embedded_files

        data, programs = Path(sys.argv[1]), sys.argv[2]
        if os.geteuid() == 0:
            user = db.embedded_files._unprivileged_user(data / "cluster")
            os.chown(data, user.pw_uid, user.pw_gid)
            # That user may be unable to read this environment; root's copy of the programs serves.
            version = db.embedded.installed_version()
            db.embedded.installed_version = lambda: version
            db.embedded.postgres_programs = lambda layout: Path(programs)
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        assert os.geteuid() != 0
        server = db.embedded.EmbeddedPostgres(data)
        server.start()
        url = server.url().replace("+psycopg2", "")
        print(psycopg2.connect(url).server_version, (data / "postgres").stat().st_mode & 0o777)
        server.stop()
        assert server.pid is None
        """
    )
    readable = EmbeddedPostgres(open_folder / "copy")
    data = open_folder / "data"
    data.mkdir()
    try:
        readable.start()
        programs = str(Path(_postmaster(readable).exe()).parent)
        answer = subprocess.run(
            [sys.executable, "-c", script, str(data), programs],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        readable.erase()
    assert answer.returncode == 0, answer.stderr
    version, mode = answer.stdout.split()
    assert int(version) >= 180000
    assert int(mode) == 0o700
