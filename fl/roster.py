"""Which SuperNode speaks for which institution during a Run, whom to ask, and what each of them sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from db.states import EventSeverity, Phase, SiteOutcome
from fl.asking import WAITING_FOR_APPROVAL, Asking, Outcome, Place
from fl.exchange import Answer, Exchange
from fl.messages import outgoing
from fl.plan import RunPlan
from fl.recorder import RunRecorder
from fl.site_binding import SiteBinding

NOT_CONNECTED = "This hospital is not connected to the consortium at the moment."
AGAIN_SECONDS = 2.0  # between two requests to a Site that is to be asked again
LOOK_SECONDS = 0.2


class RunFailed(Exception):
    """The Run cannot go on; the message is the reason that people read."""


@dataclass
class Roster:
    """Asks the connected Sites and records what each answered or did not.

    Attributes
    ----------
    binding
        Which institution a SuperNode answers for; one without a registered key is not asked.
    key_holders
        Id of a SuperNode -> code of the institution whose key it has, of all that were connected so far.
    institution_of
        The same, of those that have answered in this Run.
    dropped
        Codes of the institutions that are not asked any more.
    sat_out
        Codes of the institutions whose Site sat out the last time that it was asked.
    """

    grid: Grid
    plan: RunPlan
    recorder: RunRecorder
    binding: SiteBinding
    key_holders: dict[int, str] = field(default_factory=dict)
    institution_of: dict[int, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    sat_out: set[str] = field(default_factory=set)
    _dropped_nodes: set[int] = field(default_factory=set)
    _told: dict[str, str] = field(default_factory=dict)  # code -> the last reason that was told as an event

    def messages(
        self,
        fields: Mapping[str, Any],
        message_type: str,
        round_number: int = 0,
        for_site: Callable[[str], Mapping[str, Any]] = lambda code: {},
        sites: Collection[str] | None = None,
        nodes: Collection[int] | None = None,
    ) -> list[Message]:
        """Make one message for every connected Site that is to be asked.

        Parameters
        ----------
        fields
            What every message holds besides what a hospital decides by: the Run, its kind and its settings.
        for_site
            What the message to the institution of this code holds besides; a Site that has not answered in this Run
            yet is told only `fields`.
        sites
            Codes of the institutions to ask; None asks all. A SuperNode that has not answered yet is asked in
            either case: it speaks for a Site that has just come back.
        nodes
            Ids of the SuperNodes to ask; None asks all.
        """
        every = {**self._run_fields(), **fields}
        common = outgoing(every)
        messages = []
        for node_id in self._connected():
            code = self.institution_of.get(node_id)
            if (nodes is not None and node_id not in nodes) or (
                sites is not None and code and code not in sites
            ):
                continue
            own = for_site(code) if code else {}
            content = outgoing({**every, **own}) if own else common
            messages.append(
                Message(content, dst_node_id=node_id, message_type=message_type, group_id=str(round_number))
            )
        return messages

    def _run_fields(self) -> dict[str, Any]:
        return {
            "run_id": self.plan.run_id,
            "kind": str(self.plan.kind),
            "num_rounds": self.plan.num_rounds,
            "strategy": self.plan.strategy,
            "settings": json.dumps(self.plan.settings.to_json()),
        }

    def _connected(self) -> list[int]:
        holders = self.binding.institutions_of(list(self.grid.get_node_ids()))
        self.key_holders |= holders
        return sorted(
            node_id
            for node_id in holders
            if node_id not in self._dropped_nodes and self.institution_of.get(node_id) not in self.dropped
        )

    def nodes_of(self, codes: Collection[str]) -> list[int]:
        """Return the ids of the connected SuperNodes that are known to speak for these institutions."""
        return [node_id for node_id in self._connected() if self.institution_of.get(node_id) in codes]

    def present(self) -> set[str]:
        """Return the codes of the institutions that are connected, are known, and did not sit out."""
        codes = {
            self.institution_of[node_id] for node_id in self._connected() if node_id in self.institution_of
        }
        return codes - self.sat_out

    def everybody(self) -> set[str]:
        """Return the codes of all institutions that were not dropped."""
        return set(self.plan.institutions) - self.dropped

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
            time.sleep(LOOK_SECONDS)

    def ask_all(
        self,
        phase: Phase,
        round_number: int,
        messages: Sequence[Message],
        read: Callable[[Answer], dict[str, Any] | None],
        accepted: Callable[[str, Answer], None],
        *,
        expected: Collection[str] | None = None,
        needed: int | None = None,
        place: Callable[[str], Place] | None = None,
        again: Callable[[Collection[int]], Sequence[Message]] | None = None,
        judge: Callable[[], Mapping[str, str]] = dict,
    ) -> set[str]:
        """Ask the Sites that the messages are for, and deal with those that are late or fail as the Run's settings say.

        Parameters
        ----------
        read
            Checks an `ok` answer and returns the columns of its `site_results` row, or None if `accepted` writes it;
            a ValueError is the reason to reject it.
        accepted
            Called with the institution's code for every answer that passed, after it was recorded.
        expected
            Codes of the institutions that owe an answer; all by default.
        needed
            Fewest usable answers; by default what the settings say of this phase.
        place
            Code -> phase and Round under which its row is recorded; by default the two given here.
        again
            Makes the messages for SuperNodes that are asked once more; by default the same messages.
        judge
            Called when all answers are in: code -> reason of accepted answers that are rejected after all.

        Returns
        -------
        set of str
            Codes of the institutions whose answers are usable.

        Raises
        ------
        RunFailed
            If there are fewer of them than needed, or a Site failed and the Run is to end then.
        """
        settings = self.plan.settings
        owed = self.everybody() if expected is None else set(expected)
        where = place or (lambda code: (phase, round_number))
        asking = Asking(
            self.institution_of,
            self.everybody(),
            read,
            accepted,
            lambda code, outcome, columns: self._record(where(code), code, outcome, columns),
            self._asked_again,
        )
        exchange = Exchange(self.grid, self.key_holders, asking.on_answer, self.recorder.check_cancelled)
        exchange.send(messages)
        exchange.collect(settings.round_time_limit)
        seconds = settings.round_time_limit
        if settings.late_policy == "wait" and exchange.waiting:
            self._tell_of_waiting(exchange.waiting, round_number)
            exchange.collect(settings.round_time_limit)
            seconds *= 2
        self._ask_again(asking, again or (lambda nodes: _copies(messages, nodes)))
        asking.close_all(owed, exchange.waiting, seconds, NOT_CONNECTED)
        self._dropped_nodes |= asking.strangers  # no model is sent to those of no institution of this Run
        for code, reason in judge().items():
            asking.reject(code, reason)
            self.recorder.reject_update(round_number, self.plan.institutions[code], reason)
        self._tell(asking, round_number)
        self._apply_late_policy(asking, exchange.waiting, phase, round_number)
        self.require(
            phase, round_number, len(asking.usable), _needed(phase, self.plan) if needed is None else needed
        )
        return asking.usable

    def require(self, phase: Phase, round_number: int, usable: int, needed: int) -> None:
        """Raise `RunFailed` if fewer Sites gave a usable answer than are needed."""
        if usable < needed:
            raise RunFailed(
                f"{usable} of {len(self.plan.institutions)} hospitals gave a usable answer "
                f"{_when(phase, round_number)}; at least {needed} are needed. "
                "The table of hospitals shows the reason of each."
            )

    def _asked_again(self, outcome: Outcome) -> bool:
        """Tell whether there is reason to ask a Site again."""
        return self._patience(outcome) > 0

    def _patience(self, outcome: Outcome) -> float:
        """Return for how many seconds a Site is asked again and again."""
        settings = self.plan.settings
        if outcome.outcome is SiteOutcome.EXCLUDED:
            return settings.approval_time_limit if outcome.reason.startswith(WAITING_FOR_APPROVAL) else 0.0
        return settings.round_time_limit if settings.late_policy == "wait" else 0.0

    def _ask_again(self, asking: Asking, again: Callable[[Collection[int]], Sequence[Message]]) -> None:
        """Ask Sites again that wait for approval, or that failed in a Run that waits, until their time is over."""
        begun = time.monotonic()
        for code, outcome in sorted(asking.open.items()):
            self.recorder.event(
                f"{code} is asked again for up to {self._patience(outcome):g} seconds. {outcome.reason}",
                institution_id=self.plan.institutions[code],
            )
        while True:
            elapsed = time.monotonic() - begun
            wanted = {code for code, outcome in asking.open.items() if elapsed < self._patience(outcome)}
            if not wanted:
                return
            self.recorder.check_cancelled()
            time.sleep(AGAIN_SECONDS)
            nodes = [
                node_id
                for node_id in self._connected()
                if self.institution_of.get(node_id) in wanted or node_id not in self.institution_of
            ]
            exchange = Exchange(self.grid, self.key_holders, asking.on_answer, self.recorder.check_cancelled)
            exchange.send(again(nodes))
            longest = max(self._patience(outcome) for outcome in asking.open.values()) - elapsed
            exchange.collect(min(self.plan.settings.round_time_limit, max(longest, 0.0)))

    def _tell(self, asking: Asking, round_number: int) -> None:
        """Tell what kept a Site from taking part, once for as long as it stays the same, and that it is back."""
        for code, outcome in sorted(asking.unusable.items()):
            if outcome.outcome is SiteOutcome.EXCLUDED:
                self.sat_out.add(code)
            if self._told.get(code) != outcome.reason:
                self._told[code] = outcome.reason
                self._event(
                    f"{_during(round_number)}{code} does not take part. {outcome.reason}", round_number, code
                )
        for code in sorted(asking.usable):
            self.sat_out.discard(code)
            if self._told.pop(code, None):
                self._event(f"{_during(round_number)}{code} takes part again.", round_number, code)

    def _tell_of_waiting(self, waiting: Sequence[int], round_number: int) -> None:
        for node_id in waiting:
            code = self.institution_of.get(node_id)
            if code:
                limit = self.plan.settings.round_time_limit
                late = f"{code} has not answered within {limit:g} seconds; the run waits once more as long."
                self._event(f"{_during(round_number)}{late}", round_number, code)

    def _apply_late_policy(
        self, asking: Asking, late: Sequence[int], phase: Phase, round_number: int
    ) -> None:
        policy = self.plan.settings.late_policy
        failed = {
            code: outcome.reason
            for code, outcome in sorted(asking.unusable.items())
            if outcome.outcome is not SiteOutcome.EXCLUDED
        }
        if policy == "drop":
            self._dropped_nodes |= set(late)
            self.dropped |= failed.keys()
            for code in failed:
                self._event(f"{code} is not asked again in this run.", round_number, code)
        taking_part = {
            code: reason for code, reason in failed.items() if code in self.institution_of.values()
        }
        if policy == "end" and taking_part:
            code, reason = next(iter(taking_part.items()))
            raise RunFailed(
                f"{code} gave no usable answer {_when(phase, round_number)}, and this run is set to end then. {reason}"
            )

    def _event(self, message: str, round_number: int, code: str) -> None:
        self.recorder.event(
            message,
            severity=EventSeverity.WARNING,
            round_number=round_number or None,
            institution_id=self.plan.institutions[code],
        )

    def _record(self, place: Place, code: str, outcome: Outcome, columns: dict[str, Any]) -> None:
        phase, round_number = place
        answer = outcome.answer
        self.recorder.site_result(
            round_number,
            phase,
            self.plan.institutions[code],
            outcome.outcome,
            reason=outcome.reason or None,
            seconds=answer.seconds,
            flwr_node_id=str(answer.node_id) if answer.node_id else None,
            **columns,
        )


def _copies(messages: Sequence[Message], nodes: Collection[int]) -> list[Message]:
    return [
        Message(
            message.content,
            dst_node_id=message.metadata.dst_node_id,
            message_type=message.metadata.message_type,
            group_id=message.metadata.group_id,
        )
        for message in messages
        if message.metadata.dst_node_id in nodes
    ]


def _needed(phase: Phase, plan: RunPlan) -> int:
    settings = plan.settings
    by_phase = {Phase.STATISTICS: settings.min_sites_statistics, Phase.EVALUATE: settings.min_sites_evaluate}
    return by_phase.get(phase, settings.min_sites)


def _during(round_number: int) -> str:
    return f"Round {round_number}: " if round_number else ""


def _when(phase: Phase, round_number: int) -> str:
    by_phase = {
        Phase.STATISTICS: "to the request for statistics",
        Phase.EVALUATE: "to the request for evaluation",
        Phase.TRAIN: f"in round {round_number}",
    }
    return by_phase.get(phase, "to the question")
