"""A Site's own rows: read from its database, encoded, and split by a hash of the patient's id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from db.site import Patient
from fl.features import FEATURE_NAMES, encode
from fl.site_database import at_site

TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class SiteData:
    """Encoded rows with a known cost; they never leave the process that read them.

    Attributes
    ----------
    train_inputs, holdout_inputs
        Unscaled, shape (n, 13).
    train_cost, holdout_cost
        USD, shape (n,).
    """

    train_inputs: NDArray[np.float64]
    train_cost: NDArray[np.float64]
    holdout_inputs: NDArray[np.float64]
    holdout_cost: NDArray[np.float64]


def on_training_side(
    patient_ids: Sequence[object], salt: str, train_share: float = TRAIN_SHARE
) -> NDArray[np.bool_]:
    """Tell for each patient whether its row trains or is held out; the answer never changes.

    The side depends on nothing but the id, the salt and the share that trains, so a row added later moves no other
    row, and a larger share moves rows only from the held-out side.
    """
    digests = (hashlib.sha256(f"{salt}:{patient_id}".encode()).digest() for patient_id in patient_ids)
    shares = np.fromiter((int.from_bytes(digest[:8], "big") for digest in digests), dtype=np.float64)
    return shares / 2.0**64 < train_share


def load_site_data(database_url: str, salt: str, train_share: float = TRAIN_SHARE) -> SiteData:
    """Read every patient who is present and has a known cost, in the order of the ids, encoded and split."""
    columns = (Patient.id, Patient.insurance_cost, *(getattr(Patient, name) for name in FEATURE_NAMES))
    query = (
        select(*columns)
        .where(Patient.insurance_cost.is_not(None), Patient.deleted_at.is_(None))
        .order_by(Patient.id)
    )
    rows = at_site(lambda site: site.execute(query).all(), database_url)
    if not rows:
        nothing = np.empty(0)
        no_inputs = encode({name: [] for name in FEATURE_NAMES})
        return SiteData(no_inputs, nothing, no_inputs, nothing)
    ids, costs, *features = zip(*rows, strict=True)
    inputs = encode(dict(zip(FEATURE_NAMES, features, strict=True)))
    cost = np.asarray(costs, dtype=np.float64)
    trains = on_training_side(ids, salt, train_share)
    return SiteData(inputs[trains], cost[trains], inputs[~trains], cost[~trains])
