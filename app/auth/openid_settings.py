"""The optional OpenID Connect provider, from the environment, and as Streamlit's own sign-in wants it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from streamlit import config

CALLBACK_PATH = "/oauth2callback"  # Streamlit's


class OpenIdSettings(BaseSettings):
    """What the environment says of the provider; nothing at all, or all but its name.

    Attributes
    ----------
    openid_metadata_url
        Its discovery document, which ends with `/.well-known/openid-configuration`.
    openid_name
        What the button calls it.
    public_url
        Where people reach this application; the provider sends them back there.
    """

    model_config = SettingsConfigDict(env_file=None, extra="ignore")

    openid_metadata_url: str | None = None
    openid_client_id: str | None = None
    openid_client_secret: SecretStr | None = None
    openid_name: str = "OpenID Connect"
    public_url: str | None = None

    @model_validator(mode="after")
    def _all_or_nothing(self) -> OpenIdSettings:
        needed = {
            "OPENID_METADATA_URL": self.openid_metadata_url,
            "OPENID_CLIENT_ID": self.openid_client_id,
            "OPENID_CLIENT_SECRET": self.openid_client_secret,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing == list(needed):
            return self
        if not self.public_url:
            missing.append("PUBLIC_URL")
        if missing:
            raise ValueError(f"Sign-in through OpenID Connect also needs {', '.join(missing)}.")
        return self

    @property
    def is_on(self) -> bool:
        """Whether people may sign in through the provider."""
        return self.openid_metadata_url is not None


@lru_cache(maxsize=1)
def openid_settings() -> OpenIdSettings:
    """Return this process's settings of the provider."""
    return OpenIdSettings()


def streamlit_secrets() -> dict[str, Any] | None:
    """Return Streamlit's secrets with the provider in them, which so need no file; None without a provider."""
    settings = openid_settings()
    if not settings.is_on or settings.openid_client_secret is None:
        return None
    return {
        "auth": {
            "redirect_uri": f"{str(settings.public_url).rstrip('/')}{CALLBACK_PATH}",
            # The same for all processes behind one address: it comes from STREAMLIT_SERVER_COOKIE_SECRET.
            "cookie_secret": config.get_option("server.cookieSecret"),
            "client_id": settings.openid_client_id,
            "client_secret": settings.openid_client_secret.get_secret_value(),
            "server_metadata_url": settings.openid_metadata_url,
        }
    }
