"""A version leaves as an ONNX or Keras file that answers the same, and a Keras file comes in as a candidate."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.databases import central_session
from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from app.services import model_files, models, registry
from app.services.model_card import model_card
from app.services.predictions import predict
from app.settings import PROJECT_ROOT
from db.central import AuditEvent, ModelVersion
from db.cohort import generate
from fl.features import FEATURE_NAMES, encode
from fl.keras_shape import LARGEST_FILE
from fl.statistics import moments_of, pooled_preprocessing
from tests.integration.conftest import Consortium

AddModel = Callable[..., ModelVersion]
COHORT = generate(1000, seed=3)
COLUMNS = {name: getattr(COHORT, name) for name in FEATURE_NAMES}
INPUTS = encode(COLUMNS).astype(np.float32)
PREPROCESSING = pooled_preprocessing([moments_of(encode(COLUMNS), COHORT.insurance_cost)]).to_json()

# Exports as the process of an export does, reads the file as anybody with Keras would, saves what its owner might
# return, and imports all of it: in one process, because TensorFlow takes seconds to start.
ROUND_TRIP = """
import json
import numpy as np
from fl.keras_file import main
main(["export", "model.json", "whole.keras"])
import keras
model = keras.saving.load_model("whole.keras", safe_mode=True)
inputs = np.load("inputs.npy")
json.dump(np.asarray(model(inputs)).ravel().tolist(), open("costs.json", "w"))
dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
bare = keras.Sequential([keras.Input((13,)), *dense])
bare.compile("adam", "mse")
bare.fit(inputs[:32] / 50, np.zeros(32), verbose=0)
bare.save("bare.keras")
adapted = keras.layers.Normalization()
adapted.adapt(inputs)
keras.Sequential([keras.Input((13,)), adapted, *dense, keras.layers.Rescaling(2.0, 3.0)]).save("adapted.keras")
dense[0].set_weights([np.full((13, 128), np.nan), np.zeros(128)])
model.save("nan.keras")
for name in ("whole", "bare", "adapted", "nan"):
    main(["import", name + ".keras", name + ".json"])
