"""A PostgreSQL server of our own for one data folder: made, started, adopted, recovered and stopped here."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import URL

from db.embedded_files import Layout, installed_version, layout_for, postgres_programs
from db.ports import free_port, port_is_free

START_TIMEOUT = 60  # seconds; recovery after a crash replays the log before it answers
STOP_TIMEOUT = 30  # seconds
ORPHAN_PATIENCE = 5.0  # seconds that backends of a killed server get to notice by themselves
LOG_LIMIT = 5_000_000  # bytes

# Statements and row values would carry patients' names into the log, so errors are logged without them.
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = '256MB'
random_page_cost = 1.1
log_min_error_statement = 'panic'
log_error_verbosity = 'terse'
log_min_messages = 'warning'
"""

# The superuser may go anywhere, and copy the server to a replica. Every other role enters only the database whose
# name is its own, or that of a role it is a member of: so `db.provision` says who belongs to which database.
HOST_BASED_AUTHENTICATION = """\
host all         postgres 127.0.0.1/32 scram-sha-256
host replication postgres 127.0.0.1/32 scram-sha-256
host samerole    all      127.0.0.1/32 scram-sha-256
"""

logger = logging.getLogger(__name__)


class PostgresFailed(RuntimeError):
    """PostgreSQL could not be made, started or stopped; the message ends with the last lines of its log."""


