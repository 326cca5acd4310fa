"""One Site's SuperNode with TensorFlow loaded: `python -m fl.runtime.supernode`, or forked by the fork server."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from db.logs import configure_logs
from fl.runtime.environment import PROJECT_ROOT, flower_environment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SuperNodeSettings:
    """What a SuperNode needs; the database URL is this Site's own and goes into this process's environment only."""

    institution: str
    site_database_url: str
    superlink_address: str
    flwr_home: str
    root_certificates: str | None = None


def run_supernode(
    settings: SuperNodeSettings,
    *,
    keep_on: Callable[[], bool],
    pause: Callable[[float], bool],
    on_connected: Callable[[int], None] = lambda node_id: None,
) -> None:
    """Compile the training, connect, and answer messages until `keep_on` says no; see `WarmSuperNode.serve`."""
    os.environ.update(
        flower_environment(Path(settings.flwr_home), SITE_DATABASE_URL=settings.site_database_url)
    )

    from fl.client_app import app
    from fl.runtime.flower_private import WarmSuperNode
    from fl.site_presence import installed_bundle_sha256
    from fl.training import use_one_thread, warm_up

    use_one_thread()
    warm_up()
    WarmSuperNode(
        superlink_address=settings.superlink_address,
        app=app,
        institution=settings.institution,
        bundle_sha256=installed_bundle_sha256(),
        root_certificates=settings.root_certificates,
        on_connected=on_connected,
    ).serve(keep_on, pause)


def main() -> None:
    """Run the SuperNode that the environment describes until SIGTERM or SIGINT."""
    configure_logs("supernode")
    missing = [
        name for name in ("INSTITUTION", "SITE_DATABASE_URL", "SUPERLINK_ADDRESS") if name not in os.environ
    ]
    certificates = os.environ.get("SUPERLINK_ROOT_CERTIFICATES")
    if certificates is None and os.environ.get("FLWR_INSECURE") != "1":
        missing.append("SUPERLINK_ROOT_CERTIFICATES (or FLWR_INSECURE=1)")
    if missing:
        sys.exit(f"Set {', '.join(missing)} in the environment of this SuperNode.")
    asked_to_stop = threading.Event()

    def stop(signum: int, frame: object) -> None:
        asked_to_stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run_supernode(
        SuperNodeSettings(
            institution=os.environ["INSTITUTION"],
            site_database_url=os.environ["SITE_DATABASE_URL"],
            superlink_address=os.environ["SUPERLINK_ADDRESS"],
            flwr_home=os.environ.get("FLWR_HOME", str(PROJECT_ROOT / ".data" / "flwr")),
            root_certificates=certificates,
        ),
        keep_on=lambda: not asked_to_stop.is_set(),
        pause=lambda seconds: asked_to_stop.wait(seconds) and False,
        on_connected=lambda node_id: log.info("connected as SuperNode %s", node_id),
    )


if __name__ == "__main__":
    main()
