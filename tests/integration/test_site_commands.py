"""What a hospital is told to run: the commands are run here as they are shown, with values for those in brackets."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from app.services.institution_adding import site_commands
from app.settings import PROJECT_ROOT
from db.embedded import EmbeddedPostgres


def test_the_commands_name_what_the_programs_read() -> None:
    commands = site_commands("lakeside")
    for needed in (
        "INSTITUTION=lakeside",
        "SITE_DATABASE_URL=",
        "SUPERLINK_ADDRESS=",
        "python -m fl.runtime.supernode_key",
        "SUPERNODE_KEY=",
        "SUPERLINK_ROOT_CERTIFICATES=",
        "python -m fl.runtime.supernode",
        "CENTRAL_DATABASE_URL='postgresql+psycopg2://central_lakeside:",
        'SITE_DATABASE_URLS=\'{"lakeside"',
        "JWT_SECRET=",
    ):
        assert needed in commands


def test_the_commands_make_a_database_whose_roles_read_what_is_theirs(
    postgres_server: EmbeddedPostgres,
) -> None:
    code = f"lake_{secrets.token_hex(4)}"
    admin = make_url(postgres_server.url())
    commands = (
        site_commands(code).split("# 2.")[0].replace("<password of the administrator>", str(admin.password))
    )
    commands = commands.replace("<database host>:5432", f"127.0.0.1:{admin.port}")
    commands = re.sub(r"<password (\d)>", r"of-the-hospital-\1", commands)
    superuser = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    try:
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=PROJECT_ROOT,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        # The embedded server lets in only roles that it knows; what these may do is tried as them.
        engine = create_engine(postgres_server.url(f"site_{code}"))
        for role, may in (("app_", True), ("train_", False)):
            with engine.connect() as connection:
                connection.execute(text(f"SET ROLE {role}site_{code}"))
                assert connection.scalar(text("SELECT count(bmi) FROM patients")) == 0
                if may:
                    connection.execute(text("SELECT last_name FROM patients"))
                else:
                    with pytest.raises(ProgrammingError, match="permission denied"):
                        connection.execute(text("SELECT last_name FROM patients"))
        engine.dispose()
    finally:
        with superuser.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS site_{code}"))
            for role in ("", "app_", "train_"):
                connection.execute(text(f"DROP ROLE IF EXISTS {role}site_{code}"))
        superuser.dispose()
