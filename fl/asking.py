"""One question to the Sites while it is asked: who answered, whose answer is usable, and what is still open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from db.states import Phase, SiteOutcome
from fl.exchange import Answer

log = logging.getLogger(__name__)
WAITING_FOR_APPROVAL = "Waiting for approval"  # so a Site's reason begins that has not been allowed yet

# Phase and number of the Round under which a Site's answer is recorded.
Place = tuple[Phase, int]


@dataclass(frozen=True)
class Outcome:
    """How one Site answered, and why its answer is not usable."""

    outcome: SiteOutcome
    reason: str
    answer: Answer


@dataclass
class Asking:
    """Sorts the answers to one question.

    Attributes
    ----------
    institution_of
        Id of a SuperNode -> code of the institution that it speaks for; completed by those that answer.
    read
        Checks an `ok` answer and returns the columns of its row, or None if `accepted` records it; a ValueError is
        the reason to reject it.
    accepted
        Called with the institution's code for every answer that passed.
    record
        Called with code, outcome and columns of everything that is to be recorded.
    may_improve
        Tells of an answer that is not usable whether the Site is asked again; such an outcome stays open.
    usable
        Codes whose answer was accepted.
    unusable
        Code -> how each of the others ended.
    open
        Code -> the last answer of a Site that is to be asked again.
    strangers
        Ids of SuperNodes that speak for no institution that may answer, for example a deactivated one.
    """

    institution_of: dict[int, str]
    may_answer: Collection[str]
    read: Callable[[Answer], dict[str, Any] | None]
    accepted: Callable[[str, Answer], None]
    record: Callable[[str, Outcome, dict[str, Any]], None]
    may_improve: Callable[[Outcome], bool]
    usable: set[str] = field(default_factory=set)
    unusable: dict[str, Outcome] = field(default_factory=dict)
    open: dict[str, Outcome] = field(default_factory=dict)
    strangers: set[int] = field(default_factory=set)

    def on_answer(self, answer: Answer) -> None:
        """Take one answer; the first that counts of an institution stands."""
        code = answer.institution
        if code not in self.may_answer:
            self.strangers.add(answer.node_id)
        if code not in self.may_answer or code in self.usable or code in self.unusable:
            log.warning("answer of SuperNode %s is of no expected institution", answer.node_id)
            return
        self.institution_of[answer.node_id] = code
        outcome = SiteOutcome(answer.outcome)
        if outcome is not SiteOutcome.OK:
            self._not_usable(code, Outcome(outcome, answer.reason, answer))
            return
        try:
            columns = self.read(answer)
        except (KeyError, TypeError, ValueError, OverflowError) as problem:
            self.close(code, Outcome(SiteOutcome.FAILED, f"The answer was rejected: {problem}.", answer))
            return
        self.open.pop(code, None)
        self.usable.add(code)
        if columns is not None:
            self.record(code, Outcome(outcome, answer.reason, answer), columns)
        self.accepted(code, answer)

    def _not_usable(self, code: str, outcome: Outcome) -> None:
        if self.may_improve(outcome):
            self.open[code] = outcome
        else:
            self.close(code, outcome)

    def close(self, code: str, outcome: Outcome) -> None:
        """Record why a Site's answer is not usable; nothing more is expected of it."""
        self.open.pop(code, None)
        self.unusable[code] = outcome
        self.record(code, outcome, {})

    def close_all(
        self, expected: Collection[str], late: Collection[int], seconds: float, absent: str
    ) -> None:
        """Close what is open: Sites to be asked again, Sites that are late, and Sites that were never there."""
        for code, outcome in list(self.open.items()):
            self.close(code, outcome)
        for node_id in late:
            speaks_for = self.institution_of.get(node_id)
            if speaks_for in set(self.may_answer) - self.usable - self.unusable.keys():
                reason = f"No answer within {seconds:g} seconds."
                answer = Answer(node_id, speaks_for, "failed", "")
                self.close(speaks_for, Outcome(SiteOutcome.LATE, reason, answer))
        for code in sorted(set(expected) - self.usable - self.unusable.keys()):
            self.close(code, Outcome(SiteOutcome.FAILED, absent, Answer(0, code, "failed", absent)))

    def reject(self, code: str, reason: str) -> None:
        """Take an accepted answer back."""
        self.usable.discard(code)
        self.unusable[code] = Outcome(SiteOutcome.FAILED, reason, Answer(0, code, "failed", reason))
