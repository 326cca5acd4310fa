"""Where a ModelVersion comes from: Run, Rounds, Sites, settings, seed, libraries and the code itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import db
from fl.plan import RunPlan

LIBRARIES = ("flwr", "tensorflow", "keras", "numpy")


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a model's numbers depend on."""
    return {name: library_version(name) for name in LIBRARIES}


@cache
def code_sha256() -> str:
    """Return the hash of the source files that a Run is conducted with: `fl` and `db`, by path and content."""
    root = Path(str(db.__file__)).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for folder in ("db", "fl") for path in (root / folder).rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def lineage_of(
    plan: RunPlan,
    *,
    rounds: int,
    chosen_round: int,
    sites: Mapping[str, int],
    start_version: str | None,
    receipt_sha256: str,
) -> dict[str, Any]:
    """Return the lineage that a version keeps.

    Parameters
    ----------
    rounds
        Made, which may be fewer than asked for.
    sites
        Institution code -> rows that it trained on in the chosen Round.
    start_version
        Name of the version that training started from; None for random weights.
    receipt_sha256
        Of the last Round.
    """
    return {
        "run_id": plan.run_id,
        "rounds": rounds,
        "chosen_round": chosen_round,
        "seed": plan.seed,
        "strategy": plan.strategy,
        "settings": dict(plan.stored_settings),
        "sites": dict(sorted(sites.items())),
        "libraries": library_versions(),
        "code_sha256": code_sha256(),
        "start_version": start_version,
        "resumed_from": plan.resumed.run_id if plan.resumed else None,
        "receipt_sha256": receipt_sha256,
    }
