"""The gate of every page, fragment and callback: who acts, may they, and what they read if it fails."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import streamlit as st

from app.actor import Actor
from app.auth.login_form import current_actor
from app.components.formats import plain
from app.errors import FedcostError, InvalidInput, NoModelYet, PermissionRefused, SessionEnded
from app.log_privacy import log_fault
from app.permissions import Permission
from app.request_id import rerun_id
from app.services import audit

logger = logging.getLogger(__name__)

# A refused fragment asks again at every tick of its timer; within this time that is one refusal.
SAME_REFUSAL_WITHIN = 60.0  # seconds
_REFUSALS = "guard_refusals"  # action -> when it was refused and kept

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def show_error(error: FedcostError) -> None:
    """Show the sentence of an error that a person can act on."""
    if isinstance(error, NoModelYet):
        st.info(plain(str(error)), icon=":material/info:")
    elif isinstance(error, InvalidInput) and len(error.problems) > 1:
        lines = "\n".join(f"- {plain(problem.message)}" for problem in error.problems)
        st.error(f"Please correct the following:\n\n{lines}", icon=":material/error:")
    else:
        st.error(plain(str(error)), icon=":material/error:")


def show_failure(error: Exception) -> None:
    """Show that the fault is ours, with a reference under which the log has the stack.

    The message of the exception is neither shown nor logged: a database error quotes the row, and the row may
    hold a patient's name.
    """
    reference = log_fault(logger, error, at="a page")
    st.error(
        "Something went wrong on our side. Please try again; if it happens again, give your "
        f"administrator this reference: {reference}.",
        icon=":material/error:",
    )


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show whatever goes wrong inside as one plain sentence; an ended session leads to the sign-in form.

    Logs and audit know what happens inside by one id.
    """
    with rerun_id():
        try:
            yield
        except SessionEnded:
            st.rerun(scope="app")
        except FedcostError as error:
            show_error(error)
        except Exception as error:
            show_failure(error)


def acting(
    permission: Permission,
    *,
    action: str | None = None,
) -> Callable[
    [Callable[Concatenate[Actor, Arguments], Result]],
    Callable[Arguments, Result | None],
]:
    """Make a function of an actor into one that acts for the person signed in at this moment.

    Fragments and callbacks run without the entry script, so each asks the database again: an ended session or
    a changed role takes effect at the next tick. A refusal is kept in the audit, as `action` or as the function
    that asked. The decorated function returns None where an error was shown.
    """

    def decorate(
        function: Callable[Concatenate[Actor, Arguments], Result],
    ) -> Callable[Arguments, Result | None]:
        @functools.wraps(function)
        def act(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
            result: Result | None = None
            with errors_shown():
                actor = current_actor()
                with _refusals_kept(actor, action or _where(function)):
                    actor.require(permission)
                    result = function(actor, *args, **kwargs)
            return result

        return act

    return decorate


@contextmanager
def _refusals_kept(actor: Actor, action: str) -> Iterator[None]:
    try:
        yield
    except PermissionRefused:
        refusals: dict[str, float] = st.session_state.setdefault(_REFUSALS, {})
        now = time.monotonic()
        if now - refusals.get(action, -SAME_REFUSAL_WITHIN) >= SAME_REFUSAL_WITHIN:
            refusals[action] = now
            audit.record_refusal(actor=actor, action=action)
        raise


def _where(function: Callable[..., object]) -> str:
    # A page runs as `__main__`; its file says which one it is.
    file = Path(inspect.unwrap(function).__code__.co_filename)
    return f"{file.parent.name}/{file.name} {function.__name__}"
