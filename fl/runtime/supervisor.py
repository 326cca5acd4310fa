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
from sqlalchemy import func
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
from fl.runtime.leadership import Leadership, LeadershipLost
from fl.runtime.runs import RESTARTED, SUPERLINK_DIED, RunQueue
from fl.runtime.site_keys import SiteKeys
from fl.runtime.site_list import SiteList
from fl.site_presence import installed_bundle_sha256
from fl.triggers import evaluate_triggers

log = logging.getLogger(__name__)
LOOP_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
TRIGGER_SECONDS = 2.0
RETRY_SECONDS = 1.0


class Supervisor:
    """Leads when it can: keeps the federation up and the queue of Runs moving."""

    def __init__(self, environment: SupervisorEnvironment) -> None:
        self._environment = environment
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._leadership = Leadership(engine_for(environment.central_database_url), self._name)
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
                if self._leadership.take():
                    self._lead()
            except LeadershipLost:
                log.warning("leadership lost; the federation was stopped")
            except SQLAlchemyError as error:
                log.warning("the central database does not answer (%s)", type(error).__name__)
            self._pause(RETRY_SECONDS)
        self._leadership.let_go()

    def _lead(self) -> None:
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
            was_away = False
            while not self._stop_wanted():
                try:
                    if was_away:
                        queue.find_given()
                        was_away = False
                    self._move_on(federation, queue)
                    if time.monotonic() >= next_triggers:
                        self._evaluate_triggers()
                        next_triggers = time.monotonic() + TRIGGER_SECONDS
                    if time.monotonic() >= next_heartbeat:
                        self._leadership.keep()
                        federation.follow(site_list.read())
                        self._say(federation, "up" if federation.up else "starting")
                        next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
                except SQLAlchemyError as error:
                    log.warning(
                        "the central database does not answer (%s); it is waited for", type(error).__name__
                    )
                    # Runs go on: their ServerApp and the Sites wait for it, too.
                    self._leadership.take_again(self._paused_until_stop)
                    log.info("the central database answers again; leading as before")
                    was_away = True
                self._pause(LOOP_SECONDS)
        except SQLAlchemyError as error:
            raise LeadershipLost from error
        finally:
            federation.stop()
        queue.end_abandoned(RESTARTED)
        self._say(federation, "stopped")

    def _move_on(self, federation: Federation, queue: RunQueue) -> None:
        """Look after the federation's processes and the queue."""
        try:
            federation.poll()
            queue.poll(federation)
        except SuperLinkDied:
            log.error("SuperLink ended; starting the federation again")
            federation.stop()
            try:
                queue.end_abandoned(SUPERLINK_DIED)
            except SQLAlchemyError as error:
                raise LeadershipLost from error  # whoever leads next ends them
            federation.start()
        except httpx.HTTPError as error:
            log.warning("SuperLink did not answer (%s)", type(error).__name__)

    def _evaluate_triggers(self) -> None:
        with self._sessions() as session, session.begin():
            for event in evaluate_triggers(session, datetime.now(UTC)):
                extra = {} if event.run_id is None else {"run_id": event.run_id}
                log.info("trigger %s %s: %s", event.trigger_id, event.outcome, event.reason, extra=extra)

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
            "leader": self._name,
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

    def _paused_until_stop(self, seconds: float) -> bool:
        self._pause(seconds)
        return self._stop_wanted()


def main() -> None:
    """Run until the web process that started this one is gone, or a signal comes."""
    configure_logs("supervisor")
    supervisor = Supervisor(SupervisorEnvironment.read())
    signal.signal(signal.SIGTERM, supervisor.request_stop)
    signal.signal(signal.SIGINT, supervisor.request_stop)
    supervisor.run()


if __name__ == "__main__":
    main()
