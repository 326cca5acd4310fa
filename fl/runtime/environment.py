"""What the supervisor and a SuperNode read from their environment, and what they hand to Flower's programs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
# Carried by every process of a federation, whoever started it: the data folder that it belongs to.
FEDERATION_MARK = "FEDCOST_FEDERATION"
# Never handed to a child that does not need them.
SECRETS = (
    "CENTRAL_DATABASE_URL",
    "CENTRAL_READ_DATABASE_URL",
    "CENTRAL_OWNER_DATABASE_URL",
    "SITE_DATABASE_URLS",
    "SITE_DATABASE_URL",
    "SITE_OWNER_DATABASE_URLS",
    "SITE_OWNER_DATABASE_URL",
    "SITE_TRAIN_DATABASE_URLS",
    "JWT_SECRET",
)


@dataclass(frozen=True)
class SupervisorEnvironment:
    """The supervisor's settings.

    Attributes
    ----------
    site_train_database_urls
        Institution code -> URL of the role for training in the database of each SuperNode to run here; empty at a
        hub whose Sites run elsewhere.
    runtime
        `warm` or `stock`.
    superlink_host, superlink_port
        Where SuperLink listens; port 0 takes a free one.
    """

    central_database_url: str
    site_train_database_urls: dict[str, str]
    data_dir: Path
    runtime: str
    superlink_host: str
    superlink_port: int

    @classmethod
    def read(cls) -> SupervisorEnvironment:
        """Read the process's environment."""
        runtime = os.environ.get("FLOWER_RUNTIME", "warm")
        if runtime not in ("warm", "stock"):
            raise SystemExit(f"FLOWER_RUNTIME must be warm or stock, not {runtime!r}.")
        return cls(
            central_database_url=os.environ["CENTRAL_DATABASE_URL"],
            site_train_database_urls=json.loads(os.environ.get("SITE_TRAIN_DATABASE_URLS", "{}")),
            data_dir=Path(os.environ.get("DATA_DIR", PROJECT_ROOT / ".data")).resolve(),
            runtime=runtime,
            superlink_host=os.environ.get("SUPERLINK_HOST", "127.0.0.1"),
            superlink_port=int(os.environ.get("SUPERLINK_PORT", "0")),
        )


def flower_environment(flwr_home: Path, **extra: str) -> dict[str, str]:
    """Return the environment of a Flower process: no secrets but `extra`, nothing sent out, nothing installed."""
    flwr_home.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "FLWR_HOME": str(flwr_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **extra,
    }
