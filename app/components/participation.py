"""Who took part in a Run: one line an institution, from what every Site sent in every Round and phase."""

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


class Answer(Protocol):
    """What one Site sent in one Round and phase, or why it sent nothing."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def round_number(self) -> int: ...
    @property
    def outcome(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
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


def shares(answers: Iterable[Answer]) -> list[SiteShare]:
    """Summarise all answers of a Run, one line an institution in the order of their codes."""
    by_code: dict[str, list[Answer]] = {}
    for answer in answers:
        by_code.setdefault(answer.code, []).append(answer)
    rounds = {
        answer.round_number for each in by_code.values() for answer in each if answer.phase == Phase.TRAIN
    }
    return [_share(code, by_code[code], rounds) for code in sorted(by_code)]


def _share(code: str, answers: list[Answer], rounds: set[int]) -> SiteShare:
    trained = [answer for answer in answers if answer.phase == Phase.TRAIN]
    # The last Round may still be waiting for this Site; that is no absence.
    answered = {answer.round_number for answer in trained}
    num_rounds = len(answered | {number for number in rounds if number < max(rounds)})
    used = [answer for answer in trained if answer.outcome == SiteOutcome.OK]
    evaluated = [
        answer for answer in answers if answer.phase == Phase.EVALUATE and answer.outcome == SiteOutcome.OK
    ]
    troubles = [answer for answer in answers if answer.outcome != SiteOutcome.OK]
    if not num_rounds and not troubles:
        took_part = "Joined"
    elif not used:
        took_part = OUTCOME_NAMES[troubles[-1].outcome] if troubles else "Not yet"
    elif len(used) == num_rounds:
        took_part = "Yes, " + ("the only round" if num_rounds == 1 else f"all {count(num_rounds, 'round')}")
    else:
        took_part = f"{len(used)} of {count(num_rounds, 'round')}"
    return SiteShare(
        code=code,
        name=answers[0].name,
        took_part=took_part,
        training_rows=used[-1].num_examples if used else None,
        held_out_rows=evaluated[-1].num_examples if evaluated else None,
        reason=_reasons(troubles),
    )


def _reasons(troubles: list[Answer]) -> str:
    rounds_of: dict[str, list[int]] = {}
    for answer in troubles:
        rounds = rounds_of.setdefault(answer.reason or OUTCOME_NAMES[answer.outcome], [])
        if answer.round_number and answer.round_number not in rounds:
            rounds.append(answer.round_number)
    sentences = []
    for reason, rounds in rounds_of.items():
        if not rounds:
            sentences.append(reason)
        elif len(rounds) == 1:
            sentences.append(f"Round {rounds[0]}: {reason}")
        else:
            sentences.append(f"Rounds {', '.join(map(str, rounds))}: {reason}")
    return " ".join(sentences)
