"""Runs that train nothing, and what a federated Run finds out besides its model, over real databases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sqlalchemy import select, text

from bench.reference import SiteRows, federated
from db.central import ModelVersion, SiteResult, TrainingRun
from db.engines import engine_for, sessions_for
from db.federation import RunEvent
from db.provision import DatabaseUrls
from db.states import RunKind, RunStatus
from fl.features import INPUT_NAMES
from fl.least_squares import TOO_FEW_TO_SUM, CostLine
from fl.model import initial_weights, weights_to_bytes
from fl.roster import RunFailed
from fl.settings import RunSettings
from fl.site_data import SiteData, load_site_data
from tests.integration.conducting import conduct_run, insert_run, load_hospitals, results_of, run_of
from tests.integration.local_grid import LocalGrid, spoil

SETTINGS = RunSettings(local_epochs=1, join_time_limit=1.0)


@pytest.fixture
def consortium(databases: DatabaseUrls) -> DatabaseUrls:
    """Four Sites large enough for their products."""
    load_hospitals(databases, 1600)
    return databases


def conducted(
    urls: DatabaseUrls,
    kind: RunKind,
    grid: LocalGrid | None = None,
    settings: RunSettings = SETTINGS,
    **columns: Any,
) -> TrainingRun:
    """Conduct a Run of this kind to its end and return its row."""
    run_id = insert_run(urls, settings, kind=kind, **columns)
    conduct_run(urls, run_id, grid)
    return run_of(urls, run_id)


def rows_of(urls: DatabaseUrls) -> dict[str, SiteData]:
    """Read every Site's own rows."""
    return {code: load_site_data(url, SETTINGS.split_salt) for code, url in urls.sites.items()}


def answers_of(urls: DatabaseUrls, run_id: int) -> dict[tuple[str, str], SiteResult]:
    """Return what each institution answered last, by code and phase."""
    return {(code, phase): row for (code, phase, _), row in results_of(urls, run_id).items()}


def pooled_least_squares(rows: list[SiteData]) -> tuple[np.ndarray, np.ndarray]:
    """Fit scikit-learn's least squares to all training rows together; return predicted and actual held-out costs."""

    def with_interactions(inputs: np.ndarray) -> np.ndarray:
        age, bmi, smoker = (inputs[:, INPUT_NAMES.index(name)] for name in ("age", "bmi", "smoker_yes"))
        return np.column_stack([inputs, age**2, smoker * bmi])

    line = LinearRegression().fit(
        with_interactions(np.concatenate([site.train_inputs for site in rows])),
        np.concatenate([site.train_cost for site in rows]),
    )
    held_out = np.concatenate([site.holdout_inputs for site in rows])
    return line.predict(with_interactions(held_out)), np.concatenate([site.holdout_cost for site in rows])


def test_least_squares_over_messages_equals_pooled_least_squares(consortium: DatabaseUrls) -> None:
    run = conducted(consortium, RunKind.LEAST_SQUARES)
    assert (run.status, run.current_round) == (RunStatus.COMPLETED, 0)
    baseline = run.results["baseline"]
    rows = rows_of(consortium)
    predicted, actual = pooled_least_squares(list(rows.values()))
    held_out = np.concatenate([site.holdout_inputs for site in rows.values()])
    ours = CostLine.from_json(baseline["coefficients"]).costs(held_out)
    np.testing.assert_allclose(ours, predicted, rtol=1e-6)
    assert baseline["r2"] == pytest.approx(r2_score(actual, predicted), abs=1e-6)
    assert baseline["mae"] == pytest.approx(np.abs(predicted - actual).mean(), rel=1e-6)
    assert baseline["num_examples"] == len(actual)
    assert baseline["withheld"] == [] and set(baseline["institutions"]) == set(consortium.sites)
    assert baseline["institutions"]["northeast"]["num_examples"] == len(rows["northeast"].holdout_cost)
    with sessions_for(consortium.central)() as session:
        assert session.scalars(select(ModelVersion)).all() == []


