"""What is told of a shadow version: figures over the hospitals, the stop rule, how many more patients it takes."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import select

from app.databases import central_session
from app.services import shadow
from app.services.shadow import Verdict
from db.central import Institution, ModelVersion
from db.federation import ShadowComparison
from fl.sequential import half_width
from tests.integration.conftest import Consortium
from tests.integration.shadows import AddModel, shadow_beside_the_champion


@pytest.fixture
def two(consortium: Consortium, add_model: AddModel) -> tuple[float, float]:
    return shadow_beside_the_champion(consortium, add_model)


def _tell(consortium: Consortium, code: str, count: int, mean: float, deviation: float) -> None:
    """Keep a comparison with these differences, USD a year; the champion's mean error is 3,000."""
    with consortium.central() as central:
        ids = dict(central.execute(select(ModelVersion.version, ModelVersion.id)).all())
        institution = central.scalars(select(Institution.id).where(Institution.code == code)).one()
        central.add(
            ShadowComparison(
                champion_version_id=ids["v1"],
                shadow_version_id=ids["v2"],
                institution_id=institution,
                num_examples=count,
                champion_error=count * 3000.0,
                shadow_error=count * (3000.0 + mean),
                difference=count * mean,
                difference_squared=count * (mean**2 + deviation**2),
            )
        )
        central.commit()


def _report(consortium: Consortium) -> shadow.ShadowReport:
    with central_session() as central:
        [report] = shadow.shadow_reports(central=central, actor=consortium.actors["scientist"], version="v2")
    return report


def test_figures_are_added_up_over_the_hospitals_and_judged(
    consortium: Consortium, two: tuple[float, float]
) -> None:
    _tell(consortium, "northeast", 300, -500.0, 1000.0)
    _tell(consortium, "southwest", 60, 100.0, 1000.0)
    report = _report(consortium)
    assert [(one.institution, one.num_examples) for one in report.institutions] == [
        ("Northeast Hospital", 300),
        ("Southwest Hospital", 60),
    ]
    assert report.institutions[1].low is None  # too few to conclude anything
    overall = report.overall
    assert overall is not None
    # (300 x -500 + 60 x 100) / 360 = -400; the mean square is (300 x 1.25e6 + 60 x 1.01e6) / 360 = 1.21e6.
    assert (overall.num_examples, overall.difference) == (360, pytest.approx(-400.0))
    assert (overall.champion_error, overall.shadow_error) == (pytest.approx(3000.0), pytest.approx(2600.0))
    width = half_width(360, math.sqrt(1.21e6 - 400.0**2))
    assert (overall.low, overall.high) == (pytest.approx(-400 - width), pytest.approx(-400 + width))
    assert report.verdict is Verdict.SHADOW
    assert (
        report.sentence
        == "The shadow v2 is better than v1, by 400 USD a year on average: it can be promoted."
    )


@pytest.mark.parametrize(
    ("count", "mean", "verdict", "words"),
    [
        (300, 500.0, Verdict.CHAMPION, "Version v1 is better than the shadow v2, by 500 USD"),
        (90, -2000.0, Verdict.GO_ON, "nothing is concluded from fewer than 100 patients, and 90 are known"),
        (300, 0.1, Verdict.GO_ON, "the two hardly differ"),
    ],
)
def test_the_stop_rule_says_what_to_do(
    consortium: Consortium,
    two: tuple[float, float],
    count: int,
    mean: float,
    verdict: Verdict,
    words: str,
) -> None:
    _tell(consortium, "northeast", count, mean, 1000.0)
    report = _report(consortium)
    assert report.verdict is verdict and words in report.sentence


def test_it_is_said_about_how_many_more_patients_it_takes(
    consortium: Consortium, two: tuple[float, float]
) -> None:
    _tell(consortium, "northeast", 200, -100.0, 1000.0)
    report = _report(consortium)
    assert report.verdict is Verdict.GO_ON and report.more is not None
    assert half_width(200 + report.more, 1000.0) <= 100 < half_width(199 + report.more, 1000.0)
    assert f"about {report.more:,} more patients" in report.sentence


def test_a_shadow_of_which_nothing_is_known_yet_says_when_it_will_be(
    consortium: Consortium, two: tuple[float, float]
) -> None:
    report = _report(consortium)
    assert (report.champion, report.overall, report.institutions) == ("v1", None, [])
    assert "No hospital has told of ten patients yet" in report.sentence
