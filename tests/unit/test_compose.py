"""docker-compose.yml keeps the parties apart, holds no secret, and gives no process more than it needs; not run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.with_secrets import SECRETS, BadSecretFile, with_secrets
from deploy.make_secrets import make_secrets

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (PROJECT_ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SITES = ("northeast", "southwest", "southeast")
PARTIES = ("hub", *SITES)
ONCE = ("roles", "migrate", "backup")
PUBLIC = {"superlink_ca"}  # the one file that all parties have
EACH_SERVICE = pytest.mark.parametrize("name", SERVICES)
EACH_SITE = pytest.mark.parametrize("site", SITES)


def _dockerfile() -> list[str]:
    return (PROJECT_ROOT / "Dockerfile").read_text().splitlines()


def _party(name: str) -> str:
    return name.split("-")[0]


def _secrets(name: str) -> set[str]:
    return {
        secret["source"] if isinstance(secret, dict) else secret
        for secret in SERVICES[name].get("secrets", [])
    }


def test_a_hub_and_sites_each_with_its_own_database_and_proxy() -> None:
    expected = {"hub-federation"}
    for party in PARTIES:
        expected |= {f"{party}-{part}" for part in ("database", "web", "proxy", *ONCE)}
    expected |= {f"{site}-supernode" for site in SITES}
    assert set(SERVICES) == expected


@EACH_SERVICE
def test_every_service_is_built_here_or_pinned(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+\.\d+\.?\d*", service["image"]), (
        "an image without a version changes under our feet"
    )
    assert "build" in service or re.match(r"(postgres:18|nginx:1)\.", service["image"])


@EACH_SERVICE
def test_every_service_that_stays_has_a_health_check_and_restarts(name: str) -> None:
    service = SERVICES[name]
    if name.endswith(ONCE):
        assert service["restart"] == "no" and "healthcheck" not in service
        return
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)
    assert service["restart"] == "unless-stopped"


@EACH_SERVICE
def test_no_service_runs_as_root_writes_to_its_image_or_takes_more_than_its_share(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["mem_limit"] and service["pids_limit"]
    wanted = "postgres" if name.endswith("database") else "nginx" if name.endswith("proxy") else None
    assert service.get("user") == wanted, "our own image ends as an ordinary user"


def test_the_image_is_pinned_and_ends_as_an_ordinary_user() -> None:
    lines = _dockerfile()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)
    assert [line for line in lines if line.startswith("USER ")] == ["USER fedcost"]
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert "." not in copied, "a demonstration's data must not end up in an image"
    assert 'ENTRYPOINT ["python", "-m", "db.with_secrets"]' in lines


def test_variables_are_required_and_none_is_a_secret() -> None:
    used = set(re.findall(r"\$\{([^}]*)\}", TEXT))
    assert all(re.fullmatch(r"(FEDCOST_DOMAIN|SECRETS_DIR):\?set \1 to .+", inner) for inner in used), used
    assert not re.search(r"://[^/\s\"]+:[^/\s\"]+@", TEXT), "an address holds a password"


@EACH_SERVICE
def test_every_secret_is_a_file_of_this_service_alone(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    files = {value for value in environment.values() if str(value).startswith("/run/secrets/")}
    assert {Path(value).name for value in files} <= _secrets(name)
    for variable in environment:
        assert variable not in SECRETS, f"{variable} must come from a file"
    for variable, value in environment.items():
        if variable.endswith("_FILE") and variable != "POSTGRES_PASSWORD_FILE":
            assert variable.removesuffix("_FILE") in SECRETS, f"nobody reads {variable}"
            assert value.startswith("/run/secrets/")
    for secret in _secrets(name) - PUBLIC:
        assert secret.startswith(f"{_party(name)}_") or (name == "hub-federation" and "superlink" in secret)


def test_every_secret_is_made_by_the_script(tmp_path: Path) -> None:
    told = make_secrets(tmp_path / "secrets", "fedcost.example.org", list(SITES))
    before = {path: path.read_bytes() for path in (tmp_path / "secrets").rglob("*") if path.is_file()}
    declared = {
        tmp_path / "secrets" / secret["file"].split("}/", 1)[1] for secret in COMPOSE["secrets"].values()
    }
    assert declared <= set(before)
    authorities = {path for path in before if path.name in ("ca.key", "ca.pem")}
    assert set(before) - declared <= authorities, "an authority's key goes into no container"
    assert len(set(before.values())) >= len(before) - 2 * len(SITES), (
        "two addresses of each Site are in two files"
    )
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert sum("ecdsa-sha2-nistp384" in sentence for sentence in told) == len(SITES)
    make_secrets(tmp_path / "secrets", "fedcost.example.org", [*SITES, "lakeside"])
    after = {path: path.read_bytes() for path in before}
    changed = {path.name for path in before if after[path] != before[path]}
    assert changed == {"site_urls"}, "one more Site changes nothing but the hub's list of them"


def test_secrets_are_read_from_files_and_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret\n")
    given = {"JWT_SECRET_FILE": str(tmp_path / "secret"), "HOST": "::", "OTHER_FILE": "stays"}
    assert with_secrets(given) == {"JWT_SECRET": "a secret", "HOST": "::", "OTHER_FILE": "stays"}
    with pytest.raises(BadSecretFile, match="not both"):
        with_secrets({**given, "JWT_SECRET": "another"})
    with pytest.raises(BadSecretFile, match=r"JWT_SECRET_FILE names .*missing, which cannot be read"):
        with_secrets({"JWT_SECRET_FILE": str(tmp_path / "missing")})
    (tmp_path / "empty").touch()
    with pytest.raises(BadSecretFile, match="empty"):
        with_secrets({"JWT_SECRET_FILE": str(tmp_path / "empty")})


@EACH_SITE
def test_a_sites_database_is_on_its_own_network_alone(site: str) -> None:
    assert SERVICES[f"{site}-database"]["networks"] == [site]
    on_it = {name for name, service in SERVICES.items() if site in service["networks"]}
    parts = ("database", "supernode", "web", *ONCE)
    assert on_it == {f"{site}-{part}" for part in parts}
    assert COMPOSE["networks"][site] == {"internal": True}
    assert "ports" not in SERVICES[f"{site}-database"]


def test_the_hub_has_no_site_database_and_a_proxy_meets_only_its_own_web_application() -> None:
    for name, service in SERVICES.items():
        if _party(name) == "hub":
            assert not set(service["networks"]) & set(SITES)
        if name.endswith("proxy"):
            edge = service["networks"]
            assert edge == [f"{_party(name)}-edge"]
            others = {other for other, each in SERVICES.items() if edge[0] in each["networks"]}
            assert others == {name, f"{_party(name)}-web"}


@EACH_SERVICE
def test_a_process_connects_as_the_role_that_its_work_needs(name: str) -> None:
    secrets = _secrets(name)
    assert ("admin_url" in " ".join(secrets)) == name.endswith("roles")
    assert bool(re.search(r"owner_urls?\b", " ".join(secrets))) == name.endswith(ONCE)
    if name.endswith("supernode"):
        assert f"{_party(name)}_train_url" in secrets
        assert not any("app" in secret or "central" in secret for secret in secrets)


@EACH_SITE
def test_a_supernode_speaks_tls_with_its_own_key(site: str) -> None:
    environment = SERVICES[f"{site}-supernode"]["environment"]
    assert environment["SUPERNODE_KEY"] == f"/run/secrets/{site}_supernode_key"
    assert environment["SUPERLINK_ROOT_CERTIFICATES"] == "/run/secrets/superlink_ca"
    assert "FLWR_INSECURE" not in TEXT


@EACH_SERVICE
def test_nothing_is_published_beyond_this_machine_and_demo_mode_is_off(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
        assert name.endswith("proxy") or name == "hub-federation"
    assert "DEMO_MODE" not in SERVICES[name].get("environment", {})


@pytest.mark.parametrize("party", PARTIES)
def test_the_web_application_believes_its_own_proxy_only(party: str) -> None:
    environment = SERVICES[f"{party}-web"]["environment"]
    [pool] = COMPOSE["networks"][f"{party}-edge"]["ipam"]["config"]
    assert environment["TRUSTED_PROXIES"] == pool["subnet"]
    assert environment["COOKIE_SECURE"] == "true" and environment["FEDERATION"] == "false"
    port = SERVICES[f"{party}-proxy"]["ports"][0].split(":")[1]
    assert environment["PUBLIC_URL"].endswith(f":{port}")


def test_one_more_site_is_a_profile_and_a_backup_is_made_when_it_is_asked_for() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    for name, profile in profiles.items():
        backup = name.endswith("backup")
        site = ["southeast-backup" if backup else "southeast"]
        assert profile == (site if _party(name) == "southeast" else ["backup"] if backup else None)


def test_the_file_is_valid_by_the_compose_specification() -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*words, "docker-compose.yml"], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_used_is_declared() -> None:
    volumes = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {volume for volume in volumes if not volume.startswith(".")} == set(COMPOSE["volumes"])
    networks = {network for service in SERVICES.values() for network in service["networks"]}
    assert networks == set(COMPOSE["networks"])
    assert {secret for name in SERVICES for secret in _secrets(name)} == set(COMPOSE["secrets"])


def test_the_proxy_closes_what_is_not_for_the_outside() -> None:
    configuration = (PROJECT_ROOT / "deploy" / "nginx.conf").read_text()
    for line in (
        "location = /_stcore/metrics { return 404; }",
        "Strict-Transport-Security",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "limit_req zone=sign_in",
        "gzip on;",
    ):
        assert line in configuration
    assert json.dumps(SERVICES["hub-proxy"]["volumes"]).count(":ro") == 1
