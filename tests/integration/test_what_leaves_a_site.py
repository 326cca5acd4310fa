"""Real messages of the real ClientApp hold what is declared and nothing of a patient."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from sqlalchemy import select, text

from bench.consortium import load_institutions
from bench.data import cohort_of
from db.cohort import generate
from db.engines import engine_for, sessions_for
from db.provision import DatabaseUrls
from db.site import Patient
from fl import site_database
from fl.groups import GROUPS
from fl.least_squares import NUM_TERMS
from fl.messages import ANSWER_FIELDS, answer, body_of, outgoing
from fl.model import initial_weights
from fl.settings import RunSettings
from fl.site_data import load_site_data, on_training_side
from fl.site_evaluation import SiteEvaluation, read_evaluations
from fl.statistics import moments_of, pooled_preprocessing
from tests.integration.local_grid import LocalGrid

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = json.dumps(RunSettings(local_epochs=1).to_json())


@pytest.fixture
def consortium(databases: DatabaseUrls) -> DatabaseUrls:
    load_institutions(databases, cohort_of(pd.DataFrame(vars(generate(400, seed=2)))).frame)
    return databases


@pytest.fixture
def big_consortium(databases: DatabaseUrls) -> DatabaseUrls:
    """Enough held-out patients in the northeast to delete some."""
    load_institutions(databases, cohort_of(pd.DataFrame(vars(generate(1600, seed=2)))).frame)
    return databases


def _ask(urls: DatabaseUrls, phase: str) -> Message:
    data = load_site_data(urls.train_sites["northeast"], "fedcost")
    preprocessing = json.dumps(
        pooled_preprocessing([moments_of(data.train_inputs, data.train_cost)]).to_json()
    )
    weights = initial_weights(0)
    fields = {
        "query": {"settings": SETTINGS},
        "query.cohort": {"settings": SETTINGS},
        "query.presence": {"since": ""},
        "query.shadow": {"champion": "v1", "shadow": "v2"},
        "train": {
            "settings": SETTINGS,
            "preprocessing": preprocessing,
            "seed": 1,
            "round_number": 1,
            "weights": weights,
            "baseline": np.zeros(NUM_TERMS),
        },
        "evaluate": {
            "baseline": np.zeros(NUM_TERMS),
            "settings": SETTINGS,
            "weights": [weights.tobytes()] * 2,
            "preprocessing": [preprocessing] * 2,
            "local_only": json.dumps({"num_rounds": 1, "seed": 1, "models": 2, "seconds": 1.0}),
        },
    }[phase]
    grid = LocalGrid({"northeast": urls.train_sites["northeast"]})
    ids = grid.push_messages([Message(outgoing(fields), 1, phase)])
    (reply,) = grid.pull_messages(ids)
    return reply


PHASES = [
    ("query", "statistics"),
    ("query.cohort", "cohort"),
    ("query.presence", "presence"),
    ("query.shadow", "shadow"),
    ("train", "train"),
    ("evaluate", "evaluate"),
]


@pytest.mark.parametrize(("message_type", "phase"), PHASES)
def test_an_answer_holds_exactly_the_declared_fields(
    consortium: DatabaseUrls, message_type: str, phase: str
) -> None:
    body = body_of(_ask(consortium, message_type))
    assert body["outcome"] == "ok", body["reason"]
    assert body.keys() == ANSWER_FIELDS["every"].keys() | ANSWER_FIELDS[phase].keys()


@pytest.mark.parametrize(("message_type", "phase"), PHASES)
def test_no_value_of_a_patient_is_in_the_bytes_that_leave(
    consortium: DatabaseUrls, message_type: str, phase: str
) -> None:
    """Ids, names, costs and BMIs of all patients, as text and as binary numbers, are searched in every object."""
    sent = b"".join(
        part.deflate() for part in get_all_nested_objects(_ask(consortium, message_type)).values()
    )
    with sessions_for(consortium.sites["northeast"])() as session:
        patients = session.scalars(select(Patient)).all()
    assert len(patients) > 50
    for patient in patients:
        cost, bmi = float(patient.insurance_cost or 0), float(patient.bmi)
        needles = [
            str(patient.id).encode(),
            patient.id.bytes,
            patient.last_name.encode(),
            f"{cost:.2f}".encode(),
            *(np.array([value], dtype=kind).tobytes() for value in (cost, bmi) for kind in ("<f8", "<f4")),
        ]
        assert not [needle for needle in needles if needle in sent]


def _evaluation(urls: DatabaseUrls) -> SiteEvaluation:
    body = body_of(_ask(urls, "evaluate"))
    assert body["outcome"] == "ok", body["reason"]
    first, second = read_evaluations(body, models=2)
    assert first.sums == second.sums  # the same model was asked for twice
    return first


def _leave(urls: DatabaseUrls, *, smokers: int, others: int) -> None:
    """Delete held-out patients of the northeast until so many are left."""
    with sessions_for(urls.sites["northeast"])() as session, session.begin():
        patients = session.scalars(select(Patient).order_by(Patient.id)).all()
        trains = on_training_side([patient.id for patient in patients], "fedcost")
        left = {"yes": smokers, "no": others}
        for patient, training in zip(patients, trains, strict=True):
            if training:
                continue
            left[patient.smoker] -= 1
            if left[patient.smoker] < 0:
                session.delete(patient)
        assert max(left.values()) <= 0, "the cohort of this test holds too few"


def test_groups_and_residuals_are_told_where_they_are_large_enough(big_consortium: DatabaseUrls) -> None:
    _leave(big_consortium, smokers=10, others=40)
    evaluation = _evaluation(big_consortium)
    counts = {group.code: sums.count for group, sums in zip(GROUPS, evaluation.groups, strict=True) if sums}
    assert evaluation.sums.count == 50
    assert (counts["yes"], counts["no"]) == (10, 40)
    assert (counts["northeast"], counts["southwest"]) == (50, 0)
    assert evaluation.residuals.sum(axis=1).tolist() == [50, 40, 10]


def test_nine_smokers_are_withheld_and_so_is_everything_by_which_they_could_be_computed(
    big_consortium: DatabaseUrls,
) -> None:
    _leave(big_consortium, smokers=9, others=41)
    evaluation = _evaluation(big_consortium)
    told = dict(zip(GROUPS, evaluation.groups, strict=True))
    assert {told[group] for group in GROUPS if group.feature == "smoker"} == {None}
    assert evaluation.residuals.sum(axis=1).tolist() == [50, 0, 0]
    for feature in {group.feature for group in GROUPS}:
        cells = [told[group] for group in GROUPS if group.feature == feature]
        untold = 50 - sum(sums.count for sums in cells if sums)
        assert untold == 0 or untold >= 10
        assert all(sums.count == 0 or sums.count >= 10 for sums in cells if sums)


def test_of_nine_held_out_patients_nothing_is_told_in_any_phase(big_consortium: DatabaseUrls) -> None:
    _leave(big_consortium, smokers=3, others=6)
    evaluation = _evaluation(big_consortium)
    assert evaluation.sums.to_list() == [0.0] * 5
    assert not any(evaluation.groups) and not evaluation.residuals.any()
    trained = body_of(_ask(big_consortium, "train"))
    assert trained["outcome"] == "ok" and list(trained["holdout"]) == [0.0] * 5


def test_a_field_that_is_not_declared_cannot_be_answered(consortium: DatabaseUrls) -> None:
    with pytest.raises(ValueError, match="may not hold patients"):
        answer("train", {"patients": 3}, reply_to=_ask(consortium, "query"))


def test_the_document_lists_every_field_and_no_other() -> None:
    document = (ROOT / "docs" / "what-leaves-a-site.md").read_text()
    declared = {name for fields in ANSWER_FIELDS.values() for name in fields}
    assert set(re.findall(r"^\| `(\w+)` \|", document, flags=re.MULTILINE)) == declared


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"settings": SETTINGS, "seed": 1, "round_number": 1}, "could not read the request"),
        ({"settings": "{", "preprocessing": "{}"}, "could not read the request"),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_with_a_sentence(
    consortium: DatabaseUrls, body: dict[str, object], words: str
) -> None:
    grid = LocalGrid({"northeast": consortium.train_sites["northeast"]})
    (reply,) = grid.pull_messages(grid.push_messages([Message(outgoing(body), 1, "train")]))
    assert body_of(reply)["outcome"] == "failed" and words in body_of(reply)["reason"]


def test_a_site_whose_database_is_away_says_so_and_no_more(
    consortium: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_database, "PATIENCE_SECONDS", 0.5)
    away = re.sub(r":\d+/", ":1/", consortium.train_sites["northeast"])
    grid = LocalGrid({"northeast": away})
    (reply,) = grid.pull_messages(grid.push_messages([Message(outgoing({"settings": SETTINGS}), 1, "query")]))
    assert body_of(reply)["reason"] == "The hospital's database did not answer."
    assert body_of(reply).keys() == ANSWER_FIELDS["every"].keys()


def test_a_new_patient_moves_no_other_row_to_the_other_side(consortium: DatabaseUrls) -> None:
    url = consortium.sites["northeast"]
    with sessions_for(url)() as session:
        ids = session.scalars(select(Patient.id).order_by(Patient.id)).all()
    before = dict(zip(ids, on_training_side(ids, "fedcost"), strict=True))
    assert 0.6 < np.mean(list(before.values())) < 0.95
    with engine_for(url).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO patients (first_name, last_name, age, sex, bmi, region, insurance_cost) "
                "SELECT 'New', 'Patient', 50, 'male', 30, 'northeast', 9000 FROM generate_series(1, 40)"
            )
        )
    with sessions_for(url)() as session:
        later = session.scalars(select(Patient.id).order_by(Patient.id)).all()
    after = dict(zip(later, on_training_side(later, "fedcost"), strict=True))
    assert len(after) == len(before) + 40
    assert {patient: after[patient] for patient in before} == before
