"""The address at which Prometheus reads this process's figures: a port of its own, which no proxy publishes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.databases import central_session
from app.errors import CentralUnavailable
from app.measures import REGISTRY
from app.services.federation_figures import FederationFigures, federation_figures
from app.settings import Settings
from db.engines import engine_for
from db.pools import KEPT, MORE, CountingPool

CACHE_SECONDS = 5.0
TIME_LIMIT = 2.0  # seconds that a scrape waits for the database; Prometheus itself gives up after ten

logger = logging.getLogger(__name__)


@contextmanager
def metrics_served(settings: Settings) -> Iterator[None]:
    """Serve the figures for as long as the context lasts, if the settings name a port.

    A port that is in use is logged; the product runs without its figures then.
    """
    if settings.metrics_port is None:
        yield
        return
    collector = ConsortiumCollector(settings)
    REGISTRY.register(collector)
    try:
        try:
            server, thread = start_http_server(settings.metrics_port, settings.metrics_host, REGISTRY)
        except OSError as error:
            logger.error("metrics port %d cannot be opened", settings.metrics_port, exc_info=error)
            yield
            return
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
    finally:
        REGISTRY.unregister(collector)


@dataclass(eq=False)
class ConsortiumCollector(Collector):
    """What the central database knows, read when somebody asks; without it the scrape says so and goes on."""

    settings: Settings
    _figures: FederationFigures | None = None
    _read_at: float = float("-inf")
    _reading: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: the registry would read the database to find out."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield the pools and, if the database answers in time, the consortium."""
        yield from _pools(self.settings)
        figures = self._recent()
        yield _gauge("database_up", "Whether the central database answers.", float(figures is not None))
        if figures is not None:
            yield from _consortium(figures)

    def _recent(self) -> FederationFigures | None:
        """Return figures of the last seconds; a read that takes longer goes on, and serves the next scrape."""
        with self._lock:
            if time.monotonic() - self._read_at > CACHE_SECONDS and not self._is_reading():
                self._reading = threading.Thread(target=self._read, name="metrics", daemon=True)
                self._reading.start()
            reading = self._reading
        if reading is not None:
            reading.join(TIME_LIMIT)
        return self._figures if time.monotonic() - self._read_at <= CACHE_SECONDS + TIME_LIMIT else None

    def _is_reading(self) -> bool:
        return self._reading is not None and self._reading.is_alive()

    def _read(self) -> None:
        try:
            with central_session() as central:
                central.execute(text(f"SET LOCAL statement_timeout = {int(1000 * TIME_LIMIT)}"))
                self._figures = federation_figures(central=central)
            self._read_at = time.monotonic()
        except (CentralUnavailable, SQLAlchemyError):
            logger.warning("the figures of the consortium could not be read")


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fedcost_{name}", words, value=value)


def _pools(settings: Settings) -> Iterator[Metric]:
    names = ["database"]
    size = GaugeMetricFamily("fedcost_database_pool_size", "Connections that may be open.", labels=names)
    used = GaugeMetricFamily("fedcost_database_pool_in_use", "Connections in use.", labels=names)
    waits = CounterMetricFamily(
        "fedcost_database_pool_waits", "How often all connections were in use since the start.", labels=names
    )
    sites = [url.get_secret_value() for url in settings.site_database_urls.values()]
    for database, urls in (("central", [settings.central_database_url.get_secret_value()]), ("site", sites)):
        pools = [pool for url in urls if isinstance(pool := engine_for(url).pool, CountingPool)]
        size.add_metric([database], (KEPT + MORE) * len(pools))
        used.add_metric([database], sum(pool.checkedout() for pool in pools))
        waits.add_metric([database], sum(pool.waits for pool in pools))
    yield from (size, used, waits)


def _consortium(figures: FederationFigures) -> Iterator[Metric]:
    yield _gauge("federation_up", "Whether SuperLink and all SuperNodes are up.", float(figures.up))
    if figures.heartbeat_age is not None:
        yield _gauge(
            "supervisor_heartbeat_age_seconds", "Since the supervisor was heard of.", figures.heartbeat_age
        )
    yield _gauge("sites", "Active institutions.", figures.sites)
    yield _gauge("sites_connected", "Institutions whose SuperNode is connected.", figures.sites_connected)
    yield _gauge("rounds_completed", "Rounds of all Runs.", figures.rounds)
    yield _gauge("queue_length", "Runs that wait.", figures.queue_length)
    runs = GaugeMetricFamily("fedcost_runs", "Runs by status.", labels=["status"])
    for status, number in sorted(figures.runs.items()):
        runs.add_metric([status], number)
    yield runs
    if figures.last_round is not None:
        last = figures.last_round
        yield _gauge("last_round_sites", "Sites in the last evaluated Round.", last.sites)
        for name, words, value in (
            ("loss", "Mean squared error of the standardised cost.", last.loss),
            ("mae_dollars", "Mean absolute error, USD a year.", last.mae),
            ("r2", "Share of variation explained.", last.r2),
        ):
            if value is not None:
                yield _gauge(f"last_round_{name}", f"{words} Of the last evaluated Round.", value)
    yield _gauge("audit_events_unsealed", "Audit events that wait for their seal.", figures.unsealed)
    if figures.backup_age is not None:
        yield _gauge("backup_age_seconds", "Since the last backup that succeeded.", figures.backup_age)
    if figures.champion_age is not None:
        yield _gauge("champion_age_seconds", "Since the version in use came into use.", figures.champion_age)
