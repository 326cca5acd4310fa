"""A Run of kind cohort: what the patients of the Sites are like, in one message and before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from db.states import EventSeverity, Phase, RunStatus
from fl.cohort_summary import CohortSummary, pool, summary_from_arrays
from fl.cohort_warnings import warnings_of
from fl.exchange import Answer
from fl.messages import array_of
from fl.roster import Roster

MESSAGE_TYPE = "query.cohort"


def conduct_cohort(roster: Roster) -> None:
    """Ask for the summaries, compare them, record them with what is to be looked at."""
    plan, recorder = roster.plan, roster.recorder
    recorder.enter(RunStatus.STATISTICS)
    sites: dict[str, CohortSummary] = {}

    def accept(code: str, answer: Answer) -> None:
        sites[code] = _summary(answer.body)

    roster.ask_all(
        Phase.COHORT,
        0,
        roster.messages({}, MESSAGE_TYPE),
        read=lambda answer: {"num_examples": _summary(answer.body).count},
        accepted=accept,
        needed=plan.settings.min_sites_statistics,
    )
    in_order = {code: sites[code] for code in sorted(sites)}  # a sum of floats depends on the order
    warnings = warnings_of(in_order)
    for warning in warnings:
        recorder.event(
            f"{warning.institution}: {warning.message}",
            severity=EventSeverity.WARNING,
            institution_id=plan.institutions[warning.institution],
        )
    recorder.save_result(
        "cohort",
        {
            "institutions": {code: site.to_json() for code, site in in_order.items()},
            "pooled": pool(list(in_order.values())).to_json(),
            "warnings": [asdict(warning) for warning in warnings],
        },
    )
    recorder.finish()


def _summary(body: Mapping[str, Any]) -> CohortSummary:
    return summary_from_arrays(
        int(body["num_examples"]), array_of(body["counts"], "<i8"), array_of(body["averages"], "<f8")
    )
