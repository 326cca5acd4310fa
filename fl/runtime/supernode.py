"""One Site's SuperNode with TensorFlow loaded: `python -m fl.runtime.supernode`, or forked by the fork server."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from db.logs import configure_logs
from fl.node_keys import fingerprint, public_line, read_private_key
from fl.runtime.environment import PROJECT_ROOT, flower_environment
from fl.runtime.priority import give_way

log = logging.getLogger(__name__)
TOUCH_SECONDS = 30.0


@dataclass(frozen=True)
class SuperNodeSettings:
    """What a SuperNode needs; the database URL is this Site's own and goes into this process's environment only.

    Attributes
    ----------
    key_file
        The private key by which SuperLink knows which institution this is.
    root_certificates
        File with the authority that signed SuperLink's certificate; None speaks plain text.
    """

    institution: str
    site_database_url: str
    superlink_address: str
    flwr_home: str
    key_file: str
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
        key=read_private_key(Path(settings.key_file)),
        root_certificates=_read(settings.root_certificates),
        on_connected=on_connected,
    ).serve(keep_on, pause)


def _read(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path is not None else None


def read_settings() -> SuperNodeSettings:
    """Read the environment.

    Raises
    ------
    SystemExit
        Naming everything that is missing.
    """
    missing = [
        name
        for name in ("INSTITUTION", "SITE_DATABASE_URL", "SUPERLINK_ADDRESS", "SUPERNODE_KEY")
        if not os.environ.get(name)
    ]
    certificates = os.environ.get("SUPERLINK_ROOT_CERTIFICATES")
    if not certificates and os.environ.get("FLWR_INSECURE") != "1":
        missing.append("SUPERLINK_ROOT_CERTIFICATES (or FLWR_INSECURE=1)")
    if missing:
        sys.exit(f"Set {', '.join(missing)} in the environment of this SuperNode.")
    unreadable = [
        path for path in (os.environ["SUPERNODE_KEY"], certificates) if path and not os.access(path, os.R_OK)
    ]
    if unreadable:
        sys.exit(f"This SuperNode cannot read {', '.join(unreadable)}.")
    return SuperNodeSettings(
        institution=os.environ["INSTITUTION"],
        site_database_url=os.environ["SITE_DATABASE_URL"],
        superlink_address=os.environ["SUPERLINK_ADDRESS"],
        flwr_home=os.environ.get("FLWR_HOME", str(PROJECT_ROOT / ".data" / "flwr")),
        key_file=os.environ["SUPERNODE_KEY"],
        root_certificates=certificates or None,
    )


def main() -> None:
    """Run the SuperNode that the environment describes until SIGTERM or SIGINT."""
    give_way()
    configure_logs("supernode")
    settings = read_settings()
    remembered = RememberedNode(settings)
    remembered.sign_off()
    asked_to_stop, interrupted = threading.Event(), threading.Event()

    def stop(signum: int, frame: object) -> None:
        asked_to_stop.set()

    def interrupt(signum: int, frame: object) -> None:
        # Flower's connection sends it to this process, too, when SuperLink does not accept the key any more.
        interrupted.set()

    def connected(node_id: int) -> None:
        log.info("connected as SuperNode %s", node_id)
        remembered.write(node_id)

    def pause(seconds: float) -> bool:
        remembered.touch()
        asked_to_stop.wait(seconds)
        return False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, interrupt)

    def over() -> bool:
        return asked_to_stop.is_set() or interrupted.is_set()

    with contextlib.suppress(SystemExit):  # Flower's way to say that SuperLink refuses
        run_supernode(
            settings,
            keep_on=lambda: not over(),
            pause=pause,
            on_connected=connected,
        )
    by_a_person = asked_to_stop.is_set() or (interrupted.is_set() and sys.stdin.isatty())
    if not by_a_person:
        sys.exit(
            f"SuperLink at {settings.superlink_address} does not accept this SuperNode, or is gone. Its key has the "
            f"fingerprint {remembered.fingerprint}; an administrator of the consortium sees on the Institutions page "
            f"whether it is registered for {settings.institution}."
        )


class RememberedNode:
    """The id that SuperLink gave this key, on disk: a SuperNode that was killed is signed off by its successor.

    SuperLink lets nobody in under a key whose holder it takes for connected, which lasts a minute after a kill.
    """

    def __init__(self, settings: SuperNodeSettings) -> None:
        self._settings = settings
        self._key = read_private_key(Path(settings.key_file))
        self.fingerprint = fingerprint(public_line(self._key))
        self._file = Path(settings.flwr_home) / "supernode-id"
        self._touch_at = 0.0

    def write(self, node_id: int) -> None:
        """Remember the id."""
        self._file.write_text(str(node_id))

    def touch(self) -> None:
        """Leave a sign of life, by which whoever watches this process sees that it is connected; twice a minute."""
        if time.monotonic() >= self._touch_at:
            self._touch_at = time.monotonic() + TOUCH_SECONDS
            self._file.touch()

    def sign_off(self) -> None:
        """Tell SuperLink that whoever had this key before is gone; nothing is done if nobody is known."""
        from fl.runtime.superlink_control import deactivate_node

        with contextlib.suppress(OSError, ValueError, httpx.HTTPError):
            deactivate_node(
                self._settings.superlink_address,
                _read(self._settings.root_certificates),
                int(self._file.read_text()),
                self._key,
            )
            log.info("the SuperNode that had this key before was signed off")


if __name__ == "__main__":
    main()
