"""What is typed of a person who gets an account: tidied, and checked in sentences."""

from __future__ import annotations

import re

from fl.features import FieldProblem

LONGEST_NAME, LONGEST_EMAIL = 255, 255
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


def tidy_name(name: str) -> str:
    """Return a name with single spaces."""
    return " ".join(name.split())


def tidy_email(email: str) -> str:
    """Return an e-mail address as the database holds it: trimmed, lower case."""
    return email.strip().lower()


def name_problems(name: str, *, field: str = "name", whose: str = "The name") -> list[FieldProblem]:
    """Return what is wrong with a tidied name."""
    if 2 <= len(name) <= LONGEST_NAME and name.isprintable():
        return []
    return [FieldProblem(field, f"{whose} has from 2 to {LONGEST_NAME} characters.")]


def email_problems(
    email: str, *, field: str = "email", whose: str = "The e-mail address"
) -> list[FieldProblem]:
    """Return what is wrong with a tidied e-mail address."""
    if _EMAIL.fullmatch(email) and len(email) <= LONGEST_EMAIL and email.isprintable():
        return []
    return [FieldProblem(field, f"{whose} is not one, for example name@hospital.org.")]
