"""Model versions as files: ONNX and Keras for other programs, and a Keras file taken in as a candidate."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput
from app.permissions import Permission
from app.services import audit, models
from app.services.registry import locked
from app.settings import PROJECT_ROOT, get_settings
from db.central import ModelVersion
from db.states import VersionOrigin, VersionStatus
from fl.features import FieldProblem, Preprocessing
from fl.keras_shape import LARGEST_FILE
from fl.model import CostModel, weights_from_bytes, weights_sha256, weights_to_bytes

__all__ = ["LARGEST_FILE", "Format", "ModelFile", "export_version", "import_keras"]

logger = logging.getLogger(__name__)

Format = Literal["onnx", "keras"]
MEDIA_TYPES: dict[Format, str] = {"onnx": "application/octet-stream", "keras": "application/zip"}
SECONDS = 120.0  # that the process with TensorFlow may take; it needs about five, on a busy machine more
LONGEST_NAME = 100  # characters of a file's name that are kept


class FileNotMade(Conflict):
    """The process that writes Keras files did not finish."""


@dataclass(frozen=True)
class ModelFile:
    """A model version as a file to save."""

    name: str
    media_type: str
    content: bytes


def export_version(*, central: Session, actor: Actor, version: str, format: Format) -> ModelFile:
    """Write a version as a file that takes the 13 unscaled inputs and answers USD a year.

    Raises
    ------
    NotFound
        If there is no such version.
    Conflict
        If its weights are damaged.
    FileNotMade
        If the Keras file could not be written in time.
    """
    actor.require(Permission.MODELS_EXPORT)
    row = models.find_version(central, version)
    model = models.load(row).model
    if format == "onnx":
        from fl.onnx_file import onnx_bytes  # the package is needed for nothing else here

        content = onnx_bytes(model, metadata={"version": row.version, "weights_sha256": row.weights_sha256})
    else:
        content = _keras_file(model)
    audit.record(
        central=central,
        actor=actor,
        action="model_exported",
        target=f"model version {row.version}",
        details={"format": format},
    )
    return ModelFile(f"fedcost-{row.version}.{format}", MEDIA_TYPES[format], content)


def import_keras(
    *, central: Session, actor: Actor, content: bytes, file_name: str, use_scaler_in_use: bool = False
) -> ModelVersion:
    """Take a `.keras` file in as a candidate without figures.

    Parameters
    ----------
    use_scaler_in_use
        The file is the bare network, of standardised inputs and cost: take the scaler of the version in use.

    Raises
    ------
    InvalidInput
        If the file is not of the one accepted shape, where the sentence names what is different, or could not be read
        within the limits.
    Conflict
        If there is a version with exactly these weights and scaler, or no version whose scaler could be used.
    """
    actor.require(Permission.MODELS_IMPORT)
    if not content:
        raise _refused("The file is empty.")
    if len(content) > LARGEST_FILE:
        raise _refused(
            f"The file has {len(content) / 1024**2:.1f} MiB; a network like ours fits into "
            f"{LARGEST_FILE // 1024**2} MiB."
        )
    answer = _read(content)
    if "refused" in answer:
        raise _refused(str(answer["refused"]))
    weights = weights_from_bytes(base64.b64decode(answer["weights"]))
    preprocessing = _scaler(central, answer["preprocessing"], use_scaler_in_use)
    CostModel(preprocessing, weights)  # raises if this program could not use it
    with locked(central):
        _refuse_known(central, weights_sha256(weights), preprocessing)
        number = central.scalar(
            select(func.count()).where(ModelVersion.origin == VersionOrigin.IMPORT).select_from(ModelVersion)
        )
        name = f"import-{(number or 0) + 1}"
        row = ModelVersion(
            version=name,
            status=VersionStatus.CANDIDATE,
            origin=VersionOrigin.IMPORT,
            model_path=f"models/fedcost-{name}.keras",
            preprocessing=preprocessing.to_json(),
            weights=weights_to_bytes(weights),
            weights_sha256=weights_sha256(weights),
            num_examples=0,
            metrics={},
            lineage={
                "file_sha256": hashlib.sha256(content).hexdigest(),
                "file_name": _printable(file_name),
                "imported_by": actor.name,
                "scaler_of": models.champion(central=central).version if use_scaler_in_use else None,
            },
        )
        central.add(row)
        central.flush()
        audit.record(
            central=central,
            actor=actor,
            action="model_imported",
            target=f"model version {name}",
            details={"file_sha256": row.lineage["file_sha256"]},
        )
    central.refresh(row)
    return row


def _scaler(central: Session, stored: dict[str, Any] | None, use_scaler_in_use: bool) -> Preprocessing:
    if stored is not None:
        if use_scaler_in_use:
            raise _refused(
                "The file brings a scaler of its own. Import it without the scaler of the version in use."
            )
        return Preprocessing.from_json(stored)
    if not use_scaler_in_use:
        raise _refused(
            "The file is the bare network, without Normalization and Rescaling. If it was trained on inputs and costs "
            "standardised as those of the version in use, import it with that version's scaler."
        )
    return models.champion(central=central).model.preprocessing


def _refuse_known(central: Session, sha256: str, preprocessing: Preprocessing) -> None:
    same = select(ModelVersion.version, ModelVersion.preprocessing).where(
        ModelVersion.weights_sha256 == sha256
    )
    for version, stored in central.execute(same):
        if Preprocessing.from_json(stored) == preprocessing:
            raise Conflict(f"This is the same model as version {version}, to the bit. Nothing was imported.")


def _keras_file(model: CostModel) -> bytes:
    """Return the Keras file of a model, from the folder of those made before if it is there."""
    given = json.dumps(
        {
            "preprocessing": model.preprocessing.to_json(),
            "weights": base64.b64encode(weights_to_bytes(model.weights)).decode(),
        },
        sort_keys=True,
    )
    folder = get_settings().data_dir / "models"
    kept = folder / f"{hashlib.sha256(given.encode()).hexdigest()}.keras"
    if kept.is_file():
        return kept.read_bytes()
    with tempfile.TemporaryDirectory(prefix="fedcost-model-") as place:
        source, made = Path(place, "model.json"), Path(place, "model.keras")
        source.write_text(given)
        _run("export", source, made)
        content = made.read_bytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{kept.name}.{os.getpid()}.new"
        fresh.write_bytes(content)
        fresh.replace(kept)
    except OSError as error:  # a folder that cannot be written only costs the next export some seconds
        logger.warning("a Keras file could not be kept: %s", error.strerror)
    return content


def _read(content: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fedcost-model-") as place:
        source, answer = Path(place, "model.keras"), Path(place, "answer.json")
        source.write_bytes(content)
        _run("import", source, answer)
        read: dict[str, Any] = json.loads(answer.read_text())
    return read


def _run(command: str, source: Path, target: Path) -> None:
    """Run the module that imports TensorFlow, without any secret of this process and within limits."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fl.keras_file", command, str(source), str(target)],
            cwd=source.parent,
            env={
                "PATH": os.environ.get("PATH", ""),
                "PYTHONPATH": str(PROJECT_ROOT),
                "HOME": str(source.parent),
                "LANG": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        logger.error("fl.keras_file %s took more than %s seconds", command, SECONDS)
        raise _not_made(command) from None
    if done.returncode != 0 or not target.is_file():
        logger.error(
            "fl.keras_file %s ended with %s: %s",
            command,
            done.returncode,
            done.stderr[-2000:].decode("utf-8", "replace"),
        )
        raise _not_made(command)


def _not_made(command: str) -> FileNotMade | InvalidInput:
    if command == "export":
        return FileNotMade("The Keras file could not be written in time. Try again; ONNX is written at once.")
    return _refused("The file could not be read within the limits of time and memory. Nothing was imported.")


def _refused(sentence: str) -> InvalidInput:
    return InvalidInput([FieldProblem("file", sentence)])


def _printable(name: str) -> str:
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in last if character.isprintable())[:LONGEST_NAME] or "file"
