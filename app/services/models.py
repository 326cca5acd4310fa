"""The models that training made: which one is in use, how good it is, and its weights ready to predict."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, defer

from app.actor import Actor
from app.errors import Conflict, NoModelYet, NotFound
from app.permissions import Permission
from app.services.metrics import finite
from app.services.model_quality import GroupQuality, SmokerInterval, quality_by_group, smoker_intervals
from app.services.paging import Page, check_limit, integer_cursor, page_of
from db.central import ModelVersion
from db.prepared import PreparedStatement
from db.states import VersionStatus
from fl.features import Preprocessing
from fl.intervals import Calibration
from fl.model import CostModel, weights_from_bytes, weights_sha256

logger = logging.getLogger(__name__)

_VERSIONS = ModelVersion.__table__.c
# Asked before every prediction.
_PREDICTING = PreparedStatement(
    "predicting_versions",
    select(
        _VERSIONS.id,
        _VERSIONS.version,
        _VERSIONS.weights_sha256,
        _VERSIONS.trained_at,
        func.concat(_VERSIONS.rmse),  # an evaluation changes it, and with it the intervals
        _VERSIONS.is_shadow,
    ).where(or_(_VERSIONS.status == VersionStatus.CHAMPION, _VERSIONS.is_shadow)),
)


@dataclass(frozen=True)
class LoadedModel:
    """A model version ready to predict.

    Attributes
    ----------
    calibration
        Its 90 % intervals; None of a version that was trained before there were any.
    shadow
        The version that predicts beside this one, shown to nobody; None if there is none.
    """

    version: str
    model: CostModel
    calibration: Calibration | None = None
    shadow: LoadedModel | None = None


@dataclass(frozen=True)
class ModelStatus:
    """Whether there is a model in use, and which.

    Attributes
    ----------
    r2, rmse, mae
        Of the version on every hospital's held-out patients; RMSE and MAE in USD.
    message
        One sentence for the page.
    """

    has_model: bool
    message: str
    version: str | None = None
    trained_at: datetime | None = None
    run_id: int | None = None
    training_round: int | None = None
    num_examples: int | None = None
    r2: float | None = None
    rmse: float | None = None
    mae: float | None = None


@dataclass(frozen=True)
class ModelMetrics:
    """How good the model in use is.

    Attributes
    ----------
    mse
        USD squared; `rmse` and `mae` are in USD.
    metrics
        Per institution, of the baseline and of the previous champion on the same rows, as stored.
    groups
        By smoker, sex, age band, BMI band and region; empty of a version that was trained before there were any.
    intervals
        By smoker group; empty of a version without any.
    """

    version: str
    r2: float | None
    mse: float | None
    rmse: float | None
    mae: float | None
    num_examples: int
    metrics: dict[str, Any]
    groups: list[GroupQuality]
    intervals: list[SmokerInterval]


def model_status(*, central: Session, actor: Actor) -> ModelStatus:
    """Say whether a model is in use; never an error, for this is how a page learns that there is none."""
    actor.require(Permission.MODEL_CARD)
    row = _champion_row(central)
    if row is None:
        return ModelStatus(False, str(NoModelYet()))
    return ModelStatus(
        True,
        f"Model {row.version} is in use.",
        version=row.version,
        trained_at=row.trained_at,
        run_id=row.run_id,
        training_round=row.training_round,
        num_examples=row.num_examples,
        r2=finite(row.r2),
        rmse=finite(row.rmse),
        mae=finite(row.mae),
    )


def model_metrics(*, central: Session, actor: Actor) -> ModelMetrics:
    """Return the metrics of the model in use; raises `NoModelYet`."""
    actor.require(Permission.MODEL_CARD)
    row = _champion_row(central)
    if row is None:
        raise NoModelYet
    return ModelMetrics(
        row.version,
        finite(row.r2),
        finite(row.mse),
        finite(row.rmse),
        finite(row.mae),
        row.num_examples,
        row.metrics,
        quality_by_group(row.metrics),
        smoker_intervals(calibration_of(row)),
    )


def list_versions(
    *, central: Session, actor: Actor, cursor: str | None = None, limit: int = 20
) -> Page[ModelVersion]:
    """List model versions, the newest first, without their weights."""
    actor.require(Permission.MODELS_READ)
    query = select(ModelVersion).options(defer(ModelVersion.weights)).order_by(ModelVersion.id.desc())
    if cursor is not None:
        query = query.where(ModelVersion.id < integer_cursor(cursor))
    rows = central.scalars(query.limit(check_limit(limit) + 1)).all()
    return page_of(rows, limit, lambda version: version.id)


def get_version(*, central: Session, actor: Actor, version: str) -> ModelVersion:
    """Read one model version without its weights; raises `NotFound`."""
    actor.require(Permission.MODELS_READ)
    return find_version(central, version)


def find_version(central: Session, version: str) -> ModelVersion:
    """Read one model version without its weights, for whoever was asked already; raises `NotFound`."""
    query = select(ModelVersion).where(ModelVersion.version == version).options(defer(ModelVersion.weights))
    row = central.scalars(query).one_or_none()
    if row is None:
        raise NotFound(f"There is no model version {version[:50]!r}.")
    return row


def load(row: ModelVersion) -> LoadedModel:
    """Make a version ready to predict; raises `Conflict` if its weights are damaged or of other input columns."""
    return LoadedModel(row.version, _read_model(row), calibration_of(row))


def champion(*, central: Session) -> LoadedModel:
    """Return the model in use with its shadow; which ones they are is asked each time, their weights are read once.

    Raises
    ------
    NoModelYet
        If there is none.
    Conflict
        If its weights are damaged or it was trained on other input columns.
    """
    keys = {bool(row.is_shadow): tuple(row)[:-1] for row in _PREDICTING.on(central.connection())}
    if False not in keys:
        raise NoModelYet
    loaded = _LOADED.get(central, keys[False])
    if True not in keys:
        return loaded
    try:
        return replace(loaded, shadow=_LOADED.get(central, keys[True]))
    except Conflict:  # a damaged shadow is logged, and disturbs nobody who predicts
        return loaded


def calibration_of(row: ModelVersion) -> Calibration | None:
    """Return the 90 % intervals stored with a version; None of one that was trained before there were any."""
    stored = row.metrics.get("calibration")
    return Calibration.from_json(stored) if stored else None


def _champion_row(central: Session) -> ModelVersion | None:
    query = (
        select(ModelVersion)
        .where(ModelVersion.status == VersionStatus.CHAMPION)
        .options(defer(ModelVersion.weights))
    )
    return central.scalars(query).one_or_none()


@dataclass
class _LoadedModels:
    """The few versions used last; whatever changes what is read of one is in its key, so nothing here goes stale."""

    size: int
    _models: OrderedDict[tuple[Any, ...], LoadedModel] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, central: Session, key: tuple[Any, ...]) -> LoadedModel:
        """Return a version by its id and whatever else tells it from that of another database."""
        with self._lock:
            loaded = self._models.get(key)
            if loaded is not None:
                self._models.move_to_end(key)
                return loaded
        loaded = load(central.get_one(ModelVersion, key[0]))
        with self._lock:
            self._models[key] = loaded
            while len(self._models) > self.size:
                self._models.popitem(last=False)
        return loaded


_LOADED = _LoadedModels(size=4)


def _read_model(row: ModelVersion) -> CostModel:
    unusable = Conflict(f"Model {row.version} cannot be used. Please tell an administrator.")
    try:
        weights = weights_from_bytes(row.weights)
        model = CostModel(Preprocessing.from_json(row.preprocessing), weights)
    except (ValueError, KeyError, TypeError) as error:
        logger.error("model version %s cannot be read: %s", row.version, error)
        raise unusable from error
    if weights_sha256(weights) != row.weights_sha256:
        logger.error("the weights of model version %s do not match their SHA-256", row.version)
        raise unusable
    return model
