"""The model in use as a figure of an overview, for people of a hospital."""

from __future__ import annotations

from app.components.figure import Figure
from app.components.formats import day, usd
from app.services.models import ModelStatus


def model_figure(status: ModelStatus) -> Figure:
    """Return version, average error and age of the model in use; it leads to the model card."""
    if not status.has_model:
        return Figure("Model in use", "None yet", status.message, "model_card", "Open the model card")
    return Figure(
        "Model in use",
        status.version or "",
        f"On average {usd(status.mae)} a year off for patients it was not trained on. "
        f"Trained {day(status.trained_at)}.",
        "model_card",
        "Read the model card",
    )
