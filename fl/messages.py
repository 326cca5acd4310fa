"""What crosses between consortium and Site: every field of every message, declared once.

Flower moves each record of a message as an object of its own, one HTTP call per object and hop. A message here is
therefore one ConfigRecord named `body` whose arrays are bytes; the strategy turns an answer into Flower's ArrayRecord
and MetricRecord after it arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

BODY = "body"

# What a Site answers, by phase. A test compares real messages and docs/what-leaves-a-site.md with this table.
ANSWER_FIELDS: dict[str, dict[str, str]] = {
    "every": {
        "institution": "code of the institution",
        "outcome": "ok, excluded or failed",
        "reason": "one sentence if the Site sat out or failed, otherwise empty",
        "seconds": "duration of the work at the Site",
    },
    "presence": {
        "usable_rows": "number of patients with a known cost, rounded down to tens",
        "new_rows": "how many of them became known since the last completed training began, rounded down to tens",
        "software_version": "version of the installed software",
        "bundle_sha256": "hash of the installed code",
        "consent": "whether the institution takes part: open, paused or approval",
    },
    "cohort": {
        "num_examples": "number of patients",
        "counts": (
            "how many patients are in each of 7 to 18 fixed bins of age, BMI, children and cost, in each category, and "
            "how many have no known value; nothing of a bin of fewer than ten, nor of one by which it could be computed"
        ),
        "averages": (
            "mean and standard deviation of age, BMI, children and cost, and the mean logarithm of the cost by smoker; "
            "nothing of fewer than ten patients"
        ),
    },
    "shadow": {
        "num_examples": "number of patients whose cost became known after both versions predicted it, in whole tens",
        "errors": (
            "on these patients: the sum of absolute errors of the version in use and of the shadow, the sum of their "
            "differences and the sum of its squares; zeros for fewer than ten"
        ),
    },
    "statistics": {
        "num_examples": "number of training rows",
        "moments": "count, sums and sums of squares of the 13 encoded inputs and of the cost: 29 numbers",
        "products": (
            "X'X and X'y of the training rows, 152 numbers, X being the inputs with age squared and smoker x BMI and y "
            "the cost; nothing if that would tell of fewer than ten rows of one kind"
        ),
    },
    "train": {
        "num_examples": "number of training rows",
        "weights": "the 12,161 weights after local training or, of FedSGD, the gradient at the received, as float32",
        "loss": "mean squared error of the standardised cost on the training rows",
        "steps": "number of optimizer steps made; 0 of FedSGD",
        "update_norm": "L2 norm of the change of the weights or, of FedSGD, of the gradient",
        "holdout": (
            "of the received model on the held-out rows: their count, the sums of squared and absolute errors, "
            "of the cost and of its square"
        ),
        "baseline": "of the least squares line on the held-out rows, if it came along: the same five numbers",
    },
    "evaluate": {
        "holdouts": "for each model received: the same five numbers of the held-out rows",
        "groups": (
            "for each model received: the same five numbers of the held-out rows by smoker, sex, age band, BMI band "
            "and region; nothing of a group of fewer than ten rows, nor of one by which such a group could be computed"
        ),
        "residuals": (
            "for each model received: how many of the held-out rows have an error within each of 32 fixed bins, for "
            "all rows and by smoker; nothing of a group of fewer than ten rows, nor of the other group then"
        ),
        "baseline": "of the least squares line on the held-out rows, if it came along: the same five numbers",
        "local_only": (
            "if asked for, of the best model that the Site trained on its own rows alone: in how many Rounds and in "
            "which, the same five numbers, and for up to two of the models received the two ends of an interval of "
            "the difference in error; nothing of fewer than ten rows"
        ),
    },
}


def outgoing(fields: Mapping[str, Any]) -> RecordDict:
    """Put fields of a message into the one record that crosses; arrays become little-endian bytes."""
    return RecordDict({BODY: ConfigRecord({name: _to_wire(value) for name, value in fields.items()})})


def answer(phase: str, fields: Mapping[str, Any], *, reply_to: Message) -> Message:
    """Make a Site's answer.

    Raises
    ------
    ValueError
        If a field is not declared in `ANSWER_FIELDS`: nothing undeclared leaves a Site.
    """
    declared = ANSWER_FIELDS["every"].keys() | ANSWER_FIELDS[phase].keys()
    if undeclared := fields.keys() - declared:
        raise ValueError(f"an answer of phase {phase} may not hold {', '.join(sorted(undeclared))}")
    return Message(outgoing(fields), reply_to=reply_to)


def body_of(message: Message) -> dict[str, Any]:
    """Return the fields of a message.

    Raises
    ------
    ValueError
        If the message is not one of ours.
    """
    records = message.content.config_records
    if list(message.content.keys()) != [BODY] or BODY not in records:
        raise ValueError("the message holds other records than the one expected")
    return dict(records[BODY])


def array_of(value: object, dtype: str) -> NDArray[Any]:
    """Read an array that `outgoing` wrote; `dtype` is "<f4", "<f8" or "<u4".

    Raises
    ------
    ValueError
        If the value is not an array of that kind.
    """
    if not isinstance(value, bytes):
        raise ValueError("an array is missing")
    if len(value) % np.dtype(dtype).itemsize:
        raise ValueError("an array is cut short")
    return np.frombuffer(value, dtype=dtype).astype(np.dtype(dtype).newbyteorder("="))


def _to_wire(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("<")).tobytes()
    return value
