"""Looks for people and secrets in every log that the processes of a test run wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from psycopg2.extensions import cursor as Cursor

from app.demo_people import CONSORTIUM_STAFF, HOSPITAL_STAFF
from app.settings import DEMO_PASSWORD, PROJECT_ROOT

LOG_NAMES = ("*.log", "*.log.1")
# What a secret looks like, whoever made it.
SECRETS = {
    "an access token": re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"),
    "a password's hash": re.compile(r"\$2[aby]\$\d\d\$"),
    "a password in an address": re.compile(r"://[^\s/:@\"]+:[^\s@/\"]+@"),
    # The fingerprint of a public key, which ssh-keygen writes with SHA256: before it, is none.
    "a session's secret": re.compile(r"(?<![\w./+=-])(?<!SHA256:)[A-Za-z0-9_-]{43}(?![\w./+=-])"),
    "a cookie": re.compile(r"fedcost_session="),
}
_E_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.local\b")
_SHORTEST_NAME = 5
_PEOPLE = """
SELECT first_name || ' ' || last_name FROM patients UNION SELECT last_name || ', ' || first_name FROM patients
UNION SELECT last_name FROM patients
"""


@dataclass
class Spoken:
    """What no log may hold: names and passwords that the tests of this process used."""

    words: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        staff = [
            *CONSORTIUM_STAFF.values(),
            *(person for each in HOSPITAL_STAFF.values() for person in each.values()),
        ]
        self.words |= {name for name, _ in staff} | {DEMO_PASSWORD, "a password for tests"}

    def learn_patients(self, cursor: Cursor) -> None:
        """Add the names of the patients of one Site's database."""
        cursor.execute("SELECT to_regclass('public.patients')")
        found = cursor.fetchone()
        if found is not None and found[0] is not None:
            cursor.execute(_PEOPLE)
            self.words |= {name for (name,) in cursor.fetchall()}

    def found_in(self, paths: Iterable[Path]) -> list[str]:
        """Return a sentence for each thing in these files that should not be there; never the thing itself."""
        product = _words_of_the_product()
        wanted = {word for word in self.words if len(word) >= _SHORTEST_NAME and word not in product}
        found: list[str] = []
        for path in paths:
            text = path.read_text(errors="replace")
            kinds = {kind for kind, pattern in SECRETS.items() if pattern.search(text)}
            if _E_MAIL.search(text):
                kinds.add("an e-mail address")
            spoken = set(re.findall(r"[^\W\d_][\w'’.-]*", text))
            for word in wanted:
                # The quick look first: most names are one word that the log does not have.
                if all(part.strip(",") in spoken for part in word.split()) and re.search(
                    rf"(?<!\w){re.escape(word)}(?!\w)", text
                ):
                    kinds.add(f"a name or password of {len(word)} letters")
            found += [f"{path} holds {kind}" for kind in sorted(kinds)]
        return found


def logs_below(folder: Path) -> Iterator[Path]:
    """Yield every log that was written below a folder."""
    for pattern in LOG_NAMES:
        yield from (path for path in folder.rglob(pattern) if path.is_file())


@cache
def _words_of_the_product() -> set[str]:
    """Return what the product itself says, such as `Training`; a test's patient of that name proves nothing."""
    said: set[str] = set()
    for folder in ("api", "app", "db", "fl", "pages"):
        for path in (PROJECT_ROOT / folder).rglob("*.py"):
            if path.name != "demo_people.py":
                said |= set(re.findall(r"[^\W\d_]+", path.read_text()))
    return said


SPOKEN = Spoken()
