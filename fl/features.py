"""The six features, declared once as data: forms, validation, API, import and encoding follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["integer", "number", "category"]
FeatureValue = int | float | str


@dataclass(frozen=True)
class Feature:
    """One input of the model.

    Attributes
    ----------
    name
        Column name in every database, API and file.
    label, unit, help
        What a clinician reads; `unit` is empty where there is none.
    kind
        `integer`, `number` or `category`.
    minimum, maximum
        Accepted range, both ends included; None for a category.
    usual
        Range in which the training data lie, both ends included; outside of it a prediction needs a caution.
    bands
        Where one group ends and the next begins when metrics are told apart by this feature: (30, 45) makes
        the groups below 30, 30 to below 45, and 45 and above. None of a category, whose groups are its values.
    categories
        Accepted values with their labels, in the order of the one-hot columns.
    synonyms
        Other spellings that files use, lower case, and the value they mean.
    headings
        What files call the column besides `name` and `label`, lower case, without units and such words as
        "number of".
    """

    name: str
    label: str
    kind: Kind
    unit: str = ""
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    usual: tuple[float, float] | None = None
    bands: tuple[float, ...] = ()
    default: FeatureValue | None = None
    categories: tuple[tuple[str, str], ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    headings: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """The accepted values of a category."""
        return tuple(value for value, _ in self.categories)

    @property
    def expectation(self) -> str:
        """One phrase that says what is accepted, for messages: 'a whole number of years from 0 to 120'."""
        if self.kind == "category":
            return f"one of {', '.join(self.values)}"
        number = "a whole number" if self.kind == "integer" else "a number"
        unit = f" ({self.unit})" if self.unit else ""
        return f"{number} from {self.minimum:g} to {self.maximum:g}{unit}"


FEATURES: tuple[Feature, ...] = (
    Feature(
        "age",
        "Age",
        "integer",
        unit="years",
        minimum=0,
        maximum=120,
        usual=(18, 64),
        bands=(30, 45, 55),
        default=40,
    ),
    Feature(
        "sex",
        "Sex",
        "category",
        categories=(("female", "Female"), ("male", "Male")),
        synonyms=(("f", "female"), ("m", "male"), ("woman", "female"), ("man", "male")),
        headings=("gender",),
    ),
    Feature(
        "bmi",
        "Body mass index (BMI)",
        "number",
        unit="kg/m²",
        help="Weight in kilograms divided by height in metres squared.",
        minimum=10,
        maximum=100,
        usual=(15.5, 54),
        bands=(18.5, 25, 30, 35),
        default=27.0,
        headings=("bmi", "body mass index"),
    ),
    Feature(
        "children",
        "Children",
        "integer",
        help="Dependent children covered by the insurance.",
        minimum=0,
        maximum=30,
        usual=(0, 5),
        default=0,
        headings=("kids", "child", "child count", "children count", "dependents", "dependants"),
    ),
    Feature(
        "smoker",
        "Smoker",
        "category",
        categories=(("no", "No"), ("yes", "Yes")),
        synonyms=(
            ("n", "no"),
            ("y", "yes"),
            ("0", "no"),
            ("1", "yes"),
            ("false", "no"),
            ("true", "yes"),
            ("never", "no"),
            ("nonsmoker", "no"),
            ("current", "yes"),
            ("smoker", "yes"),
        ),
        headings=("smoking", "smoking status", "smoker status", "smokes", "tobacco", "tobacco use"),
    ),
    Feature(
        "region",
        "Region",
        "category",
        help="Region of the United States in which the patient lives.",
        categories=(
            ("northeast", "Northeast"),
            ("northwest", "Northwest"),
            ("southeast", "Southeast"),
            ("southwest", "Southwest"),
        ),
        synonyms=(("ne", "northeast"), ("nw", "northwest"), ("se", "southeast"), ("sw", "southwest")),
        headings=("residential area", "residence region", "area"),
    ),
)

FEATURE_BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}
FEATURE_NAMES: tuple[str, ...] = tuple(FEATURE_BY_NAME)
OBESE_ABOVE_BMI = 30.0
TARGET_NAME = "insurance_cost"  # USD a year


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with one field: the field's name and a sentence that a clinician understands."""

    field: str
    message: str


