"""What this process counts while it works: requests, predictions, refused sign-ins; for Prometheus and for the history.

Nothing is labelled by a person, a patient or a path: a route is its template, and there are as many as were written.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Upper ends in seconds; the last bucket has none.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
PREDICTION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
KEPT_MINUTES = 15  # that could not be written down yet

REGISTRY = CollectorRegistry()
REQUESTS = Counter("fedcost_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "fedcost_request_seconds",
    "Time from a request to the end of its answer.",
    ["route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
PREDICTION_SECONDS = Histogram(
    "fedcost_prediction_seconds",
    "Time of one prediction, without saving it.",
    buckets=PREDICTION_BUCKETS,
    registry=REGISTRY,
)
BATCH_PREDICTIONS = Counter(
    "fedcost_batch_predictions", "Predictions made many at a time.", registry=REGISTRY
)
SIGN_IN_FAILURES = Counter("fedcost_sign_in_failures", "Refused sign-ins.", registry=REGISTRY)
FAULTS = Counter("fedcost_faults", "Mistakes of the program, each with a reference.", registry=REGISTRY)
STARTED = Gauge("fedcost_started_timestamp_seconds", "When this process started.", registry=REGISTRY)
STARTED.set_to_current_time()


@dataclass
class Minute:
    """What happened within one minute; the histograms have one bucket more than their upper ends."""

    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    sign_in_failures: int = 0
    predictions: int = 0
    request_buckets: list[int] = field(default_factory=lambda: [0] * (len(REQUEST_BUCKETS) + 1))
    prediction_buckets: list[int] = field(default_factory=lambda: [0] * (len(PREDICTION_BUCKETS) + 1))


class MinuteCounts:
    """Counts by minute, held until they are written down for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[datetime, Minute] = {}

    @contextmanager
    def now(self) -> Iterator[Minute]:
        """Give the counts of this minute to be changed."""
        minute = datetime.fromtimestamp(time.time() // 60 * 60, UTC)
        with self._lock:
            yield self._minutes.setdefault(minute, Minute())

    def taken(self) -> dict[datetime, Minute]:
        """Return what was counted; call `written` once it is safe."""
        with self._lock:
            return {minute: _copy(counts) for minute, counts in self._minutes.items()}

    def written(self, taken: dict[datetime, Minute]) -> None:
        """Forget the minutes that are over and have not changed since they were taken."""
        newest = max(taken, default=None)
        with self._lock:
            for minute, counts in taken.items():
                if minute != newest and self._minutes.get(minute) == counts:
                    del self._minutes[minute]

    def forget_old(self) -> None:
        """Keep no more minutes than `KEPT_MINUTES`, when nobody takes them."""
        with self._lock:
            for minute in sorted(self._minutes)[:-KEPT_MINUTES]:
                del self._minutes[minute]


def _copy(counts: Minute) -> Minute:
    values = {**vars(counts)}
    values["request_buckets"] = list(counts.request_buckets)
    values["prediction_buckets"] = list(counts.prediction_buckets)
    return Minute(**values)


@dataclass(frozen=True)
class SeenFault:
    """One mistake of the program, as it is kept: no text of the exception."""

    occurred_at: datetime
    reference: str
    place: str
    kind: str
    request_id: str | None


MINUTES = MinuteCounts()
SEEN_FAULTS: deque[SeenFault] = deque(maxlen=200)  # that could not be written down yet


def request_answered(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count one request by its route's template; `seconds` until its answer was sent."""
    REQUESTS.labels(method if method in METHODS else "other", route, str(status)).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)
    with MINUTES.now() as minute:
        minute.requests += 1
        minute.client_errors += 400 <= status < 500
        minute.server_errors += status >= 500
        minute.request_buckets[bisect.bisect_left(REQUEST_BUCKETS, seconds)] += 1


@contextmanager
def prediction_timed() -> Iterator[None]:
    """Time one prediction; one that ends in an error is not counted."""
    begun = time.perf_counter()
    yield
    seconds = time.perf_counter() - begun
    PREDICTION_SECONDS.observe(seconds)
    with MINUTES.now() as minute:
        minute.predictions += 1
        minute.prediction_buckets[bisect.bisect_left(PREDICTION_BUCKETS, seconds)] += 1


def batch_predicted(count: int) -> None:
    """Count predictions that were made many at a time."""
    BATCH_PREDICTIONS.inc(count)
    with MINUTES.now() as minute:
        minute.predictions += count


def fault_seen(*, reference: str, place: str, kind: str, request_id: str | None) -> None:
    """Count one mistake of the program, and keep it until it is written down."""
    FAULTS.inc()
    SEEN_FAULTS.append(SeenFault(datetime.now(UTC), reference, place[:200], kind[:200], request_id))


def sign_in_refused() -> None:
    """Count one refused sign-in."""
    SIGN_IN_FAILURES.inc()
    with MINUTES.now() as minute:
        minute.sign_in_failures += 1
