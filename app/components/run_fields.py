"""The fields of a Run's settings: one a setting, checked while one types, each problem beneath its field.

Which fields there are, their words and their order are data; defaults and limits come from `fl.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.formats import plain
from fl.features import FieldProblem
from fl.settings import LATE_POLICIES, LIMITS, SCHEDULES, STRATEGIES, RunSettings, settings_for


@dataclass(frozen=True)
class SettingField:
    """One setting as people read it.

    Attributes
    ----------
    label
        With the unit, if it has one.
    names
        Of a choice: its values -> what people read.
    wide
        Whether it needs a line of its own.
    """

    name: str
    label: str
    help: str = ""
    names: dict[str, str] = field(default_factory=dict)
    wide: bool = False


LOCAL = (
    SettingField(
        "local_epochs", "Local epochs", "Passes over its own patients that each hospital makes in a round."
    ),
    SettingField("batch_size", "Batch size (patients)", "Patients per step of local training."),
    SettingField("optimizer", "Optimizer", names={"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}),
    SettingField("learning_rate", "Learning rate", "Of local training, in the first round."),
    SettingField(
        "weight_decay", "Weight decay", "Of AdamW: pulls weights towards zero, against learning by heart."
    ),
    SettingField("learning_rate_schedule", "Learning rate over the rounds", names=SCHEDULES),
    SettingField(
        "final_learning_rate_share",
        "Learning rate of the last round (share of the first)",
        "Where the schedule ends; without effect if the rate stays the same.",
    ),
)
HOSPITALS = (
    SettingField("fraction_fit", "Share of hospitals that train in a round (0.5 to 1)"),
    SettingField("fraction_evaluate", "Share of hospitals that evaluate a round (0.1 to 1)"),
    SettingField("min_sites_statistics", "Minimum hospitals for the statistics"),
    SettingField("min_sites", "Minimum hospitals for training", "Fewer usable answers end the run."),
    SettingField("min_sites_evaluate", "Minimum hospitals for an evaluation"),
    SettingField("min_rows", "Minimum patients at a hospital", "With fewer of known cost it sits out."),
    SettingField("join_time_limit", "Wait for hospitals at the start (seconds)"),
    SettingField(
        "approval_time_limit",
        "Wait for approvals (seconds)",
        "For hospitals that approve the settings of each run; 0 does not wait.",
    ),
    SettingField(
        "max_update_ratio",
        "Largest update (times the median)",
        "A larger update than so many times the median of the other hospitals' is rejected.",
    ),
    SettingField("round_time_limit", "Time limit of a round (seconds)"),
    SettingField("late_policy", "When a hospital is late, the run", names=LATE_POLICIES, wide=True),
)
TRAINING = (
    SettingField(
        "start_from",
        "Start from",
        "A warm start keeps the scaling of the model in use.",
        {"random": "random weights", "champion": "the model in use (warm start)"},
    ),
    SettingField(
        "train_share",
        "Share of patients trained on",
        "The others are held out for evaluation; 0.8 is a split of 80 to 20.",
    ),
    SettingField(
        "early_stopping_rounds",
        "Stop early after rounds without improvement",
        "So many rounds that did not lower the loss end training; 0 never stops early.",
    ),
    SettingField("min_improvement", "Smallest improvement of the loss that counts"),
    SettingField(
        "max_site_harm",
        "Largest loss of R² at one hospital",
        "A version that costs any hospital more is not put in use by rule.",
    ),
    SettingField(
        "local_only",
        "Also train each hospital alone at the end, to tell what taking part brings",
        wide=True,
    ),
)
STRATEGY = (
    SettingField("proximal_mu", "Pull towards the common model (µ)"),
    SettingField("server_learning_rate", "Server learning rate"),
    SettingField("server_momentum", "Server momentum (0 to 0.999)"),
    SettingField("beta_1", "β₁ (0 to 0.999)"),
    SettingField("beta_2", "β₂ (0 to 0.9999)"),
    SettingField("tau", "τ", "Keeps the server's step finite where the second moment is near zero."),
    SettingField("trim_share", "Share cut off at each end (0 to 0.49)"),
    SettingField("malicious_sites", "Hospitals that may be hostile"),
)
# A Run that trains nothing asks only for these.
BASELINE = tuple(
    each
    for each in (*HOSPITALS, *TRAINING)
    if each.name
    in (
        "train_share",
        "min_sites",
        "min_rows",
        "round_time_limit",
        "join_time_limit",
        "approval_time_limit",
        "late_policy",
    )
)
FIELD_BY_NAME = {each.name: each for each in (*STRATEGY, *LOCAL, *HOSPITALS, *TRAINING)}
_NAMES = re.compile(r"\b(" + "|".join(sorted(FIELD_BY_NAME, key=len, reverse=True)) + r")\b")
_DEFAULTS = RunSettings()
_VALUES, _CHANGED = "training_values", "training_changed"


def strategy_fields(strategy: str) -> list[SettingField]:
    """Return the fields that matter for one strategy besides those of local training."""
    return [FIELD_BY_NAME[name] for name in STRATEGIES[strategy].settings]


def setting_key(name: str) -> str:
    """Return the widget key of a setting."""
    return f"training_set_{name}"


def write_default(name: str, strategy: str) -> Any:
    """Return what a field holds until somebody changes it: the strategy's default, as it is typed."""
    value = getattr(settings_for(strategy, {}), name)
    return value if isinstance(value, bool | str) else f"{value:.10g}"