def parse_value(feature: Feature, raw: object) -> FeatureValue:
    """Return `raw` as a valid value of `feature`.

    Raises
    ------
    ValueError
        With one sentence for a clinician if the value is missing or not accepted.
    """
    missing = raw is None or (isinstance(raw, float) and math.isnan(raw)) or str(raw).strip() == ""
    if missing:
        raise ValueError(f"{feature.label} is missing; expected {feature.expectation}.")
    problem = f"{feature.label} is {str(raw).strip()[:40]!r}; expected {feature.expectation}."
    if feature.kind == "category":
        text = str(raw).strip().lower()
        value = dict(feature.synonyms).get(text, text)
        if value not in feature.values:
            raise ValueError(problem)
        return value
    if isinstance(raw, bool):
        raise ValueError(problem)
    try:
        number = float(str(raw).strip())
    except ValueError:
        raise ValueError(problem) from None
    if not math.isfinite(number):
        raise ValueError(problem)
    assert feature.minimum is not None and feature.maximum is not None
    if not feature.minimum <= number <= feature.maximum:
        raise ValueError(problem)
    if feature.kind == "integer":
        if number != int(number):
            raise ValueError(problem)
        return int(number)
    return number


def validate(raw: Mapping[str, object]) -> tuple[dict[str, FeatureValue], list[FieldProblem]]:
    """Check all six features at once.

    Returns
    -------
    tuple
        The valid values by feature name, and every problem found; the values are complete if there is none.
    """
    values: dict[str, FeatureValue] = {}
    problems: list[FieldProblem] = []
    for feature in FEATURES:
        try:
            values[feature.name] = parse_value(feature, raw.get(feature.name))
        except ValueError as error:
            problems.append(FieldProblem(feature.name, str(error)))
    return values, problems


def _input_names() -> tuple[str, ...]:
    names: list[str] = []
    for feature in FEATURES:
        if feature.kind == "category":
            names.extend(f"{feature.name}_{value}" for value in feature.values)
        else:
            names.append(feature.name)
    return (*names, "obese", "obese_smoker")


# The columns of the network's input, in order: six features one-hot encoded, then the two derived from them.
INPUT_NAMES: tuple[str, ...] = _input_names()


def encode(columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.float64]:
    """Turn columns of valid feature values into the network's unscaled inputs.

    Parameters
    ----------
    columns
        Feature name -> n values, each valid in the sense of `parse_value`.

    Returns
    -------
    ndarray, shape (n, 13), float64
        Columns as in `INPUT_NAMES`.
    """
    encoded: list[NDArray[np.float64]] = []
    for feature in FEATURES:
        column = np.asarray(columns[feature.name])
        if feature.kind == "category":
            encoded.extend((column == value).astype(np.float64) for value in feature.values)
        else:
            encoded.append(column.astype(np.float64))
    own = np.column_stack(encoded)
    return np.column_stack([own, derived_inputs(own)])


def derived_inputs(own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the last columns of `encode`, shape (n, 2), from the features' own columns, shape (n, 11)."""
    obese = own[:, INPUT_NAMES.index("bmi")] > OBESE_ABOVE_BMI
    return np.column_stack([obese, obese * own[:, INPUT_NAMES.index("smoker_yes")]]).astype(np.float64)


@dataclass(frozen=True)
class Preprocessing:
    """The one scaler that all Sites share: inputs and cost are standardised with the consortium's moments.

    Attributes
    ----------
    input_names
        The columns the model was trained on; a model of other columns cannot be used.
    mean, scale
        Per input column, shape (13,).
    target_mean, target_scale
        Of the cost, USD.
    """

    input_names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    target_mean: float
    target_scale: float

    def scale_inputs(self, inputs: NDArray[np.float64]) -> NDArray[np.float32]:
        """Standardise encoded inputs, shape (n, 13) in and out."""
        scaled: NDArray[np.float64] = (inputs - np.asarray(self.mean)) / np.asarray(self.scale)
        return scaled.astype(np.float32)

    def scale_target(self, cost: NDArray[np.float64]) -> NDArray[np.float32]:
        """Standardise costs in USD, shape (n,) in and out."""
        return ((cost - self.target_mean) / self.target_scale).astype(np.float32)

    def cost_of(self, standardised: NDArray[np.float32]) -> NDArray[np.float64]:
        """Turn the network's standardised output into USD, shape (n,) in and out."""
        return standardised.astype(np.float64) * self.target_scale + self.target_mean

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return {
            "input_names": list(self.input_names),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "target_mean": self.target_mean,
            "target_scale": self.target_scale,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Read what `to_json` wrote."""
        return cls(
            input_names=tuple(data["input_names"]),
            mean=tuple(float(value) for value in data["mean"]),
            scale=tuple(float(value) for value in data["scale"]),
            target_mean=float(data["target_mean"]),
            target_scale=float(data["target_scale"]),
        )
