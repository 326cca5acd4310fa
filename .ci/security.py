"""`make security`: bandit over our own code, and published advisories against everything that is pinned."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("app", "api", "db", "fl", "pages")
PINNED = "constraints.txt"
# A release with an advisory of 2020 that stays published. Who has nothing to say of it has no advisories: a mirror of
# the package index without them makes pip-audit report that nothing is known, and leave with 0.
KNOWN_BAD = "pyyaml==5.3"
LONGEST = 600.0  # seconds


def code_is_clean() -> bool:
    """Run bandit with the settings of pyproject.toml and show what it finds."""
    command = [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r", *FOLDERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False)
    # It warns of every line of a suppressed statement that would have been fine by itself.
    said = [line for line in done.stderr.splitlines() if "WARNING" not in line]
    print("\n".join([done.stdout.strip(), *said]).strip() or f"bandit: nothing in {', '.join(FOLDERS)}.")
    return done.returncode == 0


def advisories(requirements: Path) -> dict[str, list[str]] | None:
    """Return the advisories of each release of a requirements file that has any; None without an answer."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(requirements), "--no-deps", "--disable-pip"]
    options = ["--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(
            [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False
        )
        listed = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return None
    skipped = [one["name"] for one in listed if "skip_reason" in one]
    if skipped:
        print(f"pip-audit: not in the advisory database: {', '.join(skipped)}.")
    return {
        f"{one['name']} {one['version']}": [found["id"] for found in one["vulns"]]
        for one in listed
        if one.get("vulns")
    }


def pins_are_clean() -> bool:
    """Look every pinned release up, if the advisory database is within reach; say so if it is not."""
    with tempfile.TemporaryDirectory() as folder:
        known_bad = Path(folder) / "requirements.txt"
        known_bad.write_text(f"{KNOWN_BAD}\n")
        if not advisories(known_bad):
            print(
                f"pip-audit: the advisory database cannot be reached from here: it knows nothing of {KNOWN_BAD}, which "
                f"has a published advisory. The releases in {PINNED} were not audited."
            )
            return True
    found = advisories(ROOT / PINNED)
    if found is None:
        print(
            f"pip-audit: the advisory database stopped answering. The releases in {PINNED} were not audited."
        )
        return True
    for release, ids in found.items():
        print(f"{release}: {', '.join(ids)}")
    print(f"pip-audit: {len(found)} of the releases in {PINNED} have a published advisory.")
    return not found


if __name__ == "__main__":
    # Both, whatever the first one finds.
    sys.exit(0 if all([code_is_clean(), pins_are_clean()]) else 1)