def test_the_line_of_a_federated_run_is_known_from_its_first_round_on(consortium: DatabaseUrls) -> None:
    grid = LocalGrid(consortium.train_sites)
    known = []
    grid.misbehave["northeast", "train"] = lambda body: known.append("baseline" in body) or body
    run = conducted(consortium, RunKind.FEDERATED, grid)
    assert known == [True, False]
    predicted, actual = pooled_least_squares(list(rows_of(consortium).values()))
    assert run.results["baseline"]["r2"] == pytest.approx(r2_score(actual, predicted), abs=1e-6)


def _few_women_among_smokers(urls: DatabaseUrls, code: str) -> None:
    with engine_for(urls.sites[code]).begin() as connection:
        connection.execute(
            text(
                "DELETE FROM patients WHERE smoker = 'yes' AND sex = 'female' AND id NOT IN "
                "(SELECT id FROM patients WHERE smoker = 'yes' AND sex = 'female' ORDER BY id LIMIT 9)"
            )
        )


def test_a_site_whose_products_would_tell_of_few_patients_is_left_out_of_the_line_and_trains(
    consortium: DatabaseUrls,
) -> None:
    _few_women_among_smokers(consortium, "southwest")
    run = conducted(consortium, RunKind.FEDERATED)
    rows = rows_of(consortium)
    with sessions_for(consortium.central)() as session:
        said = session.scalars(select(RunEvent).where(RunEvent.message == TOO_FEW_TO_SUM)).one()
    assert (said.run_id, said.severity) == (run.id, "warning")
    answers = answers_of(consortium, run.id)
    assert {answers["southwest", phase].outcome for phase in ("statistics", "train")} == {"ok"}
    baseline = run.results["baseline"]
    assert baseline["withheld"] == ["southwest"]
    others = [site for code, site in rows.items() if code != "southwest"]
    predicted, _ = pooled_least_squares(others)
    held_out = np.concatenate([site.holdout_inputs for site in others])
    np.testing.assert_allclose(
        CostLine.from_json(baseline["coefficients"]).costs(held_out), predicted, rtol=1e-6
    )
    assert "southwest" in baseline["institutions"]  # it is still judged by its own held-out rows


def test_too_few_sites_with_products_end_a_least_squares_run_with_their_reasons(
    consortium: DatabaseUrls,
) -> None:
    for code in ("northeast", "northwest", "southeast"):
        _few_women_among_smokers(consortium, code)
    run_id = insert_run(consortium, SETTINGS, kind=RunKind.LEAST_SQUARES)
    with pytest.raises(RunFailed, match="at least 2"):
        conduct_run(consortium, run_id)
    assert answers_of(consortium, run_id)["northeast", "statistics"].reason == TOO_FEW_TO_SUM


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (b"12345678" * 3, "its products are 3 numbers instead of 152"),
        (np.full(152, np.inf).tobytes(), "its products hold a number that cannot be"),
        (np.zeros(152).tobytes(), "its products do not fit its number of rows"),
    ],
)
def test_products_that_cannot_be_are_rejected_with_the_reason(
    consortium: DatabaseUrls, spoiled: bytes, words: str
) -> None:
    grid = LocalGrid(consortium.train_sites, {("southwest", "query"): spoil(products=spoiled)})
    run = conducted(consortium, RunKind.LEAST_SQUARES, grid)
    rejected = answers_of(consortium, run.id)["southwest", "statistics"]
    assert rejected.outcome == "failed" and words in str(rejected.reason)
    assert run.results["baseline"]["r2"] > 0.7


def test_a_run_tells_each_hospital_what_taking_part_brought_it(consortium: DatabaseUrls) -> None:
    """The training alone is repeated here, from the Site's rows, with the network's plain definition."""
    run = conducted(consortium, RunKind.FEDERATED)
    told = run.results["local_only"]
    assert set(told) == set(consortium.sites)
    with sessions_for(consortium.central)() as session:
        version = session.scalars(select(ModelVersion)).one()
    for code, rows in rows_of(consortium).items():
        own = SiteRows(rows.train_inputs, rows.train_cost)
        here = told[code]
        alone = federated({code: own}, rounds=here["best_round"], seed=5, settings=SETTINGS)
        predicted = np.maximum(alone.unclipped_costs(rows.holdout_inputs), 0.0)
        error = np.sqrt(np.mean((predicted - rows.holdout_cost) ** 2))
        together = version.metrics["institutions"][code]
        assert here["r2_local"] == pytest.approx(r2_score(rows.holdout_cost, predicted), abs=1e-4)
        assert here["r2_federated"] == together["r2"]
        assert here["gain_rmse_usd"] == pytest.approx(error - together["rmse"], abs=1.0)
        assert here["gain_low_usd"] < here["gain_rmse_usd"] < here["gain_high_usd"]
        assert (here["num_examples"], here["rounds"]) == (len(rows.holdout_cost), 2)


