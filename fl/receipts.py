"""A receipt of every Round: a hash over what went in, who took part and what came out, chained to the Round before.

Whoever changes a weight, a row count, a norm or the order of Rounds afterwards breaks the chain, unless every later
receipt and the version's lineage are changed with it; a receipt that somebody wrote down elsewhere tells even then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fl.model import Weights


@dataclass(frozen=True)
class Participant:
    """What a receipt says of one Site.

    Attributes
    ----------
    num_examples
        Rows trained on.
    update_norm
        L2 norm of its change of the weights, or of its gradient, as the server computed it.
    update_sha256
        Of the array that it sent.
    steps
        Optimizer steps that it made.
    """

    num_examples: int
    update_norm: float
    update_sha256: str
    steps: int


def canonical_sha256(data: Any) -> str:
    """Return the SHA-256, in hexadecimal, of data as JSON with sorted keys and no spaces.

    A JSON column gives the same hash before and after: 1e16 and -0.0 come back as 10000000000000000 and 0.0.
    """
    text = json.dumps(_plain_numbers(data), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plan_sha256(
    *, run: int, num_rounds: int, strategy: str, seed: int, settings: Mapping[str, Any], start_sha256: str
) -> str:
    """Return the hash that stands before the first receipt of a Run.

    Parameters
    ----------
    start_sha256
        Of the weights that the first Round began with.
    """
    return canonical_sha256(
        {
            "run": run,
            "num_rounds": num_rounds,
            "strategy": strategy,
            "seed": seed,
            "settings": dict(settings),
            "start_sha256": start_sha256,
        }
    )


def round_receipt(
    *,
    run: int,
    number: int,
    previous: str,
    weights_sha256: str,
    received_sha256: str,
    strategy: str,
    settings: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    participants: Mapping[str, Participant],
) -> dict[str, Any]:
    """Return the receipt of one Round; its hash is `canonical_sha256` of it.

    Parameters
    ----------
    previous
        Hash of the receipt before, or of the plan.
    settings, preprocessing
        JSON as the Run's row holds it.
    """
    return {
        "run": run,
        "round": number,
        "previous": previous,
        "weights_sha256": weights_sha256,
        "received_sha256": received_sha256,
        "strategy": strategy,
        "settings_sha256": canonical_sha256(dict(settings)),
        "preprocessing_sha256": canonical_sha256(dict(preprocessing)),
        "participants": {code: asdict(participants[code]) for code in sorted(participants)},
    }


def update_bytes(array: Weights) -> bytes:
    """Return a Site's array as it is kept: little-endian float32."""
    return array.astype("<f4").tobytes()


def update_from_bytes(stored: bytes) -> Weights:
    """Read what `update_bytes` wrote."""
    return np.frombuffer(stored, dtype="<f4").astype(np.float32)


def _plain_numbers(data: Any) -> Any:
    """Write whole numbers one way, whether they are floats or not."""
    if isinstance(data, Mapping):
        return {name: _plain_numbers(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain_numbers(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data
