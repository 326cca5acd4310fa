"""Mistakes that a person can make, each a class with the sentence that the page shows and the API sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fl.features import FieldProblem

if TYPE_CHECKING:
    from db.site import Patient


class FedcostError(Exception):
    """Base of every error whose message is meant to be read by the person who caused it."""


class SignInRefused(FedcostError):
    """The e-mail address or the password is wrong, or the account is switched off or locked."""


class SessionEnded(FedcostError):
    """The session or token is missing, ended or no longer valid; signing in again helps."""


class PermissionRefused(FedcostError):
    """The person's role does not include this."""


class NotFound(FedcostError):
    """There is nothing of that id that this person may know of."""


class Conflict(FedcostError):
    """The request does not fit the present state, for example a cancel of an ended Run."""


class NoModelYet(Conflict):
    """A prediction was asked for before any model was trained."""

    def __init__(self) -> None:
        super().__init__(
            "No model has been trained yet. An administrator starts the first training on the Training page."
        )


@dataclass(frozen=True)
class FieldDifference:
    """One field of a record that two people want to be different.

    Attributes
    ----------
    field, label
        The column's name, and what a clinician reads.
    theirs
        What the record holds now.
    yours
        What the refused edit wanted; both in the column's own type, None for an unknown cost.
    """

    field: str
    label: str
    theirs: Any
    yours: Any


class PatientChanged(Conflict):
    """Somebody changed the patient since the editor opened the record; nothing was overwritten.

    Attributes
    ----------
    current
        The patient as the record is now, belonging to no session; editing again with its `row_version`
        overwrites it knowingly.
    differences
        Every field in which the refused edit differs from the record now; empty if it was to be deleted.
    """

    def __init__(self, current: Patient, differences: Sequence[FieldDifference] = ()) -> None:
        self.current = current
        self.differences = tuple(differences)
        super().__init__(
            "Somebody else changed this patient while you were editing. Nothing was overwritten: compare "
            "both versions and choose."
        )


class PreconditionMissing(FedcostError):
    """A change was asked for without saying which state of the record it was decided on."""


class RequestUnderWay(Conflict):
    """The same request came before and has not been answered yet."""


class AlreadyDone(Conflict):
    """The same request was carried out before, and what was answered then is not kept."""


class KeyUsedOtherwise(FedcostError):
    """A key that stands for one request came with another one."""


class TooManyRequests(FedcostError):
    """More requests came than are accepted; `headers` say when to go on.

    Attributes
    ----------
    headers
        Retry-After in seconds, RateLimit and RateLimit-Policy.
    """

    def __init__(self, sentence: str, headers: dict[str, str]) -> None:
        self.headers = headers
        super().__init__(sentence)


class DatabaseUnavailable(FedcostError):
    """A database does not answer; `connection_lost` if it did, and went away in the middle."""

    connection_lost = False


class CentralUnavailable(DatabaseUnavailable):
    """The consortium's database does not answer."""


class SiteUnavailable(DatabaseUnavailable):
    """This process has no database of that institution, or it does not answer."""


class InvalidInput(FedcostError):
    """One or more fields are wrong; `problems` names each field with a sentence."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problem.message for problem in self.problems))