def test_a_run_that_is_told_not_to_compare_does_not(consortium: DatabaseUrls) -> None:
    settings = RunSettings(local_epochs=1, local_only=False)
    run = conducted(consortium, RunKind.FEDERATED, settings=settings)
    assert "local_only" not in run.results and "baseline" in run.results


def test_a_comparison_that_cannot_be_is_rejected_with_the_reason(consortium: DatabaseUrls) -> None:
    spoiled = np.array([1, 1, 30, -1, 0, 0, 0, 0, 0, 0, 0], dtype="<f8").tobytes()
    grid = LocalGrid(consortium.train_sites, {("southwest", "evaluate"): spoil(local_only=spoiled)})
    run = conducted(consortium, RunKind.FEDERATED, grid)
    with sessions_for(consortium.central)() as session:
        rejected = session.scalars(select(SiteResult).where(SiteResult.outcome == "failed")).one()
    assert rejected.institution.code == "southwest" and "a sum that cannot be" in str(rejected.reason)
    assert set(run.results["local_only"]) == set(consortium.sites) - {"southwest"}


def test_a_cohort_run_records_what_the_patients_are_like_and_what_to_look_at(
    consortium: DatabaseUrls,
) -> None:
    with engine_for(consortium.sites["southwest"]).begin() as connection:
        connection.execute(text("UPDATE patients SET insurance_cost = insurance_cost / 12"))
        connection.execute(text("UPDATE patients SET deleted_at = now() WHERE last_name = 'Patient 1'"))
    run = conducted(consortium, RunKind.COHORT)
    assert (run.status, run.current_round) == (RunStatus.COMPLETED, 0)
    cohort = run.results["cohort"]
    for code, url in consortium.sites.items():
        with engine_for(url).connect() as connection:
            count, smokers, age = connection.execute(
                text(
                    "SELECT count(*), count(*) FILTER (WHERE smoker = 'yes'), avg(age) FROM patients "
                    "WHERE deleted_at IS NULL"
                )
            ).one()
        here = cohort["institutions"][code]
        assert (here["count"], here["missing"]["age"]) == (count, 0)
        assert here["features"]["smoker"] == {
            "mean": None,
            "sd": None,
            "bins": ["no", "yes"],
            "counts": [count - smokers, smokers],
        }
        assert here["features"]["age"]["mean"] == pytest.approx(float(age))
    assert cohort["pooled"]["count"] == sum(here["count"] for here in cohort["institutions"].values())
    (warning,) = cohort["warnings"]
    assert (warning["institution"], warning["feature"]) == ("southwest", "insurance_cost")
    assert "a month instead of a year" in warning["message"]
    with sessions_for(consortium.central)() as session:
        (event,) = session.scalars(select(RunEvent).where(RunEvent.severity == "warning"))
    assert event.message == f"southwest: {warning['message']}"


def test_a_hospital_of_few_patients_is_not_counted_and_says_why(consortium: DatabaseUrls) -> None:
    with engine_for(consortium.sites["southeast"]).begin() as connection:
        connection.execute(text("UPDATE patients SET deleted_at = now() WHERE last_name > 'Patient 12'"))
    run = conducted(consortium, RunKind.COHORT)
    answer = answers_of(consortium, run.id)["southeast", "cohort"]
    assert (answer.outcome, answer.reason) == ("excluded", "Fewer than 30 patients.")
    assert set(run.results["cohort"]["institutions"]) == set(consortium.sites) - {"southeast"}


def test_a_summary_that_tells_of_few_patients_is_rejected(consortium: DatabaseUrls) -> None:
    def spoiled(body: dict[str, Any]) -> dict[str, Any]:
        counts = np.frombuffer(body["counts"], dtype="<i8").copy()
        counts[-2] = 3
        return {**body, "counts": counts.tobytes()}

    grid = LocalGrid(consortium.train_sites, {("southwest", "query.cohort"): spoiled})
    run = conducted(consortium, RunKind.COHORT, grid)
    reason = str(answers_of(consortium, run.id)["southwest", "cohort"].reason)
    assert "one of its bins tells of fewer than 10 patients" in reason


