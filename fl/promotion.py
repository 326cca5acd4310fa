"""The rule that decides whether a new model becomes the one in use, and the step that makes it so."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.central import ModelVersion, Promotion
from db.states import PromotionAction, VersionStatus
from fl.evaluation import Metrics

SiteMetrics = Mapping[str, Metrics | None]  # institution code -> metrics on its held-out rows


def promotion_decision(
    new: Metrics,
    new_by_site: SiteMetrics,
    champion_version: str | None,
    champion: Metrics | None,
    champion_by_site: SiteMetrics,
    max_site_harm: float,
) -> tuple[bool, str]:
    """Compare a new model with the champion on the same held-out rows.

    Parameters
    ----------
    max_site_harm
        Largest fall of R2 that any Site may suffer.

    Returns
    -------
    tuple
        Whether to promote, and one sentence that says why or why not.
    """
    if champion_version is None or champion is None:
        return True, "First model: there was none to compare it with."
    if new.rmse >= champion.rmse:
        return False, (
            f"Not better than {champion_version} on the same held-out patients: root mean squared error "
            f"{new.rmse:,.0f} USD against {champion.rmse:,.0f} USD."
        )
    for code in sorted(new_by_site):
        ours, theirs = new_by_site[code], champion_by_site.get(code)
        if ours is None or theirs is None or ours.r2 is None or theirs.r2 is None:
            continue
        if theirs.r2 - ours.r2 > max_site_harm:
            return False, (
                f"Better than {champion_version} overall, but R² at {code} would fall from {theirs.r2:.3f} to "
                f"{ours.r2:.3f}, by more than the permitted {max_site_harm:g}."
            )
    return True, (
        f"Better than {champion_version} on the same held-out patients (root mean squared error {new.rmse:,.0f} USD "
        f"against {champion.rmse:,.0f} USD), and no institution loses more than {max_site_harm:g} of R²."
    )


def promote(session: Session, row: ModelVersion, reason: str) -> None:
    """Make a version the champion by rule, retire the one before, and keep the reason."""
    previous = session.scalar(
        select(ModelVersion).where(ModelVersion.status == VersionStatus.CHAMPION).with_for_update()
    )
    if previous is not None:
        previous.status = VersionStatus.RETIRED
        session.flush()
    row.status = VersionStatus.CHAMPION
    session.add(
        Promotion(
            model_version_id=row.id,
            previous_version_id=previous.id if previous else None,
            action=PromotionAction.PROMOTE,
            reason=reason,
        )
    )
