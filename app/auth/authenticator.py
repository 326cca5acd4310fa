"""streamlit-authenticator over the database: its form and its flow, our check, and none of its cookies."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, MutableMapping
from typing import Any

from app.auth.sessions import open_session
from app.auth.sign_in import normal_email, verify_credentials
from app.auth.upstream import Authenticate, AuthenticationController
from app.databases import central_session
from app.errors import SignInRefused
from app.services import workers


class WorkerCredentials(MutableMapping[str, dict[str, Any]]):
    """The `usernames` that streamlit-authenticator asks for, without reading every Worker at each rerun.

    Looking up an e-mail address is one SELECT, remembered while this mapping lives: one rerun.
    Password hashes are not in it: only `verify_credentials` compares passwords.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any] | None] = {}

    def __getitem__(self, email: str) -> dict[str, Any]:
        if email not in self._known:
            with central_session() as central:
                worker = workers.find_worker(central=central, email=email)
                self._known[email] = (
                    {"email": worker.email, "name": worker.name, "roles": [worker.role]} if worker else None
                )
        known = self._known[email]
        if known is None:
            raise KeyError(email)
        return known

    def __setitem__(self, email: str, value: dict[str, Any]) -> None:
        self._known[email] = value

    def __delitem__(self, email: str) -> None:
        self._known[email] = None

    def __iter__(self) -> Iterator[str]:
        return iter([email for email, known in self._known.items() if known is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))


class NoCookie:
    """Stands where the library keeps its cookie, which scripts can read and which outlives sign-out."""

    def get_cookie(self) -> None:
        """Say that there is no cookie; ours is read from the request."""

    def set_cookie(self) -> None:
        """Write nothing; the browser gets our cookie for a ticket."""

    def delete_cookie(self) -> None:
        """Delete nothing; our cookie is cleared by its own route."""


class DatabaseAuthenticate(Authenticate):  # type: ignore[misc]
    """The library's widgets with the check of `app.auth.sign_in` behind them.

    Attributes
    ----------
    opened
        Id of the session that a successful submit of the form opened in this rerun.
    refusal
        The sentence to show if the submit was refused.
    """

    def __init__(self, *, address: str | None, user_agent: str | None) -> None:
        # The library's own constructor is not called: it would render its cookie component into the page.
        self.path = None
        self.api_key = None
        self.attrs = {"login_sleep_time": 0}
        self.secret_key = ""  # of its cookie, which is not used
        self.cookie_controller = NoCookie()
        self.authentication_controller = AuthenticationController({"usernames": {}}, auto_hash=False)
        model = self.authentication_controller.authentication_model
        model.credentials = {"usernames": WorkerCredentials()}
        model.check_credentials = self._check
        model._record_failed_login_attempts = _already_recorded
        self.opened: uuid.UUID | None = None
        self.refusal: str | None = None
        self._address = address
        self._user_agent = user_agent

    def _check(self, email: str, password: str) -> bool:
        try:
            with central_session() as central:
                worker = verify_credentials(
                    central, email=normal_email(email), password=password, address=self._address
                )
                session, _ = open_session(
                    central, worker=worker, user_agent=self._user_agent, address=self._address
                )
        except SignInRefused as error:
            self.refusal = str(error)
            return False
        self.opened = session.id
        return True


def _already_recorded(username: str, reset: bool = False) -> None:
    """Do nothing: `verify_credentials` has counted the attempt in the database, atomically."""
