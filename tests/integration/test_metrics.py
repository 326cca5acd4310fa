"""What Prometheus reads: counts of this process and the consortium's figures, on a port of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import measures, metrics_endpoint
from app.metrics_endpoint import ConsortiumCollector, metrics_served
from app.services import models, predictions
from app.settings import Settings
from db.federation import FederationStatus
from db.ports import free_port
from tests.integration.test_logs_served import DOCTOR, INPUTS, served

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _read(port: int) -> Samples:
    with httpx.Client(trust_env=False) as client:
        answer = client.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _one(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


@pytest.fixture
def with_port(consortium: Any) -> Settings:
    settings: Settings = consortium.settings
    return settings.model_copy(update={"metrics_port": free_port()})


def test_a_served_application_tells_what_it_answered_and_names_nobody(
    consortium: Any, add_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    add_model()
    with served(tmp_path) as client:
        for password in ("wrong", consortium.password):
            login = client.post("/api/auth/login", json={"email": DOCTOR, "password": password})
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        for _ in range(3):
            client.post("/api/predictions", json=INPUTS)
        client.request("LOVELACE", "/api/patients")
        client.get("/api/patients/Lovelace?search=Lovelace")
        client.get("/api/Lovelace")
        with consortium.central() as central:
            central.add(
                FederationStatus(
                    state="up",
                    runtime="warm",
                    leader="here:1",
                    sites={"northeast": {"state": "connected"}, "northwest": {"state": "down"}},
                )
            )
            central.commit()
        samples = _read(port)
        assert client.get("/metrics").headers["content-type"].startswith("text/html"), "a page, no figures"
    login_route = {"method": "POST", "route": "/api/auth/login"}
    assert _one(samples, "fedcost_requests_total", **login_route, status="401") == 1
    assert _one(samples, "fedcost_requests_total", **login_route, status="200") == 1
    assert _one(samples, "fedcost_sign_in_failures_total") == 1
    assert _one(samples, "fedcost_prediction_seconds_count") == 3
    assert _one(samples, "fedcost_request_seconds_count", route="/api/predictions") == 3
    assert _one(samples, "fedcost_database_up") == 1
    assert _one(samples, "fedcost_sites") == 4
    assert _one(samples, "fedcost_sites_connected") == 1
    assert _one(samples, "fedcost_rounds_completed") == 0
    assert _one(samples, "fedcost_champion_age_seconds") >= 0
    assert _one(samples, "fedcost_database_pool_size", database="central") == 15
    assert _one(samples, "fedcost_database_pool_size", database="site") == 60
    said = {value for _, labels in samples for _, value in labels}
    assert not any("ovelace" in value or "LOVELACE" in value or "@" in value for value in said)
    assert {name for _, labels in samples for name, _ in labels} <= {
        *("method", "route", "status", "database", "le")
    }


def test_the_last_round_that_was_evaluated_and_the_queue_are_told(
    consortium: Any, add_run: Callable[..., int], with_port: Settings
) -> None:
    add_run("completed", rounds=2)
    with metrics_served(with_port):
        samples = _read(with_port.metrics_port or 0)
    assert _one(samples, "fedcost_rounds_completed") == 2
    assert _one(samples, "fedcost_last_round_sites") > 0
    for name in ("loss", "mae_dollars", "r2"):
        assert _one(samples, f"fedcost_last_round_{name}") > 0
    assert _one(samples, "fedcost_queue_length") == 0
    assert _one(samples, "fedcost_runs", status="completed") == 1


def test_a_database_that_does_not_answer_does_not_break_the_scrape(
    consortium: Any, with_port: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "CENTRAL_DATABASE_URL", f"postgresql+psycopg2://nobody:wrong@127.0.0.1:{free_port()}/none"
    )
    from app.settings import get_settings

    get_settings.cache_clear()
    with metrics_served(with_port):
        samples = _read(with_port.metrics_port or 0)
    assert _one(samples, "fedcost_database_up") == 0
    assert ("fedcost_sites", ()) not in samples
    assert ("fedcost_sign_in_failures_total", ()) in samples


def test_a_slow_database_holds_a_scrape_up_for_two_seconds_at_most_and_serves_the_next(
    consortium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metrics_endpoint.federation_figures

    def slow(**asked: Any) -> Any:
        time.sleep(0.6)
        return real(**asked)

    monkeypatch.setattr(metrics_endpoint, "federation_figures", slow)
    monkeypatch.setattr(metrics_endpoint, "TIME_LIMIT", 0.2)
    collector = ConsortiumCollector(consortium.settings)
    begun = time.monotonic()
    first = {metric.name: metric.samples[0].value for metric in collector.collect() if metric.samples}
    assert time.monotonic() - begun < 0.6
    assert first["fedcost_database_up"] == 0
    time.sleep(0.8)
    second = {metric.name: metric.samples[0].value for metric in collector.collect() if metric.samples}
    assert (second["fedcost_database_up"], second["fedcost_sites"]) == (1, 4)


def test_a_scrape_reads_the_database_once_in_five_seconds(
    consortium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    real = metrics_endpoint.federation_figures
    monkeypatch.setattr(
        metrics_endpoint, "federation_figures", lambda **asked: (reads.append(1), real(**asked))[1]
    )
    collector = ConsortiumCollector(consortium.settings)
    for _ in range(3):
        list(collector.collect())
    assert len(reads) == 1


def test_without_a_port_nothing_is_opened_and_a_port_in_use_stops_nobody(
    consortium: Any, with_port: Settings
) -> None:
    with metrics_served(consortium.settings):
        pass
    with metrics_served(with_port):
        with metrics_served(with_port):
            pass
        assert _read(with_port.metrics_port or 0)


def test_measuring_a_prediction_costs_next_to_nothing_of_it(
    consortium: Any, add_model: Callable[..., Any]
) -> None:
    add_model()
    with consortium.central() as central:
        loaded = models.champion(central=central)
        assert loaded.version == "v1"

        def seconds(count: int, work: Callable[[], object]) -> float:
            begun = time.process_time()  # of this process alone, whatever else the machine does
            for _ in range(count):
                work()
            return (time.process_time() - begun) / count

        def predict() -> object:
            return predictions.predict(central=central, actor=consortium.actors["doctor"], inputs=INPUTS)

        def measure() -> None:
            with measures.prediction_timed():
                pass

        pairs = [(seconds(50, predict), seconds(200, measure)) for _ in range(10)]
    whole, measured = (min(each) for each in zip(*pairs, strict=True))
    print(f"a prediction takes {1e6 * whole:.0f} us, measuring it {1e6 * measured:.1f} us")
    assert measured < 0.03 * whole