def _imported_copy(urls: DatabaseUrls, of: str) -> int:
    """Import a version's weights again, as a file of a person would be: without any figure."""
    with sessions_for(urls.central)() as session, session.begin():
        original = session.scalars(select(ModelVersion).where(ModelVersion.version == of)).one()
        copy = ModelVersion(
            version="import-1",
            origin="import",
            model_path="models/import-1.keras",
            preprocessing=original.preprocessing,
            weights=original.weights,
            weights_sha256=original.weights_sha256,
            num_examples=0,
            metrics={},
        )
        session.add(copy)
        session.flush()
        return copy.id


def test_an_imported_version_gets_its_figures_from_every_hospital_beside_the_version_in_use(
    consortium: DatabaseUrls,
) -> None:
    made = f"v{conducted(consortium, RunKind.FEDERATED).id}"
    version_id = _imported_copy(consortium, made)
    run = conducted(consortium, RunKind.EVALUATION, start_version_id=version_id)
    assert run.status == RunStatus.COMPLETED
    with sessions_for(consortium.central)() as session:
        original = session.scalars(select(ModelVersion).where(ModelVersion.version == made)).one()
        imported = session.get_one(ModelVersion, version_id)
    found = run.results["evaluation"]
    assert (found["version"], found["champion"], found["promotes"]) == ("import-1", made, False)
    assert f"Not better than {made}" in found["decision"]
    assert found["overall"]["version"] == found["overall"]["champion"]  # the same weights
    assert set(found["institutions"]) == set(consortium.sites)
    assert found["institutions"]["northeast"]["champion"] == original.metrics["institutions"]["northeast"]
    assert found["groups"]["version"] == found["groups"]["champion"] == original.metrics["groups"]
    # The import is now described as the version that a Run made.
    assert (imported.r2, imported.rmse, imported.mae) == (original.r2, original.rmse, original.mae)
    for name in ("institutions", "groups", "calibration"):
        assert imported.metrics[name] == original.metrics[name]
    assert imported.metrics["champion"]["overall"] == found["overall"]["champion"]
    assert (imported.status, original.status) == ("candidate", "champion")


def test_an_evaluation_changes_no_figure_of_a_version_that_has_some_and_promotes_nothing(
    consortium: DatabaseUrls,
) -> None:
    first = conducted(consortium, RunKind.FEDERATED)
    with sessions_for(consortium.central)() as session, session.begin():
        champion = session.scalars(select(ModelVersion)).one()
        before, version_id = dict(champion.metrics), champion.id
    run = conducted(consortium, RunKind.EVALUATION, start_version_id=version_id)
    found = run.results["evaluation"]
    assert found["decision"] == f"v{first.id} is the version in use, so there is nothing to decide."
    assert found["champion"] is None and found["overall"]["champion"] is None
    with sessions_for(consortium.central)() as session:
        assert session.get_one(ModelVersion, version_id).metrics == before


def test_a_better_version_is_called_better_and_still_waits_for_a_person(consortium: DatabaseUrls) -> None:
    trained = conducted(consortium, RunKind.FEDERATED)
    with sessions_for(consortium.central)() as session, session.begin():
        good = session.scalars(select(ModelVersion)).one()
        good.status = "candidate"
        session.flush()
        bad = ModelVersion(
            version="import-1",
            origin="import",
            status="champion",
            model_path="models/import-1.keras",
            preprocessing=good.preprocessing,
            weights=weights_to_bytes(initial_weights(1)),
            weights_sha256="0" * 64,
            num_examples=0,
            metrics={},
        )
        session.add(bad)
        version_id = good.id
    run = conducted(consortium, RunKind.EVALUATION, start_version_id=version_id)
    found = run.results["evaluation"]
    assert found["promotes"] and "Better than import-1" in found["decision"]
    with sessions_for(consortium.central)() as session:
        assert session.get_one(ModelVersion, version_id).status == "candidate"
        assert session.get_one(TrainingRun, trained.id).results.keys() == {"baseline", "local_only"}
