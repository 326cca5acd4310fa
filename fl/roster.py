"""Which SuperNode speaks for which institution during a Run, and what each of them sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from db.states import Phase, SiteOutcome
from fl.exchange import Answer, ask
from fl.messages import outgoing
from fl.recorder import RunPlan, RunRecorder

log = logging.getLogger(__name__)
NOT_CONNECTED = "This hospital is not connected to the consortium at the moment."


class RunFailed(Exception):
    """The Run cannot go on; the message is the reason that people read."""


@dataclass
class Roster:
    """Asks the connected Sites and records what each answered or did not."""

    grid: Grid
    plan: RunPlan
    recorder: RunRecorder
    institution_of: dict[int, str] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)

    def messages(
        self,
        fields: Mapping[str, Any],
        message_type: str,
        round_number: int = 0,
        for_site: Callable[[str], Mapping[str, Any]] = lambda code: {},
    ) -> list[Message]:
        """Make one message for every connected Site that was not dropped.

        Parameters
        ----------
        fields
            What every message holds besides what it says of the Run.
        for_site
            What the message to the institution of this code holds besides; a Site that has not answered in this Run
            yet is told only `fields`.
        """
        fields = {**_of_the_run(self.plan), **fields}
        common = outgoing(fields)
        messages = []
        for node_id in self._connected():
            code = self.institution_of.get(node_id)
            own = for_site(code) if code else {}
            content = outgoing({**fields, **own}) if own else common
            messages.append(
                Message(content, dst_node_id=node_id, message_type=message_type, group_id=str(round_number))
            )
        return messages

    def _connected(self) -> list[int]:
        return sorted(node_id for node_id in self.grid.get_node_ids() if node_id not in self.dropped)

    def wait_for_sites(self) -> None:
        """Wait until enough SuperNodes are connected, not for ever as Flower's own sampling does."""
        needed, deadline = self.plan.settings.min_sites, time.monotonic() + self.plan.settings.join_time_limit
        while len(connected := self._connected()) < needed:
            if time.monotonic() > deadline:
                raise RunFailed(
                    f"Only {len(connected)} of the at least {needed} hospitals needed were connected "
                    f"within {self.plan.settings.join_time_limit:g} seconds. "
                    "See that the hospitals' sites are running, then start again."
                )
            self.recorder.check_cancelled()
            time.sleep(0.2)

    def ask_all(
        self,
        phase: Phase,
        round_number: int,
        messages: Sequence[Message],
        read: Callable[[Answer], dict[str, Any]],
        accepted: Callable[[str, Answer], None],
    ) -> None:
        """Ask the Sites that the messages are for, once each.

        Parameters
        ----------
        read
            Checks an `ok` answer and returns the columns of its `site_results` row; a ValueError is the reason to
            reject it.
        accepted
            Called with the institution's code for every answer that passed, after it was recorded.

        Raises
        ------
        RunFailed
            If fewer Sites than the minimum were accepted.
        """
        answered: set[str] = set()
        usable: set[str] = set()

        def on_answer(answer: Answer) -> None:
            code = answer.institution or self.institution_of.get(answer.node_id)
            if code is None or code not in self.plan.institutions or code in answered:
                log.warning("answer of SuperNode %s is of no expected institution", answer.node_id)
                if code is not None and code not in self.plan.institutions:
                    self.dropped.add(answer.node_id)  # deactivated or unknown: not asked again
                return
            answered.add(code)
            self.institution_of[answer.node_id] = code
            outcome, reason, columns = SiteOutcome(answer.outcome), answer.reason, {}
            if outcome is SiteOutcome.OK:
                try:
                    columns = read(answer)
                except (KeyError, TypeError, ValueError) as problem:
                    outcome, reason = SiteOutcome.FAILED, f"The answer was rejected: {problem}."
            self._record(phase, round_number, code, outcome, reason, answer, columns)
            if outcome is SiteOutcome.OK:
                usable.add(code)
                accepted(code, answer)

        settings = self.plan.settings
        late = ask(
            self.grid,
            messages,
            time_limit=settings.round_time_limit,
            on_answer=on_answer,
            check=self.recorder.check_cancelled,
        )
        for node_id in late:
            self.dropped.add(node_id)
            code = self.institution_of.get(node_id)
            if code and code not in answered:
                answered.add(code)
                reason = f"No answer within {settings.round_time_limit:g} seconds."
                self._record(
                    phase,
                    round_number,
                    code,
                    SiteOutcome.LATE,
                    reason,
                    Answer(node_id, code, "failed", ""),
                    {},
                )
        for code in self.plan.institutions.keys() - answered:
            nobody = Answer(0, code, "failed", NOT_CONNECTED)
            self._record(phase, round_number, code, SiteOutcome.FAILED, NOT_CONNECTED, nobody, {})
        if len(usable) < settings.min_sites:
            raise RunFailed(
                f"{len(usable)} of {len(self.plan.institutions)} hospitals gave a usable answer "
                f"{_when(phase, round_number)}; at least {settings.min_sites} are needed. "
                "The table of hospitals shows the reason of each."
            )

    def _record(
        self,
        phase: Phase,
        round_number: int,
        code: str,
        outcome: SiteOutcome,
        reason: str,
        answer: Answer,
        columns: dict[str, Any],
    ) -> None:
        self.recorder.site_result(
            round_number,
            phase,
            self.plan.institutions[code],
            outcome,
            reason=reason or None,
            seconds=answer.seconds,
            flwr_node_id=str(answer.node_id) if answer.node_id else None,
            **columns,
        )


def _of_the_run(plan: RunPlan) -> dict[str, Any]:
    """Return what every message says of its Run: the Sites' administrators approve it, see `fl.site_consent`."""
    return {
        "run_id": plan.run_id,
        "kind": plan.kind.value,
        "num_rounds": plan.num_rounds,
        "strategy": plan.strategy,
    }


def _when(phase: Phase, round_number: int) -> str:
    if phase is Phase.STATISTICS:
        return "to the request for statistics"
    return f"in round {round_number}" if phase is Phase.TRAIN else "to the request for evaluation"
