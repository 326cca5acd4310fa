"""The web process stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.auth.passwords import check_password, hash_password
from app.services.paging import page_of
from app.settings import PROJECT_ROOT


def test_a_password_is_checked_as_it_was_set() -> None:
    hashed = hash_password(" correct horse ")
    assert check_password("correct horse", hashed)
    assert check_password("correct horse  ", hashed)
    assert not check_password("wrong", hashed)
    assert not check_password("correct horse", None)
    assert not check_password("", hashed)
    assert not check_password("\ud800", hashed)


def test_a_password_longer_than_bcrypt_reads_is_refused_not_shortened() -> None:
    longest = "x" * 72
    hashed = hash_password(longest)
    assert check_password(longest, hashed)
    assert not check_password(longest + "y", hashed)
    for bad in ("", "  ", "x" * 73, "ä" * 37):
        with pytest.raises(ValueError, match="1 to 72 bytes"):
            hash_password(bad)


def test_a_page_ends_where_the_rows_end() -> None:
    assert (page_of([1, 2, 3], 3, str).items, page_of([1, 2, 3], 3, str).next_cursor) == ([1, 2, 3], None)
    assert (page_of([1, 2, 3], 2, str).items, page_of([1, 2, 3], 2, str).next_cursor) == ([1, 2], "2")
    assert (page_of([], 2, str).items, page_of([], 2, str).next_cursor) == ([], None)


PREDICT = """
import sys
import app.main
from app.services import models, predictions
from fl.features import INPUT_NAMES, Preprocessing
from fl.model import CostModel, initial_weights

model = CostModel(Preprocessing(INPUT_NAMES, (0.0,) * 13, (1.0,) * 13, 13000.0, 12000.0), initial_weights(1))
values = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
made = predictions.predict_with(models.LoadedModel("v1", model), values)
assert made.predicted_cost >= 0
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras", "flwr", "ray", "sklearn"})
assert not heavy, heavy
"""


def test_the_web_process_predicts_without_tensorflow_keras_or_flower() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PREDICT], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
