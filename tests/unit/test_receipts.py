"""Hashes of receipts: stable over what a JSON column does to numbers, sensitive to all else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fl.receipts import Participant, canonical_sha256, plan_sha256, round_receipt

PLAN: dict[str, Any] = {
    "run": 1,
    "num_rounds": 3,
    "strategy": "fedavg",
    "seed": 5,
    "settings": {"learning_rate": 0.001},
    "start_sha256": "a" * 64,
}
RECEIPT: dict[str, Any] = {
    "run": 1,
    "number": 2,
    "previous": "b" * 64,
    "weights_sha256": "c" * 64,
    "received_sha256": "d" * 64,
    "strategy": "fedavg",
    "settings": {"learning_rate": 0.001},
    "preprocessing": {"target_mean": 1.5},
    "participants": {"northeast": Participant(100, 1.25, "e" * 64, 15)},
}


def test_the_hash_is_that_of_the_canonical_text() -> None:
    # printf '{"a":[1,0.5],"b":null}' | sha256sum
    expected = "01b9c5a6e6f861c62aa1a87f8c3a4824df23bc344a041265f1bc65cc511b2537"
    assert canonical_sha256({"b": None, "a": [1.0, 0.5]}) == expected


def test_numbers_hash_as_they_come_back_from_a_json_column() -> None:
    assert canonical_sha256([1e16, -0.0, 60.0]) == canonical_sha256([10000000000000000, 0.0, 60])
    values = [0.1, 1e-300, 12345.678901234567]
    assert canonical_sha256(values) == canonical_sha256(json.loads(json.dumps(values)))


def test_what_is_no_number_has_no_receipt() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_sha256({"norm": float("nan")})


@pytest.mark.parametrize("name", PLAN)
def test_every_part_of_a_plan_counts(name: str) -> None:
    other = {"settings": {"learning_rate": 0.002}}.get(name, "f" * 64 if name == "start_sha256" else 9)
    assert plan_sha256(**{**PLAN, name: other}) != plan_sha256(**PLAN)


@pytest.mark.parametrize("name", RECEIPT)
def test_every_part_of_a_receipt_counts(name: str) -> None:
    others: dict[str, Any] = {
        "settings": {"learning_rate": 0.002},
        "preprocessing": {"target_mean": 1.6},
        "participants": {"northeast": Participant(101, 1.25, "e" * 64, 15)},
    }
    changed = round_receipt(**{**RECEIPT, name: others.get(name, 9)})
    assert canonical_sha256(changed) != canonical_sha256(round_receipt(**RECEIPT))
