"""`python -m fl.runtime.supervisor`: the one process that runs the federation, leader by PostgreSQL advisory lock."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import Connection, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from db.engines import engine_for, sessions_for
from db.federation import FederationStatus
from db.logs import configure_logs
from fl.runtime.certificates import CertificatesRefused, expires_at, told_expiry
from fl.runtime.children import ChildRegister
from fl.runtime.environment import PROJECT_ROOT, SupervisorEnvironment
from fl.runtime.federation import Federation, SuperLinkDied
from fl.runtime.flower_private import build_bundle
from fl.runtime.runs import RESTARTED, SUPERLINK_DIED, RunQueue
from fl.runtime.site_keys import SiteKeys
from fl.runtime.site_list import SiteList
from fl.site_presence import installed_bundle_sha256
from fl.triggers import evaluate_triggers

log = logging.getLogger(__name__)
ADVISORY_LOCK = 0x0FEDC057
LOOP_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
TRIGGER_SECONDS = 2.0
RETRY_SECONDS = 1.0


class LeadershipLost(Exception):
    """The connection that holds the advisory lock is gone; another supervisor may lead now."""


class Supervisor:
    """Leads when it can: keeps the federation up and the queue of Runs moving."""

    def __init__(self, environment: SupervisorEnvironment) -> None:
        self._environment = environment
        self._engine = engine_for(environment.central_database_url)
        self._sessions = sessions_for(environment.central_database_url)
        self._certificate_expires_at = self._read_expiry()
        self._alone = os.environ.get("SUPERVISOR_ALONE") == "1"  # no web process has started this one
        self._stop = False

    def _read_expiry(self) -> datetime | None:
        tls = self._environment.tls
        if tls is None:
            return None
        try:
            log.info(told_expiry(tls.certificate, datetime.now(UTC)))
            return expires_at(tls.certificate)
        except CertificatesRefused as refusal:
            sys.exit(str(refusal))

    def request_stop(self, signum: int, frame: object) -> None:
        """Leave at the next turn of the loop (a signal handler)."""
        self._stop = True

    def run(self) -> None:
        """Wait for leadership, lead, and start over when it is lost; until asked to stop."""
        while not self._stop_wanted():
            try:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    while not self._stop_wanted():
                        if connection.scalar(
                            text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}
                        ):
                            self._lead(connection)
                        self._pause(RETRY_SECONDS)
            except LeadershipLost:
                log.warning("leadership lost; the federation was stopped")
            except SQLAlchemyError as error:
                log.warning("the central database does not answer (%s)", type(error).__name__)
            self._pause(RETRY_SECONDS)

    def _lead(self, lock_connection: Connection) -> None:
        log.info("leading")
        environment = self._environment
        queue = RunQueue(self._sessions, build_bundle(PROJECT_ROOT))
        queue.end_abandoned()
        register = ChildRegister(environment.data_dir / "run" / "federation-children.json")
        federation = Federation(environment, register, SiteKeys(self._sessions, environment.data_dir))
        federation.stop()  # what a killed predecessor left
        site_list = SiteList(environment, self._sessions)
        try:
            federation.follow(site_list.read())
            federation.start()
            next_heartbeat = next_triggers = 0.0
            while not self._stop_wanted():
                try:
                    federation.poll()
                    queue.poll(federation)
                except SuperLinkDied:
                    log.error("SuperLink ended; starting the federation again")
                    federation.stop()
                    queue.end_abandoned(SUPERLINK_DIED)
                    federation.start()
                except httpx.HTTPError as error:
                    log.warning("SuperLink did not answer (%s)", type(error).__name__)
                if time.monotonic() >= next_triggers:
                    self._evaluate_triggers()
                    next_triggers = time.monotonic() + TRIGGER_SECONDS
                if time.monotonic() >= next_heartbeat:
                    self._keep_lock(lock_connection)
                    federation.follow(site_list.read())
                    self._say(federation, "up" if federation.up else "starting")
                    next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
                self._pause(LOOP_SECONDS)
        except SQLAlchemyError as error:
            raise LeadershipLost from error
        finally:
            federation.stop()
        queue.end_abandoned(RESTARTED)
        self._say(federation, "stopped")

    def _evaluate_triggers(self) -> None:
        with self._sessions() as session, session.begin():
            for event in evaluate_triggers(session, datetime.now(UTC)):
                extra = {} if event.run_id is None else {"run_id": event.run_id}
                log.info("trigger %s %s: %s", event.trigger_id, event.outcome, event.reason, extra=extra)

    def _keep_lock(self, connection: Connection) -> None:
        try:
            connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise LeadershipLost from error

    def _say(self, federation: Federation, state: str) -> None:
        sites = {code: {"state": site.state} for code, site in federation.sites.items()}
        try:
            sites |= {code: {"state": "connected"} for code in federation.remote_sites()}
        except httpx.HTTPError as error:
            log.warning("SuperLink did not say who is connected (%s)", type(error).__name__)
        values: dict[str, Any] = {
            "id": 1,
            "state": state,
            "runtime": self._environment.runtime,
            "leader": f"{socket.gethostname()}:{os.getpid()}",
            "bundle_sha256": installed_bundle_sha256(),
            "sites": sites,
            "heartbeat_at": func.clock_timestamp(),
            "certificate_expires_at": self._certificate_expires_at,
        }
        statement = insert(FederationStatus).values(**values)
        changed = {name: statement.excluded[name] for name in values if name != "id"}
        with self._sessions() as session, session.begin():
            session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))

    def _stop_wanted(self) -> bool:
        """Tell whether a signal came or the parent's end of our standard input was closed, also by kill -9."""
        if self._alone:
            return self._stop
        if not self._stop and select.select([sys.stdin], [], [], 0)[0] and not os.read(0, 64):
            log.info("the web process is gone")
            self._stop = True
        return self._stop

    def _pause(self, seconds: float) -> None:
        if self._alone:
            time.sleep(seconds)
        elif not self._stop:
            select.select([sys.stdin], [], [], seconds)


def main() -> None:
    """Run until the web process that started this one is gone, or a signal comes."""
    configure_logs("supervisor")
    supervisor = Supervisor(SupervisorEnvironment.read())
    signal.signal(signal.SIGTERM, supervisor.request_stop)
    signal.signal(signal.SIGINT, supervisor.request_stop)
    supervisor.run()


if __name__ == "__main__":
    main()
