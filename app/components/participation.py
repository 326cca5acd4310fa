"""Who took part in a Run: one line an institution, from how often every Site answered in which way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from app.components.formats import count
from db.states import Phase, SiteOutcome

OUTCOME_NAMES: dict[str, str] = {
    SiteOutcome.OK: "Used",
    SiteOutcome.EXCLUDED: "Sat out",
    SiteOutcome.FAILED: "Failed",
    SiteOutcome.LATE: "Too late",
}


class Answers(Protocol):
    """How often one Site answered in one way; `rounds` names some of the Rounds, 0 is the statistics."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def count(self) -> int: ...
    @property
    def rounds(self) -> list[int]: ...
    @property
    def num_examples(self) -> int | None: ...


@dataclass(frozen=True)
class SiteShare:
    """One institution's part in a Run."""

    code: str
    name: str
    took_part: str
    training_rows: int | None
    held_out_rows: int | None
    reason: str


def shares(answers: Iterable[Answers], rounds: int) -> list[SiteShare]:
    """Summarise all answers of a Run, one line an institution in the order of their codes.

    Parameters
    ----------
    answers
        The last answer of each kind last.
    rounds
        Rounds that have been aggregated; one that still waits for a Site is no absence.
    """
    by_code: dict[str, list[Answers]] = {}
    for answer in answers:
        by_code.setdefault(answer.code, []).append(answer)
    return [_share(code, by_code[code], rounds) for code in sorted(by_code)]


def _share(code: str, answers: list[Answers], rounds: int) -> SiteShare:
    trained = [answer for answer in answers if answer.phase == Phase.TRAIN]
    num_rounds = max(rounds, sum(answer.count for answer in trained))
    used = [answer for answer in trained if answer.outcome == SiteOutcome.OK]
    num_used = sum(answer.count for answer in used)
    evaluated = [
        answer for answer in answers if answer.phase == Phase.EVALUATE and answer.outcome == SiteOutcome.OK
    ]
    troubles = [answer for answer in answers if answer.outcome != SiteOutcome.OK]
    if not num_rounds and not troubles:
        took_part = "Joined"
    elif not num_used:
        took_part = OUTCOME_NAMES[troubles[-1].outcome] if troubles else "Not yet"
    elif num_used == num_rounds:
        took_part = "Yes, " + ("the only round" if num_rounds == 1 else f"all {count(num_rounds, 'round')}")
    else:
        took_part = f"{num_used:,} of {count(num_rounds, 'round')}"
    return SiteShare(
        code=code,
        name=answers[0].name,
        took_part=took_part,
        training_rows=used[-1].num_examples if used else None,
        held_out_rows=evaluated[-1].num_examples if evaluated else None,
        reason=_reasons(troubles),
    )


def _reasons(troubles: list[Answers]) -> str:
    rounds_of: dict[str, set[int]] = {}
    most: dict[str, int] = {}
    for answer in troubles:
        reason = answer.reason or OUTCOME_NAMES[answer.outcome]
        rounds_of.setdefault(reason, set()).update(number for number in answer.rounds if number)
        # Training and evaluation of one Round fail together; that is one Round.
        most[reason] = max(most.get(reason, 0), answer.count)
    sentences = []
    for reason, rounds in rounds_of.items():
        named = ", ".join(str(number) for number in sorted(rounds))
        unnamed = most[reason] - len(rounds)
        if not rounds:
            sentences.append(reason)
        elif len(rounds) == 1 and unnamed <= 0:
            sentences.append(f"Round {named}: {reason}")
        else:
            more = f" and {count(unnamed)} more" if unnamed > 0 else ""
            sentences.append(f"Rounds {named}{more}: {reason}")
    return " ".join(sentences)
