"""What the supervisor and a SuperNode read from their environment, and what they hand to Flower's programs."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fl.runtime.certificates import certificates_of_machine

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
# Would let a caller of SuperLink choose the address that it is judged by.
BELIEVES_PROXIES = "FORWARDED_ALLOW_IPS"


@dataclass(frozen=True)
class TlsFiles:
    """What SuperLink needs to encrypt: its certificate with its key, and the authority that signed it."""

    ca: Path
    certificate: Path
    key: Path


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
    tls
        None: plain text, on this machine only unless `FLWR_INSECURE=1` says that the network is safe.
    """

    central_database_url: str
    site_train_database_urls: dict[str, str]
    data_dir: Path
    runtime: str
    superlink_host: str
    superlink_port: int
    tls: TlsFiles | None = None

    @classmethod
    def read(cls) -> SupervisorEnvironment:
        """Read the process's environment."""
        runtime = os.environ.get("FLOWER_RUNTIME", "warm")
        if runtime not in ("warm", "stock"):
            raise SystemExit(f"FLOWER_RUNTIME must be warm or stock, not {runtime!r}.")
        host, tls = os.environ.get("SUPERLINK_HOST", "127.0.0.1"), _tls_files()
        if not _is_loopback(host):
            if tls is None and os.environ.get("FLWR_INSECURE") != "1":
                raise SystemExit(
                    f"SuperLink at {host} can be reached by others, so it needs certificates: set "
                    f"{', '.join(TLS_VARIABLES)}. FLWR_INSECURE=1 lets it speak plain text, in a network that is safe."
                )
            if runtime == "stock":
                raise SystemExit(
                    "FLOWER_RUNTIME=stock is for one machine: Flower's own SuperLink lets whoever reaches it start "
                    "programs. Use warm; unmodified SuperNodes may connect to it."
                )
        data_dir = Path(os.environ.get("DATA_DIR", PROJECT_ROOT / ".data")).resolve()
        if runtime == "stock" and tls is None:
            # Unmodified, a SuperNode shows its key over TLS only.
            files = certificates_of_machine(data_dir / "certificates")
            tls = TlsFiles(files.ca, files.server, files.server_key)
        return cls(
            central_database_url=os.environ["CENTRAL_DATABASE_URL"],
            site_train_database_urls=json.loads(os.environ.get("SITE_TRAIN_DATABASE_URLS", "{}")),
            data_dir=data_dir,
            runtime=runtime,
            superlink_host=host,
            superlink_port=int(os.environ.get("SUPERLINK_PORT", "0")),
            tls=tls,
        )


TLS_VARIABLES = ("SUPERLINK_CA_CERTIFICATE", "SUPERLINK_CERTIFICATE", "SUPERLINK_KEY")


def _tls_files() -> TlsFiles | None:
    given = [os.environ.get(name) or None for name in TLS_VARIABLES]
    if not any(given):
        return None
    missing = [name for name, path in zip(TLS_VARIABLES, given, strict=True) if path is None]
    if missing:
        raise SystemExit(f"SuperLink's certificates need {', '.join(missing)}, too.")
    unreadable = [path for path in given if path is not None and not os.access(path, os.R_OK)]
    if unreadable:
        raise SystemExit(f"SuperLink's certificates cannot be read: {', '.join(unreadable)}.")
    return TlsFiles(*(Path(path) for path in given if path is not None))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def flower_environment(flwr_home: Path, **extra: str) -> dict[str, str]:
    """Return the environment of a Flower process: no secrets but `extra`, nothing sent out, nothing installed."""
    flwr_home.mkdir(parents=True, exist_ok=True)
    inherited = {
        name: value for name, value in os.environ.items() if name not in (*SECRETS, BELIEVES_PROXIES)
    }
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
