"""What `make run` was asked for, from the environment; what demo mode cannot allow is refused here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.settings import PROJECT_ROOT, is_loopback

EXTERNAL_DATABASES = (
    "CENTRAL_DATABASE_URL",
    "CENTRAL_READ_DATABASE_URL",
    "SITE_DATABASE_URLS",
    "SITE_DATABASE_URL",
    "SITE_TRAIN_DATABASE_URLS",
)
RUNTIMES = ("warm", "stock")


class LaunchRefused(Exception):
    """The demonstration cannot be started like this; the message says what to do instead."""


@dataclass(frozen=True)
class LaunchOptions:
    """How to start.

    Attributes
    ----------
    data
        File of patients to load in place of the generated ones.
    data_dir
        Everything that outlives the run lies here.
    federation
        Whether SuperLink and SuperNodes are started with the web application.
    """

    host: str
    port: int
    data: Path | None
    data_dir: Path
    flower_runtime: str
    federation: bool

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def read_options(environment: Mapping[str, str] = os.environ) -> LaunchOptions:
    """Read HOST, PORT, DATA, DATA_DIR, FLOWER_RUNTIME and FEDERATION; an empty one has its default.

    Raises
    ------
    LaunchRefused
        If a value is not accepted, or would open a demonstration with published passwords to others.
    """
    host = environment.get("HOST") or "127.0.0.1"
    if not is_loopback(host):
        raise LaunchRefused(
            f"HOST={host} is refused: the demonstration has published passwords and serves this machine only."
        )
    for name in EXTERNAL_DATABASES:
        if environment.get(name):
            raise LaunchRefused(
                f"{name} is set: the demonstration uses only databases of its own and never touches another."
            )
    runtime = environment.get("FLOWER_RUNTIME") or "warm"
    if runtime not in RUNTIMES:
        raise LaunchRefused(f"FLOWER_RUNTIME must be {' or '.join(RUNTIMES)}, not {runtime}.")
    data = environment.get("DATA")
    data_dir = environment.get("DATA_DIR")
    return LaunchOptions(
        host=host,
        port=_port(environment.get("PORT") or "8501"),
        data=Path(data).expanduser() if data else None,
        data_dir=Path(data_dir).expanduser().resolve() if data_dir else PROJECT_ROOT / ".data",
        flower_runtime=runtime,
        federation=(environment.get("FEDERATION") or "true").lower() not in ("false", "0", "no"),
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise LaunchRefused(f"PORT must be a number from 1 to 65535, not {text}.")
    return int(text)
