"""Which new passwords are accepted: long, not among the common ones, and not what everybody knows of the person."""

from __future__ import annotations

from collections.abc import Iterator

from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.auth.passwords import LONGEST_PASSWORD
from app.errors import InvalidInput
from app.settings import DEMO_PASSWORD
from db.central import MedicalWorker
from fl.features import FieldProblem

SHORTEST_PASSWORD = 12  # characters
FIELD = "new_password"
_COMMON = frozenset(FREQUENCY_LISTS["passwords"])
# Of zxcvbn's scores from 0 to 4: from here on it takes more than 10^8 guesses.
_HARD_ENOUGH = 3
_SHORTEST_WORD = 4  # letters; shorter parts of a name stand in other words too
RULES = (
    f"At least {SHORTEST_PASSWORD} characters; several words are easier to remember than signs. Not your name, "
    "e-mail address or hospital, and nothing that many people use."
)


def check_new_password(password: str, *, worker: MedicalWorker) -> None:
    """Return if the Worker may have this password.

    Raises
    ------
    InvalidInput
        With a sentence that says what is wrong and never what was typed.
    """
    plain = password.strip()
    sentence = _what_is_wrong(plain, worker)
    if sentence is not None:
        raise InvalidInput([FieldProblem(FIELD, sentence)])


def _what_is_wrong(plain: str, worker: MedicalWorker) -> str | None:
    if len(plain) < SHORTEST_PASSWORD:
        return f"The new password is too short: at least {SHORTEST_PASSWORD} characters, for example a few words."
    try:
        size = len(plain.encode())
    except UnicodeEncodeError:
        return "The new password has a character that cannot be kept. Leave it out."
    if size > LONGEST_PASSWORD:
        return f"The new password is too long: at most {LONGEST_PASSWORD} bytes, which are as many plain letters."
    if not plain.isprintable():
        return "The new password has a character that cannot be typed. Leave it out."
    known = list(_known_of(worker))
    if any(word in _letters(plain) for word in known):
        return (
            "The new password has your name, your e-mail address or your hospital in it. Others know these; "
            "choose other words."
        )
    if plain.lower() in _COMMON or plain.lower() == DEMO_PASSWORD:
        return "The new password is one of the most common ones, which are tried first. Choose another."
    if zxcvbn(plain, user_inputs=known)["score"] < _HARD_ENOUGH:
        return (
            "The new password is easy to guess: a common word, a repetition, a row of keys or a date. Add some "
            "words that do not belong together."
        )
    return None


def _known_of(worker: MedicalWorker) -> Iterator[str]:
    """Yield what others know of a person, as small letters and digits only."""
    local, _, domain = worker.email.partition("@")
    yield _letters(worker.email)
    parts = [local, *worker.name.split(), *local.replace("-", ".").replace("_", ".").split(".")]
    if worker.institution is not None:
        parts += [worker.institution.name, worker.institution.code]
    parts.append(domain.split(".")[0])
    for part in parts:
        letters = _letters(part)
        if len(letters) >= _SHORTEST_WORD:
            yield letters


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