def values() -> dict[str, Any]:
    """Return what every field holds, by setting, also those that are not drawn now."""
    held: dict[str, Any] = st.session_state.setdefault(_VALUES, {})
    return held


def changed() -> list[str]:
    """Return the settings that the reader changed: another strategy does not change them back."""
    names: list[str] = st.session_state.setdefault(_CHANGED, [])
    return names


def fill_fields(strategy: str) -> None:
    """Set all fields that nobody has changed to the strategy's defaults, before they are drawn."""
    for name in FIELD_BY_NAME:
        if name not in changed():
            values()[name] = st.session_state[setting_key(name)] = write_default(name, strategy)


def forget_fields() -> None:
    """Go back to the defaults of every field."""
    for kept in (_VALUES, _CHANGED):
        st.session_state.pop(kept, None)


def show_fields(fields: Sequence[SettingField], *, columns: int = 2) -> dict[str, DeltaGenerator]:
    """Draw fields beside each other; return by setting the place beneath it for its problem."""
    places: dict[str, DeltaGenerator] = {}
    for line in _lines(fields, columns):
        for each, column in zip(line, st.columns(1 if line[0].wide else columns), strict=False):
            with column:
                _show_field(each)
                places[each.name] = st.empty()
    return places


def _lines(fields: Sequence[SettingField], columns: int) -> list[list[SettingField]]:
    """Put fields into lines, in their order; one that is wide has its line alone."""
    lines: list[list[SettingField]] = []
    for each in fields:
        if each.wide or not lines or lines[-1][0].wide or len(lines[-1]) == columns:
            lines.append([])
        lines[-1].append(each)
    return lines


def read_fields(fields: Sequence[SettingField]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """Return what the fields hold as settings, and a sentence on each that is no number."""
    chosen: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for each in fields:
        raw = values().get(each.name)
        if raw is None:
            continue
        default = getattr(_DEFAULTS, each.name)
        if isinstance(default, bool | str):
            chosen[each.name] = raw
            continue
        try:
            chosen[each.name] = read_number(str(raw), whole=isinstance(default, int))
        except ValueError:
            problems.append(FieldProblem(each.name, _not_a_number(each, str(raw), isinstance(default, int))))
    return chosen, problems


def read_number(typed: str, *, whole: bool) -> int | float:
    """Read a number as people type it: spaces around it, a decimal comma; raises ValueError."""
    text = typed.strip().replace(",", ".")
    if whole:
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise ValueError(typed)
        return int(text)
    if not re.fullmatch(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)(e[+-]?\d{1,2})?", text, re.IGNORECASE):
        raise ValueError(typed)
    return float(text)


def in_words(problem: FieldProblem) -> str:
    """Return a problem as a sentence that names settings by their labels."""
    return _NAMES.sub(lambda found: f"“{_short(FIELD_BY_NAME[found.group()])}”", problem.message)


def show_problems(
    places: Mapping[str, DeltaGenerator], problems: Sequence[FieldProblem]
) -> list[FieldProblem]:
    """Write each problem beneath its field; return those whose field is not drawn."""
    left: list[FieldProblem] = []
    for problem in problems:
        if problem.field in places:
            places[problem.field].markdown(f":small[:red[:material/error: {plain(in_words(problem))}]]")
        else:
            left.append(problem)
    return left


def _show_field(each: SettingField) -> None:
    key, default = setting_key(each.name), getattr(_DEFAULTS, each.name)
    if key not in st.session_state:
        # Streamlit drops a field that was not drawn for a while.
        st.session_state[key] = values()[each.name]
    common: dict[str, Any] = {
        "key": key,
        "help": each.help or None,
        "on_change": _remember,
        "args": (each.name,),
    }
    if isinstance(default, bool):
        typed: Any = st.checkbox(each.label, **common)
    elif each.names:
        typed = st.selectbox(each.label, list(each.names), format_func=each.names.__getitem__, **common)
    else:
        typed = st.text_input(each.label, live=True, autocomplete="off", **common)
    values()[each.name] = typed


def _remember(name: str) -> None:
    if name not in changed():
        changed().append(name)


def _short(each: SettingField) -> str:
    return re.sub(r" \([^)]*\)$", "", each.label)


def _not_a_number(each: SettingField, typed: str, whole: bool) -> str:
    low, high = LIMITS[each.name]
    kind = "a whole number" if whole else "a number"
    said = f", not {typed.strip()[:20]!r}" if typed.strip() else ""
    return f"Enter {kind} from {low:g} to {high:g}{said}."
