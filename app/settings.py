"""Settings of the web process, read once from the environment."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from limits import parse_many
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DEMO_PASSWORD = "fedcost-demo"  # printed to the newcomer; demo mode is loopback only  # noqa: S105

SHORTEST_KEY = 32  # characters of a key that signs


def is_loopback(host: str | None) -> bool:
    """Tell whether `host` is this machine only; None is a Unix socket, which is."""
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).strip("[]")).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """What the environment says; the posture follows from which database URLs it holds.

    Attributes
    ----------
    central_database_url
        SQLAlchemy URL of the consortium's database.
    central_read_database_url
        The same of a replica of it, which dashboards read while it answers and is not behind.
    site_database_urls
        JSON object: institution code -> URL of its Site database. Only these institutions' patients can be
        shown by this process.
    federation
        Whether this process starts the supervisor of SuperLink and SuperNodes.
    rate_limit_worker, rate_limit_address, rate_limit_sign_in
        How often the API answers one worker, one address, and one address that signs in or refreshes, each process by
        itself; as `15000/minute` or, for several, `400/second;15000/minute`.
    trusted_proxies
        Addresses and networks, comma-separated, as `172.20.0.0/24`: of these peers, and of no other, the header
        X-Forwarded-For is believed.
    flower_runtime
        `warm` keeps TensorFlow loaded in each SuperNode; `stock` runs unmodified `flower-supernode`.
    metrics_port, metrics_host
        Where Prometheus reads this process's figures, without signing in; nowhere if no port is named.
    jwt_secret, jwt_secret_previous
        What signs access tokens, and what signed them until it was replaced: for as long as one of those lives, it
        still verifies.
    access_token_minutes, session_hours, session_idle_minutes
        How long an access token lives; how long a session does at most, and a browser's without a person acting.
    public_url
        Where people reach this application, without a path; one-time links begin with it.
    """

    model_config = SettingsConfigDict(env_file=None, extra="ignore")

    host: str = "127.0.0.1"
    port: int = 8501
    demo_mode: bool = False
    data_dir: Path = PROJECT_ROOT / ".data"
    archive_dir: Path | None = None
    central_database_url: SecretStr
    central_read_database_url: SecretStr | None = None
    site_database_urls: dict[str, SecretStr] = Field(default_factory=dict)
    federation: bool = True
    flower_runtime: Literal["warm", "stock"] = "warm"
    jwt_secret: SecretStr
    jwt_secret_previous: SecretStr | None = None
    access_token_minutes: int = Field(default=15, ge=1, le=60)
    session_hours: int = Field(default=12, ge=1, le=24 * 7)
    session_idle_minutes: int = Field(default=60, ge=1, le=24 * 60)
    public_url: str | None = None
    cookie_secure: bool = False
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    rate_limit_worker: str = "15000/minute"
    rate_limit_address: str = "30000/minute"
    rate_limit_sign_in: str = "60/minute"
    trusted_proxies: Annotated[list[str], NoDecode] = Field(default_factory=list)

    @field_validator("rate_limit_worker", "rate_limit_address", "rate_limit_sign_in")
    @classmethod
    def _limits_can_be_read(cls, given: str) -> str:
        parse_many(given)
        return given

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _proxies_are_addresses(cls, given: str | list[str]) -> list[str]:
        proxies = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        proxies = [part for part in proxies if part]
        for each in proxies:
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError(f"TRUSTED_PROXIES: {each!r} is no address and no network.") from None
        return proxies

    @model_validator(mode="after")
    def _cookies_of_others_are_encrypted(self) -> Settings:
        others = not is_loopback(self.host) or (self.public_url or "").startswith("https:")
        if others and not self.demo_mode and not self.cookie_secure:
            raise ValueError(
                "Set COOKIE_SECURE=true: this process serves others than its own machine, and a browser must not send "
                "the cookie of a signed-in person over plain text."
            )
        return self

    @model_validator(mode="after")
    def _demo_stays_on_this_machine(self) -> Settings:
        if not self.demo_mode:
            for name, key in (
                ("JWT_SECRET", self.jwt_secret),
                ("JWT_SECRET_PREVIOUS", self.jwt_secret_previous),
            ):
                if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
                    raise ValueError(f"{name} must have at least {SHORTEST_KEY} characters.")
            return self
        if not is_loopback(self.host):
            raise ValueError(
                f"Demo mode has published passwords and serves this machine only, not {self.host}."
            )
        replica = [self.central_read_database_url] if self.central_read_database_url else []
        for secret in (self.central_database_url, *replica, *self.site_database_urls.values()):
            if not is_loopback(make_url(secret.get_secret_value()).host):
                raise ValueError("Demo mode uses only its embedded databases; an external one is refused.")
        return self


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return this process's settings."""
    return Settings()  # type: ignore[call-arg]  # the values come from the environment
