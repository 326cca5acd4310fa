"""Hashing and checking passwords with streamlit-authenticator's Hasher (bcrypt)."""

from __future__ import annotations

from functools import lru_cache

from app.auth.upstream import Hasher

LONGEST_PASSWORD = 72  # bytes; bcrypt reads no more


def hash_password(plain: str) -> str:
    """Return the bcrypt hash of a password; surrounding spaces do not count, as in the sign-in form.

    Raises
    ------
    ValueError
        If the password is empty or longer than 72 bytes.
    """
    password = plain.strip()
    if not password or len(password.encode()) > LONGEST_PASSWORD:
        raise ValueError(f"A password has from 1 to {LONGEST_PASSWORD} bytes.")
    return str(Hasher.hash(password))


def check_password(plain: str, hashed: str | None) -> bool:
    """Tell whether a password is right, in the same time whether or not there is a hash to compare it with.

    Parameters
    ----------
    hashed
        The stored hash; None if nobody has the e-mail address.
    """
    try:
        password = plain.strip().encode()
    except UnicodeEncodeError:
        password = b""
    acceptable = 0 < len(password) <= LONGEST_PASSWORD
    compared = password.decode() if acceptable else "-"
    matches = bool(Hasher.check_pw(compared, hashed or _hash_of_nobody()))
    return matches and acceptable and hashed is not None


@lru_cache(maxsize=1)
def _hash_of_nobody() -> str:
    return str(Hasher.hash("nobody has this password"))