"""


@pytest.fixture
def version(consortium: Consortium, add_model: AddModel) -> ModelVersion:
    return add_model("v1", seed=4, preprocessing=PREPROCESSING)


def _import(consortium: Consortium, content: bytes, **options: Any) -> ModelVersion:
    with central_session() as central:
        return model_files.import_keras(
            central=central,
            actor=consortium.actors["scientist"],
            content=content,
            file_name="C:\\models\\mine\n.keras",
            **options,
        )


def test_an_onnx_file_answers_what_the_product_answers_and_its_export_is_kept(
    consortium: Consortium, central: Session, version: ModelVersion
) -> None:
    file = model_files.export_version(
        central=central, actor=consortium.actors["scientist"], version="v1", format="onnx"
    )
    session = onnxruntime.InferenceSession(file.content, providers=["CPUExecutionProvider"])
    (costs,) = session.run(["cost_usd"], {"features": INPUTS})
    np.testing.assert_allclose(costs, models.champion(central=central).model.predict(COLUMNS), rtol=1e-5)
    properties = session.get_modelmeta().custom_metadata_map
    assert (file.name, properties["version"]) == ("fedcost-v1.onnx", "v1")
    assert properties["weights_sha256"] == version.weights_sha256
    event = central.scalars(select(AuditEvent).where(AuditEvent.action == "model_exported")).one()
    assert (event.target, event.details) == ("model version v1", {"format": "onnx"})


def test_a_keras_file_answers_the_same_and_comes_back_as_a_candidate(
    consortium: Consortium, central: Session, version: ModelVersion, tmp_path: Path
) -> None:
    model = models.champion(central=central).model
    central.commit()
    given = {"preprocessing": PREPROCESSING, "weights": b64encode(version.weights).decode()}
    (tmp_path / "model.json").write_text(json.dumps(given))
    np.save(tmp_path / "inputs.npy", INPUTS)
    subprocess.run(
        [sys.executable, "-c", ROUND_TRIP],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(PROJECT_ROOT)},
        check=True,
        capture_output=True,
    )
    costs = json.loads((tmp_path / "costs.json").read_text())
    np.testing.assert_allclose(costs, model.predict(COLUMNS), rtol=1e-5, atol=0.01)
    read = {
        name: json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("whole", "bare", "adapted", "nan")
    }
    assert read["whole"]["weights"] == given["weights"]
    for field, value in PREPROCESSING.items():
        assert read["whole"]["preprocessing"][field] == (
            value if field == "input_names" else pytest.approx(value, rel=1e-12)
        )
    assert read["bare"]["preprocessing"] is None and read["bare"]["weights"] != given["weights"]
    adapted = read["adapted"]["preprocessing"]
    assert adapted["scale"] == pytest.approx(PREPROCESSING["scale"], rel=1e-4)
    assert (adapted["target_scale"], adapted["target_mean"]) == (2.0, 3.0)
    assert "not finite" in read["nan"]["refused"]

    row = _import(consortium, (tmp_path / "bare.keras").read_bytes(), use_scaler_in_use=True)
    assert (row.version, row.origin, row.status) == ("import-1", "import", "candidate")
    assert (row.run_id, row.r2, b64encode(row.weights).decode()) == (None, None, read["bare"]["weights"])
    assert row.lineage["file_name"] == "mine.keras" and row.lineage["imported_by"] == "The scientist"
    assert row.lineage["scaler_of"] == "v1" and len(row.lineage["file_sha256"]) == 64
    assert row.preprocessing == PREPROCESSING


def test_an_import_is_promoted_once_it_has_figures_and_then_predicts(
    consortium: Consortium, central: Session, version: ModelVersion, add_model: AddModel
) -> None:
    admin = consortium.actors["admin"]
    nothing = {
        "run_id": None,
        "training_round": None,
        "num_examples": 0,
        "metrics": {},
        "lineage": {"file_name": "a"},
    }
    unmeasured = {"r2": None, "rmse": None, "mae": None, "mse": None}
    row = add_model("import-1", status="candidate", origin="import", seed=5, **nothing, **unmeasured)
    card = model_card(central=central, actor=admin, version="import-1")
    assert (card.run_id, card.training_round, card.institutions, card.groups) == (None, None, [], [])
    with pytest.raises(Conflict, match="Version import-1 has no figures yet"):
        registry.promote(central=central, actor=admin, version="import-1", reason="Try it")
    central.commit()
    with consortium.central() as other:  # as an evaluation does
        evaluated = other.get_one(ModelVersion, row.id)
        evaluated.r2, evaluated.rmse, evaluated.mae, evaluated.mse = 0.8, 5000.0, 3000.0, 25e6
        other.commit()
    registry.promote(central=central, actor=admin, version="import-1", reason="As good, and simpler")
    one = {name: column[0].item() for name, column in COLUMNS.items()}
    made = predict(central=central, actor=consortium.actors["doctor"], inputs=one)
    assert made.model_version == "import-1" and made.interval is None


def test_a_keras_file_that_was_made_before_is_not_made_again(
    consortium: Consortium,
    central: Session,
    version: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    made = []

    def write(command: str, source: Path, target: Path) -> None:
        made.append(json.loads(source.read_text()))
        target.write_bytes(b"a file")

    monkeypatch.setattr(model_files, "_run", write)
    for _ in range(2):
        file = model_files.export_version(
            central=central, actor=consortium.actors["admin"], version="v1", format="keras"
        )
        assert (file.name, file.content) == ("fedcost-v1.keras", b"a file")
    assert len(made) == 1 and made[0]["preprocessing"] == PREPROCESSING
    assert [kept.read_bytes() for kept in (tmp_path / "models").iterdir()] == [b"a file"]


def test_the_same_model_is_not_imported_twice(
    consortium: Consortium, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"preprocessing": PREPROCESSING, "weights": b64encode(version.weights).decode()}
    monkeypatch.setattr(model_files, "_read", lambda content: answer)
    with pytest.raises(Conflict, match="the same model as version v1, to the bit"):
        _import(consortium, b"PK")
    with pytest.raises(InvalidInput, match="brings a scaler of its own"):
        _import(consortium, b"PK", use_scaler_in_use=True)
    answer["preprocessing"] = None  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match="is the bare network"):
        _import(consortium, b"PK")


def test_a_file_of_another_shape_is_refused_without_starting_keras(
    consortium: Consortium, version: ModelVersion
) -> None:
    config = {"module": "keras", "class_name": "Functional", "config": {"layers": []}}
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("metadata.json", "model.weights.h5"):
            archive.writestr(name, "{}")
        archive.writestr("config.json", json.dumps(config))
    for given, words in (
        (content.getvalue(), "The model is 'Functional'"),
        (b"nothing of the kind", "no .keras file as Keras 3 writes it"),
        (b"", "The file is empty."),
        (bytes(LARGEST_FILE + 1), "The file has 2.0 MiB"),
    ):
        with pytest.raises(InvalidInput) as refused:
            _import(consortium, given)
        assert words in str(refused.value)
        assert [problem.field for problem in refused.value.problems] == ["file"]
    with consortium.central() as central:
        assert central.scalars(select(ModelVersion.version)).all() == ["v1"]


def test_the_process_that_reads_files_gets_no_secret_of_this_one(
    consortium: Consortium, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        seen.update(options, command=command)
        return subprocess.CompletedProcess(command, 137, b"", b"killed")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InvalidInput, match="within the limits of time and memory"):
        _import(consortium, b"PK")
    assert set(seen["env"]) == {"PATH", "PYTHONPATH", "HOME", "LANG"}
    assert seen["env"]["PYTHONPATH"] == str(PROJECT_ROOT) and seen["timeout"] > 0
    assert seen["command"][1:4] == ["-m", "fl.keras_file", "import"]


def test_who_may_export_and_import(consortium: Consortium, central: Session, version: ModelVersion) -> None:
    for person in ("doctor", "nurse"):
        actor = consortium.actors[person]
        with pytest.raises(PermissionRefused):
            model_files.export_version(central=central, actor=actor, version="v1", format="onnx")
        with pytest.raises(PermissionRefused):
            model_files.import_keras(central=central, actor=actor, content=b"PK", file_name="a.keras")
    with pytest.raises(NotFound):
        model_files.export_version(
            central=central, actor=consortium.actors["admin"], version="v9", format="onnx"
        )
