"""Proves the receipts of a Run: `make verify-run RUN=5`, or `python -m app.verify_run 5`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from app.launch_options import LaunchRefused, read_options
from db.embedded import EmbeddedPostgres
from db.logs import configure_logs
from db.provision import CENTRAL
from fl.runtime.flower_private import make_messages_outside_a_run
from fl.verify_run import Broken, verify_run


def main(arguments: list[str]) -> int:
    """Check one Run; returns 0 if everything is right, 1 at the first thing that is not, 2 if it cannot be checked."""
    configure_logs("verify_run")
    logging.getLogger().setLevel(logging.ERROR)  # Flower tells of every aggregation
    logging.getLogger("flwr").setLevel(logging.ERROR)
    if len(arguments) != 1 or not (arguments[0].isascii() and arguments[0].isdigit()):
        print("Say which run to verify by its number: make verify-run RUN=5", file=sys.stderr)
        return 2
    make_messages_outside_a_run()
    try:
        verify_run(central_url(os.environ), int(arguments[0]), print)
    except Broken as broken:
        print(f"NOT proved. {broken}")
        return 1
    except LaunchRefused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except SQLAlchemyError as error:
        print(f"The central database does not answer ({type(error).__name__}).", file=sys.stderr)
        return 2
    print("Everything is as it was recorded.")
    return 0


def central_url(environment: Mapping[str, str]) -> str:
    """Return the URL of the central database: CENTRAL_DATABASE_URL, or that of the demonstration that is running.

    Raises
    ------
    LaunchRefused
        If there is neither.
    """
    given = environment.get("CENTRAL_DATABASE_URL")
    if given:
        return given
    folder = read_options(environment).data_dir
    server = EmbeddedPostgres(folder) if folder.exists() else None
    if server is None or server.pid is None:
        raise LaunchRefused(
            f"Fedcost does not run from {folder}. Start it with make run, or set CENTRAL_DATABASE_URL to the central "
            "database of your installation."
        )
    return server.url(CENTRAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
