"""Makes the first administrator of a consortium: `python -m app.first_account EMAIL NAME`, at the hub's own prompt."""

from __future__ import annotations

import argparse
import os
import sys

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import Conflict, FedcostError, InvalidInput
from app.services import audit
from app.services.one_time_links import NewLink, issue_link
from app.services.person_entry import email_problems, name_problems, tidy_email, tidy_name
from db.central import MedicalWorker
from db.engines import sessions_for
from db.states import Role

# Any number that nothing else in this project locks: two commands at once make one account.
_LOCK = 7_215_403


def make_first_account(central: Session, *, email: str, name: str, reset: bool = False) -> NewLink:
    """Make an administrator of the consortium with a one-time link, or a link for one who is there.

    Parameters
    ----------
    reset
        Also if there is an active administrator, for example because nobody knows that one's password any more.

    Raises
    ------
    InvalidInput
        If address or name is not accepted.
    Conflict
        If there is an active administrator, or somebody of another role has this address.
    """
    email, name = tidy_email(email), tidy_name(name)
    problems = [*email_problems(email), *name_problems(name)]
    if problems:
        raise InvalidInput(problems)
    central.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    active = select(func.count()).where(MedicalWorker.role == Role.ADMIN, MedicalWorker.is_active)
    if central.scalar(active) and not reset:
        raise Conflict(
            "There is an active administrator, who adds people on the People page. With --reset an account is made "
            "all the same, or gets a new link."
        )
    worker = central.scalars(select(MedicalWorker).where(MedicalWorker.email == email)).one_or_none()
    if worker is None:
        worker = MedicalWorker(email=email, name=name, role=Role.ADMIN)
        central.add(worker)
    elif worker.role != Role.ADMIN:
        raise Conflict("Somebody of another role has this e-mail address. Use another one.")
    worker.is_active = True
    central.flush()
    link = issue_link(central, worker, actor=None)
    audit.record(
        central=central,
        actor=None,
        action="first_account_made",
        target=f"worker {worker.id}",
        details={"reset": reset},
    )
    return link


def main(arguments: list[str]) -> int:
    """Make the account in the database that CENTRAL_DATABASE_URL names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m app.first_account", description=__doc__)
    parser.add_argument("email", help="the e-mail address with which the person signs in")
    parser.add_argument("name", help="the person's name")
    parser.add_argument("--reset", action="store_true", help="also if there is an active administrator")
    asked = parser.parse_args(arguments)
    url = os.environ.get("CENTRAL_DATABASE_URL")
    if not url:
        sys.stderr.write("Set CENTRAL_DATABASE_URL.\n")
        return 2
    try:
        with sessions_for(url)() as central:
            link = make_first_account(central, email=asked.email, name=asked.name, reset=asked.reset)
            central.commit()
    except FedcostError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    address = os.environ.get("PUBLIC_URL") or "<address of the application>"
    sys.stdout.write(
        f"{link.email} chooses a password with this link, once and within 24 hours. It is shown only now:\n"
        f"{address.rstrip('/')}{link.path}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
