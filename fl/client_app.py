"""The ClientApp of a Site: one handler for each kind of message; keeps nothing between messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from sqlalchemy.exc import SQLAlchemyError

from db.logs import described
from fl import site_cohort, site_shadow, site_work
from fl.messages import answer, body_of
from fl.site_consent import check_consent
from fl.site_presence import presence

app = ClientApp()
log = logging.getLogger(__name__)


def _answered(
    phase: str, work: Callable[[dict[str, Any], str], dict[str, Any]], message: Message, context: Context
) -> Message:
    """Do the work of one phase; whatever goes wrong is answered with a reason and without data."""
    started = time.perf_counter()
    institution = str(context.node_config["institution"])
    outcome, reason, fields = "ok", "", {}
    of: dict[str, Any] = {}
    fault: Exception | None = None
    try:
        body = body_of(message)
        said = {"run_id": body.get("run_id"), "round": body.get("round_number")}
        of = {name: value for name, value in said.items() if value}
        if phase != "presence":
            check_consent(body)
        fields = work(body, institution)
    except site_work.SatOut as sat_out:
        outcome, reason = "excluded", str(sat_out)
    except SQLAlchemyError as error:
        fault = error
        outcome, reason = "failed", "The hospital's database did not answer."
    except (KeyError, TypeError, ValueError, FloatingPointError) as error:
        fault = error
        outcome, reason = (
            "failed",
            "The hospital could not read the request; its software may be of another version.",
        )
    seconds = time.perf_counter() - started
    if phase != "presence" or fault is not None:  # that is asked every few seconds
        _log_answer({**of, "phase": phase, "milliseconds": round(1000 * seconds)}, outcome, fault)
    every = {"institution": institution, "outcome": outcome, "reason": reason, "seconds": seconds}
    return answer(phase, {**every, **fields}, reply_to=message)


def _log_answer(of: dict[str, Any], outcome: str, fault: Exception | None) -> None:
    # Its text is left out here: Flower's own process writes what it is given.
    extra = {**of, **({"exception": described(fault)} if fault else {})}
    log.log(logging.WARNING if fault else logging.INFO, "answered: %s", outcome, extra=extra)


@app.query()
def statistics(message: Message, context: Context) -> Message:
    """Answer count, sums and sums of squares of the training rows."""
    return _answered("statistics", site_work.statistics, message, context)


@app.query("presence")
def tell_presence(message: Message, context: Context) -> Message:
    """Answer that the Site is there, with how much data and which software."""
    return _answered("presence", presence, message, context)


@app.query("cohort")
def cohort(message: Message, context: Context) -> Message:
    """Answer what the patients are like: counts, means and spreads."""
    return _answered("cohort", site_cohort.cohort, message, context)


@app.query("shadow")
def shadow(message: Message, context: Context) -> Message:
    """Answer sums of errors of the version in use and of the shadow on patients whose cost became known."""
    return _answered("shadow", site_shadow.shadow, message, context)


@app.train()
def train_round(message: Message, context: Context) -> Message:
    """Evaluate the received model on the held-out rows, then train it on the others."""
    return _answered("train", site_work.train_round, message, context)


@app.evaluate()
def evaluate_models(message: Message, context: Context) -> Message:
    """Evaluate one or more models on the held-out rows."""
    return _answered("evaluate", site_work.evaluate_models, message, context)