class EmbeddedPostgres:
    """The PostgreSQL server of one data folder, on a loopback port that the folder remembers.

    Parameters
    ----------
    data_dir
        Folder of this installation, made if missing. The cluster lies in `postgres` inside it. Root may not
        run PostgreSQL: then it belongs to an unprivileged user, and lies under /var/lib/fedcost if that
        user may not enter `data_dir`.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self._layout: Layout = layout_for(self.data_dir)

    def start(self) -> None:
        """Make the cluster if it is new; adopt its server if one runs, else start it and wait for it.

        Raises
        ------
        PostgresFailed
            If the server does not come up.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._layout.make()
        with self._exclusively():
            if self._running_already():
                if self._admit_roles():
                    self._reload(postgres_programs(self._layout))
                return
            programs = postgres_programs(self._layout)
            if not self._layout.cluster.exists():
                self._make_cluster(programs)
            self._admit_roles()
            self._refuse_other_version()
            self._clear_after_crash()
            self._start_on_free_port(programs)

    def stop(self) -> None:
        """Stop the server of this folder, whoever started it; nothing happens if none runs.

        Raises
        ------
        PostgresFailed
            If it still runs after the time limit.
        """
        if not self._layout.cluster.exists():
            return
        with self._exclusively():
            if not self._running_already():
                return
            programs = postgres_programs(self._layout)
            arguments = [str(programs / "pg_ctl"), "-D", str(self._layout.cluster), "-t", str(STOP_TIMEOUT)]
            for mode in ("fast", "immediate"):
                if self._run([*arguments, "-m", mode, "-w", "stop"]) == 0:
                    return
            raise PostgresFailed(f"PostgreSQL did not stop.\n{self._log_tail()}")

    @property
    def port(self) -> int:
        """The loopback port that the server listens on, or will at the next start if it is still free."""
        running = self._postmaster_file()
        return running[1] if running is not None else int(self._layout.port.read_text())

    @property
    def pid(self) -> int | None:
        """The process id of the running postmaster of this folder, else None.

        The pid file alone proves nothing: after a crash another process may have that id.
        """
        running = self._postmaster_file()
        if running is None:
            return None
        pid, _, ready = running
        return pid if ready and self._belongs_here(pid) else None

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """Return the SQLAlchemy URL of `database` for `user`; the superuser's password is known here."""
        if password is None and user == "postgres":
            password = self._layout.superuser_password.read_text()
        url = URL.create("postgresql+psycopg2", user, password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def erase(self) -> None:
        """Stop the server and delete its cluster with everything in it."""
        self.stop()
        self._layout.remove()

    # --- making and starting -------------------------------------------------------------------------------

    def _running_already(self) -> bool:
        """Tell whether a server runs; one that is just starting or stopping is waited for."""
        deadline = time.monotonic() + START_TIMEOUT
        while (found := self._postmaster_file()) is not None and self._belongs_here(found[0]):
            if found[2]:
                return True
            if time.monotonic() > deadline:
                raise PostgresFailed(f"A PostgreSQL server is stuck while starting.\n{self._log_tail()}")
            time.sleep(0.05)
        return False

    def _make_cluster(self, programs: Path) -> None:
        """Run initdb beside the final place and rename, so that a cluster is there whole or not at all."""
        for leftover in self._layout.home.glob("cluster.new-*"):
            shutil.rmtree(leftover)
        password = secrets.token_urlsafe(24)
        fresh = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self._layout.home))
        password_file = fresh.with_suffix(".password")
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        self._layout.give_away(fresh, password_file)
        try:
            status = self._run(
                [
                    *(str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "-A", "scram-sha-256"),
                    *("--pwfile", str(password_file), "-E", "UTF8", "--no-instructions"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                ]
            )
        finally:
            password_file.unlink()
        if status != 0:
            shutil.rmtree(fresh)
            raise PostgresFailed(f"The database could not be created.\n{self._log_tail()}")
        with (fresh / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)
        self._layout.superuser_password.touch(mode=0o600)
        self._layout.superuser_password.write_text(password)
        fresh.rename(self._layout.cluster)

    def _admit_roles(self) -> bool:
        """Write pg_hba.conf if an earlier version of this software wrote another; answer whether it did."""
        rules = self._layout.cluster / "pg_hba.conf"
        if rules.read_text() == HOST_BASED_AUTHENTICATION:
            return False
        rules.write_text(HOST_BASED_AUTHENTICATION)
        return True

    def _reload(self, programs: Path) -> None:
        if self._run([str(programs / "pg_ctl"), "-D", str(self._layout.cluster), "reload"]) != 0:
            raise PostgresFailed(f"PostgreSQL did not read its rules of access again.\n{self._log_tail()}")

    def _refuse_other_version(self) -> None:
        made_by = (self._layout.cluster / "PG_VERSION").read_text().strip()
        major = installed_version().split(".")[0]
        if made_by != major:
            raise PostgresFailed(
                f"The data in {self._layout.cluster} were made by PostgreSQL {made_by}; {major} is installed."
            )

    def _start_on_free_port(self, programs: Path) -> None:
        remembered = int(self._layout.port.read_text()) if self._layout.port.exists() else free_port()
        candidates = [remembered] if port_is_free(remembered) else []
        self._layout.limit_log(LOG_LIMIT)
        for port in [*candidates, *(free_port() for _ in range(3))]:
            self._layout.port.write_text(str(port))
            status = self._run(
                [
                    *(str(programs / "pg_ctl"), "-D", str(self._layout.cluster), "-l", str(self._layout.log)),
                    *("-t", str(START_TIMEOUT), "-o", f"-p {port}", "-w", "start"),
                ]
            )
            if status == 0:
                return
            # Only a port that somebody took in between is worth another try.
            if port_is_free(port):
                break
        raise PostgresFailed(f"PostgreSQL did not start.\n{self._log_tail()}")

    # --- after a crash -------------------------------------------------------------------------------------

    def _clear_after_crash(self) -> None:
        """Wait for backends that outlived a killed postmaster, then remove its pid file.

        Two servers on one cluster would destroy it; PostgreSQL itself only looks at the pid, which may
        by now belong to an unrelated process.
        """
        for orphan in self._wait_for_orphans(ORPHAN_PATIENCE):
            orphan.send_signal(signal.SIGQUIT)
        for orphan in self._wait_for_orphans(ORPHAN_PATIENCE):
            orphan.kill()
        if self._wait_for_orphans(ORPHAN_PATIENCE):
            raise PostgresFailed(
                "Processes of a killed PostgreSQL server are still at work; try again later."
            )
        (self._layout.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _wait_for_orphans(self, seconds: float) -> list[psutil.Process]:
        deadline = time.monotonic() + seconds
        while True:
            orphans = [process for process in psutil.process_iter() if self._belongs_here(process.pid)]
            if not orphans or time.monotonic() > deadline:
                return orphans
            time.sleep(0.05)

    def _belongs_here(self, pid: int) -> bool:
        """Tell whether `pid` is a process of this cluster: each of them works inside its folder."""
        try:
            process = psutil.Process(pid)
            return (
                process.name().startswith("postgres")
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == self._layout.cluster
            )
        except psutil.Error:
            return False

    def _postmaster_file(self) -> tuple[int, int, bool] | None:
        """Return pid, port and readiness as the postmaster wrote them, or None."""
        try:
            lines = (self._layout.cluster / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), int(lines[3]), len(lines) > 7 and lines[7].strip() == "ready"
        except (FileNotFoundError, IndexError, ValueError):
            return None

    # --- running programs ----------------------------------------------------------------------------------

    def _run(self, command: list[str]) -> int:
        """Run a PostgreSQL program as its user; output goes to the log, because the server inherits it."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        with self._layout.log.open("a") as log:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._layout.home,
                env=environment,
                check=False,
                start_new_session=True,  # Ctrl-C is for the launcher alone, which then stops the server
                **self._layout.run_as,
            ).returncode

    def _log_tail(self) -> str:
        return "\n".join(self._layout.log.read_text(errors="replace").splitlines()[-12:])

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Let one process at a time start or stop this server; a killed one loses the lock."""
        with self._layout.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
