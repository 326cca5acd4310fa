"""`python -m db.with_secrets COMMAND …`: runs a command whose secrets lie in files, one secret a file.

For every variable in `SECRETS`, `NAME_FILE` may name a file instead; its content becomes `NAME`. Containers are given
secrets as files, and Streamlit, Alembic and Flower read variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SUFFIX = "_FILE"
SECRETS = (
    "ADMIN_DATABASE_URL",
    "CENTRAL_OWNER_DATABASE_URL",
    "CENTRAL_DATABASE_URL",
    "CENTRAL_READ_DATABASE_URL",
    "CENTRAL_SITE_DATABASE_URLS",
    "SITE_OWNER_DATABASE_URL",
    "SITE_OWNER_DATABASE_URLS",
    "SITE_DATABASE_URL",
    "SITE_DATABASE_URLS",
    "SITE_TRAIN_DATABASE_URLS",
    "JWT_SECRET",
    "JWT_SECRET_PREVIOUS",
    "STREAMLIT_SERVER_COOKIE_SECRET",
)


class BadSecretFile(ValueError):
    """A secret's file is missing, empty, or named beside the secret itself."""


def with_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the secrets of its files in place of the files' names.

    Raises
    ------
    BadSecretFile
        Naming the variable and the file, never the content.
    """
    result = dict(environment)
    for name in SECRETS:
        path = result.pop(name + SUFFIX, "")
        if not path:
            continue
        if result.get(name):
            raise BadSecretFile(f"Set either {name} or {name + SUFFIX}, not both.")
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSecretFile(f"{name + SUFFIX} names {path}, which cannot be read.") from error
        if not secret:
            raise BadSecretFile(f"{name + SUFFIX} names {path}, which is empty.")
        result[name] = secret
    return result


def main(command: list[str]) -> None:
    """Become the command."""
    if not command:
        sys.exit("usage: python -m db.with_secrets COMMAND …")
    try:
        environment = with_secrets(os.environ)
    except BadSecretFile as problem:
        sys.exit(str(problem))
    os.execvpe(command[0], command, environment)  # noqa: S606 - the command of whoever runs this  # nosec B606


if __name__ == "__main__":
    main(sys.argv[1:])
