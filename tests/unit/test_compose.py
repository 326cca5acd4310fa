"""docker-compose.yml keeps the parties apart and publishes no secret; read, not run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SITES = ("northeast", "southwest")
EACH_SERVICE = pytest.mark.parametrize("name", SERVICES)
EACH_SITE = pytest.mark.parametrize("site", SITES)
SECRET = re.compile(r"PASSWORD|SECRET|KEY|TOKEN")
VARIABLE = re.compile(r"\$\{([^}]*)\}")


def _dockerfile() -> list[str]:
    return (PROJECT_ROOT / "Dockerfile").read_text().splitlines()


def test_a_hub_and_two_sites() -> None:
    expected = {"hub", "hub-database"}
    for site in SITES:
        expected |= {f"{site}-database", f"{site}-supernode", f"{site}-web"}
    assert set(SERVICES) == expected


@EACH_SERVICE
def test_every_service_is_built_here_or_pinned(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+\.\d+", service["image"]), "an image without a version changes under our feet"
    assert "build" in service or service["image"].startswith("postgres:18")


@EACH_SERVICE
def test_every_service_has_a_health_check_and_restarts(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)
    assert SERVICES[name]["restart"] == "unless-stopped"


@EACH_SERVICE
def test_no_service_runs_as_root_or_can_become_it(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") == ("postgres" if name.endswith("database") else None)


def test_the_image_is_pinned_and_ends_as_an_ordinary_user() -> None:
    lines = _dockerfile()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)
    assert [line for line in lines if line.startswith("USER ")] == ["USER fedcost"]
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert "." not in copied, "a demonstration's data must not end up in an image"


@EACH_SERVICE
def test_every_secret_is_a_required_variable_without_a_default(name: str) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        for inner in VARIABLE.findall(str(value)):
            assert re.fullmatch(r"[A-Z_]+:\?set [A-Z_]+ to a random .+", inner), inner
        if SECRET.search(variable):
            assert VARIABLE.fullmatch(value), f"{variable} must come from outside"
    for password in re.findall(r"://[^:/]+:(.*?)@", json.dumps(SERVICES[name])):
        assert VARIABLE.fullmatch(password), "an address holds a password of its own"


def test_no_two_secrets_share_a_variable() -> None:
    keys = [
        value
        for service in SERVICES.values()
        for variable, value in service["environment"].items()
        if variable in ("JWT_SECRET", "STREAMLIT_SERVER_COOKIE_SECRET", "POSTGRES_PASSWORD")
    ]
    assert len(keys) == len(set(keys)) == 9


@EACH_SITE
def test_a_sites_database_is_on_its_own_network_alone(site: str) -> None:
    assert SERVICES[f"{site}-database"]["networks"] == [site]
    on_it = {name for name, service in SERVICES.items() if site in service["networks"]}
    assert on_it == {f"{site}-database", f"{site}-supernode", f"{site}-web"}
    assert "ports" not in SERVICES[f"{site}-database"]


@EACH_SERVICE
def test_a_process_knows_only_its_own_sites_database(name: str) -> None:
    environment = json.dumps(SERVICES[name]["environment"])
    mentioned = {site for site in SITES if f"{site}-database" in environment or site.upper() in environment}
    assert mentioned <= {name.split("-")[0]}


def test_the_hub_runs_the_federation_and_has_no_site_database() -> None:
    environment = SERVICES["hub"]["environment"]
    assert environment["FEDERATION"] == "true"
    assert not {"SITE_DATABASE_URL", "SITE_DATABASE_URLS"} & set(environment)


@EACH_SITE
def test_a_sites_processes_get_what_they_need(site: str) -> None:
    web = SERVICES[f"{site}-web"]["environment"]
    assert web["FEDERATION"] == "false"
    assert list(json.loads(web["SITE_DATABASE_URLS"])) == [site]
    supernode = SERVICES[f"{site}-supernode"]
    assert supernode["command"] == ["python", "-m", "fl.runtime.supernode"]
    assert {"INSTITUTION", "SITE_DATABASE_URL", "SUPERLINK_ADDRESS"} <= set(supernode["environment"])
    assert "CENTRAL_DATABASE_URL" not in supernode["environment"]


@EACH_SERVICE
def test_nothing_is_published_beyond_this_machine_and_demo_mode_is_off(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
    assert "DEMO_MODE" not in SERVICES[name]["environment"]


def test_volumes_and_networks_that_are_used_are_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert used == set(COMPOSE["volumes"])
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(
        COMPOSE["networks"]
    )
