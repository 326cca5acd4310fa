"""How values are written for people: money, numbers, times with their zone, durations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from app.components.browser import browser_zone
from db.site import PatientAction
from db.states import Role, RunKind, RunStatus, VersionStatus
from fl.features import FEATURES, Feature

NOT_KNOWN = "–"
COST_NOT_KNOWN = "not known yet"

ROLE_NAMES: dict[Role, str] = {
    Role.NURSE: "Nurse",
    Role.DOCTOR: "Doctor",
    Role.DATA_SCIENTIST: "Data scientist",
    Role.ADMIN: "Administrator",
    Role.INSTITUTION_ADMIN: "Hospital administrator",
}
RUN_STATUS_NAMES: dict[str, str] = {
    RunStatus.QUEUED: "Queued",
    RunStatus.STARTING: "Starting",
    RunStatus.STATISTICS: "Statistics",
    RunStatus.TRAINING: "Training",
    RunStatus.EVALUATING: "Evaluating",
    RunStatus.COMPLETED: "Completed",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Cancelled",
}
RUN_KIND_NAMES: dict[str, str] = {
    RunKind.FEDERATED: "Train a model",
    RunKind.LEAST_SQUARES: "Least squares baseline only",
    RunKind.COHORT: "Describe the patients",
    RunKind.EVALUATION: "Evaluate a version",
}
VERSION_STATUS_NAMES: dict[str, str] = {
    VersionStatus.CHAMPION: "In use",
    VersionStatus.CANDIDATE: "Waiting for a decision",
    VersionStatus.RETIRED: "Retired",
    VersionStatus.REJECTED: "Not adopted",
}
PATIENT_ACTION_NAMES: dict[str, str] = {
    PatientAction.ADDED: "Added",
    PatientAction.IMPORTED: "Imported",
    PatientAction.EDITED: "Edited",
    PatientAction.DELETED: "Deleted",
    PatientAction.RESTORED: "Restored",
}

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|$~:^&-])")
# Streamlit looks for icons in the text that Markdown has left, where no escape is any more: only a letter of no width
# between keeps one from becoming a picture.
_ICON = re.compile(r"material/")
_JOINER = "\u2060"


def plain(text: str) -> str:
    """Escape `text` so that Markdown shows it letter by letter: directives, formulas, icons and entities too."""
    written = _ICON.sub(f"{_JOINER}material/", " ".join(text.split()))
    return _MARKDOWN_SPECIAL.sub(r"\\\1", written)


def verbatim(text: str) -> str:
    """Set `text` as code in Markdown: an e-mail address would become a link otherwise, escaped or not."""
    return f"`{' '.join(text.replace('`', '').split())}`"


def usd(amount: float | Decimal | None) -> str:
    """Write an amount in whole US dollars: `$13,270`."""
    return NOT_KNOWN if amount is None else f"${amount:,.0f}"


def signed_usd(amount: float | Decimal | None) -> str:
    """Write a difference in whole US dollars with its sign: `+$1,200`, `−$310`, `$0`."""
    if amount is None:
        return NOT_KNOWN
    sign = "" if round(amount) == 0 else "+" if amount > 0 else "\N{MINUS SIGN}"
    return f"{sign}${abs(amount):,.0f}"


def usd_range(low: float | Decimal | None, high: float | Decimal | None) -> str:
    """Write an interval in whole US dollars: `$4,100 – $9,800`; one that is not known has no ends."""
    return NOT_KNOWN if low is None or high is None else f"{usd(low)} – {usd(high)}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with `digits` decimals and thousands separators."""
    return NOT_KNOWN if value is None else f"{value:,.{digits}f}"


def count(value: int | None, noun: str = "", plural: str | None = None) -> str:
    """Write a whole number, with its noun if given: `1,338 rows`."""
    if value is None:
        return NOT_KNOWN
    if not noun:
        return f"{value:,}"
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def at_least(value: int, *, more: bool) -> str:
    """Write a whole number at which counting may have stopped: `10,000` or `over 10,000`."""
    return f"over {count(value)}" if more else count(value)


def duration(seconds: float | None) -> str:
    """Write a length of time: `0.8 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return NOT_KNOWN
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def when(moment: datetime | None, zone: tzinfo | None = None) -> str:
    """Write a moment in the reader's time zone, and name the zone: `24 Nov 2026, 14:05 CET`."""
    if moment is None:
        return NOT_KNOWN
    local = moment.astimezone(zone or browser_zone())
    return f"{local.day} {local:%b %Y, %H:%M %Z}"


def day(moment: datetime | None, zone: tzinfo | None = None) -> str:
    """Write the day of a moment in the reader's time zone: `24 Nov 2026`."""
    if moment is None:
        return NOT_KNOWN
    local = moment.astimezone(zone or browser_zone())
    return f"{local.day} {local:%b %Y}"


def percent(share: float | None) -> str:
    """Write a share from 0 to 1 as a whole percentage: `92 %`."""
    return NOT_KNOWN if share is None else f"{100 * share:.0f} %"


def feature_value(feature: Feature, value: Any) -> str:
    """Write one input of the model as a clinician reads it, without its unit."""
    if value is None:
        return NOT_KNOWN
    if feature.kind == "category":
        return dict(feature.categories).get(str(value), str(value))
    if feature.kind == "integer":
        return f"{int(value)}"
    return f"{float(value):.1f}"


def feature_heading(feature: Feature) -> str:
    """Return a short column heading for a feature, with its unit: `BMI (kg/m²)`."""
    short = re.search(r"\(([^)]+)\)$", feature.label)
    label = short.group(1) if short else feature.label
    return f"{label} ({feature.unit})" if feature.unit else label


def feature_label(feature: Feature) -> str:
    """Return a feature's label with its unit, as above a field: `Age (years)`."""
    if not feature.unit:
        return feature.label
    return (
        f"{feature.label}, {feature.unit}"
        if feature.label.endswith(")")
        else f"{feature.label} ({feature.unit})"
    )


def describe_inputs(inputs: Mapping[str, Any]) -> str:
    """Write all inputs in one line, in the order of the feature table."""
    parts = []
    for feature in FEATURES:
        short = re.search(r"\(([^)]+)\)$", feature.label)
        label = short.group(1) if short else feature.label
        unit = f" {feature.unit}" if feature.unit else ""
        parts.append(f"{label} {feature_value(feature, inputs.get(feature.name)).lower()}{unit}")
    return " · ".join(parts)
