"""The main job in a browser: an administrator trains, a doctor predicts, a scientist looks, a nurse stays out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.at_work import (
    NARROW,
    browsing,
    charts,
    go_to,
    menu,
    picture,
    pictures,
    rounds_drawn,
    settle,
    sign_in,
    usd,
)
from tests.browser.conftest import ARTIFACTS, Product

ROUNDS = 20  # long enough to be watched while a hospital is hidden
FEDERATION_UP_LIMIT = 90_000  # milliseconds; other work may slow this machine
TRIES = 4
RUN_LIMIT = 120.0  # seconds
HOSPITALS = (
    "Harbour Light Hospital",
    "Cedar Ridge Medical Center",
    "Magnolia General Hospital",
    "Desert Bloom Hospital",
)
ALL = "All hospitals"
DOCTORS_MENU = ["Overview", "Patients", "Import", "Predict", "Batch", "History", "Model card"]
HIDDEN = HOSPITALS[0]  # the line that the administrator hides while the Run goes on
ZOOMED = 1  # the chart that the administrator zooms into meanwhile
# Where a chart's plot is, in the middle of the window: its left edge, its width and the height of its middle. Asked for
# at once, because a live chart replaces its elements at every redraw.
_PLOT = """place => {
  const chart = document.querySelectorAll('.js-plotly-plot')[place]
  chart.scrollIntoView({ block: 'center', behavior: 'instant' })
  const box = chart.querySelector('.nsewdrag').getBoundingClientRect()
  return [box.x, box.width, box.y + box.height / 2]
}"""


@pytest.fixture(scope="module")
def trained(browser: Browser, product: Product) -> Iterator[str]:
    """The administrator's part, watched as it happens; returns the version that the Run made."""
    with browsing(browser, product) as page, browsing(browser, product, width=NARROW, scheme="dark") as phone:
        _doctor_has_no_model_yet(browser, product)
        sign_in(page, "admin@demo.local")
        assert menu(page) == [
            "Overview",
            "Training",
            "Cohort",
            "Triggers",
            "Models",
            "Model card",
            "Institutions",
            "Retention",
            "Audit",
            "System",
            "People",
        ]
        expect(page.get_by_text("No training yet")).to_be_visible()
        picture(page, "overview_empty_1280_light")
        go_to(page, "Training")
        expect(page.get_by_text("No model exists yet")).to_be_visible()
        expect(page.get_by_text("Federation is up")).to_be_visible(timeout=FEDERATION_UP_LIMIT)
        picture(page, "training_empty_1280_light")
        sign_in(phone, "scientist@demo.local")
        phone.goto("/training")
        expect(phone.get_by_text("An administrator starts the first training.")).to_be_visible()

        page.get_by_role("button", name="Start round").click()
        rounds = page.get_by_label("Number of rounds", exact=True)
        expect(rounds).to_have_value("10")
        rounds.fill(str(ROUNDS))
        rounds.press("Tab")
        picture(page, "training_dialog_1280_light")
        page.evaluate("window.notReloaded = true")
        page.get_by_role("button", name="Start training").click()
        _watch_the_run(page, phone)

        yield_version = page.get_by_text("This run made model version")
        expect(yield_version).to_be_visible(timeout=20_000)
        assert page.evaluate("window.notReloaded") is True
        _who_took_part(page)
        found = re.search(r"version (\S+)\.", yield_version.inner_text())
        assert found is not None
        expect(phone.get_by_text("This run made model version")).to_be_visible(timeout=20_000)
        picture(phone, "training_watched_390_dark")
        pictures(browser, product, page, {"/training": "training"})
        yield found.group(1)


def test_the_administrator_sees_the_run_live_and_who_took_part(trained: str) -> None:
    assert trained


def test_the_doctor_predicts_saves_and_finds_it_in_the_history(
    trained: str, browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, "doctor@northeast.demo.local")
        assert menu(page) == DOCTORS_MENU
        go_to(page, "Predict")
        expect(page.get_by_text("The cost appears here as you type")).to_be_visible()
        picture(page, "predict_waiting_1280_light")
        _enter_patient(page)
        amount = page.get_by_test_id("amount")
        expect(amount).to_be_visible()
        settle(page)
        cost = usd(amount.inner_text())
        assert 1_000 < cost < 80_000
        expect(page.get_by_text(f"model version {trained}")).to_be_visible()
        page.get_by_role("button", name="Save to history").click()
        expect(page.get_by_text("Saved to history.")).to_be_visible()
        picture(page, "predict_saved_1280_light")
        page.get_by_role("link", name="Open History").click()
        expect(page.get_by_role("heading", name="History", exact=True)).to_be_visible()
        row = page.get_by_role("row").nth(1)
        for cell in (f"${cost:,}", trained, "Dr. Miriam Okafor"):
            expect(row).to_contain_text(cell)
        go_to(page, "Overview")
        expect(page.get_by_text(f"${cost:,} a year predicted")).to_be_visible()
        pictures(browser, product, page, {"/overview": "overview"})


def test_the_doctor_sees_only_the_own_hospitals_patients_in_pages(
    trained: str, browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, "doctor@northeast.demo.local")
        page.get_by_role("link", name="See who they are").click()
        expect(page.get_by_role("button", name="Cost unknown")).to_be_visible()
        settle(page)
        assert all("not known yet" in row for row in _rows(page))
        page.get_by_role("button", name="Clear all").click()
        expect(page.get_by_text("334 patients")).to_be_visible()
        expect(page.get_by_text("Page 1 of 14")).to_be_visible()
        first = _rows(page)
        assert all("Northeast" in row for row in first)
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("Page 2 of 14")).to_be_visible()
        settle(page)
        assert not set(first) & set(_rows(page))
        page.get_by_role("button", name="Previous").click()
        expect(page.get_by_text("Page 1 of 14")).to_be_visible()
        settle(page)

        page.get_by_role("row").nth(1).get_by_role("link").click()
        expect(page.get_by_text("On record since")).to_be_visible()
        page.get_by_role("button", name="Predict cost").click()
        expect(page.get_by_text("with the values on record")).to_be_visible()
        expect(page.get_by_test_id("amount")).to_be_visible()


def test_the_scientist_sees_the_finished_charts_and_the_new_version(
    trained: str, browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, "scientist@demo.local")
        expect(page.get_by_role("link", name="See its rounds")).to_be_visible()
        expect(page.get_by_role("button", name="Start round")).to_have_count(0)
        page.get_by_role("link", name="See its rounds").click()
        expect(page.get_by_text("This run made model version")).to_be_visible()
        page.wait_for_function(
            "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length == 23"
        )
        drawn = charts(page)
        assert [len(chart) for chart in drawn] == [5, 5, 5, 4, 4]
        assert all(len(values) == ROUNDS for chart in drawn for values in chart.values())
        page.get_by_role("button", name=HOSPITALS[0]).click()
        page.wait_for_function(
            "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length == 18"
        )
        go_to(page, "Models")
        expect(page.get_by_role("heading", name=f"Version {trained}")).to_be_visible()
        expect(page.get_by_text("In use").first).to_be_visible()
        for label in ("R²", "MAE (USD a year)", "RMSE (USD a year)", "Rows trained on"):
            expect(page.get_by_test_id("stMetric").filter(has_text=label)).to_be_visible()
        for hospital in HOSPITALS:
            expect(page.get_by_test_id("stTable").get_by_text(hospital)).to_be_visible()
        pictures(browser, product, page, {"/models": "models"})


def test_the_nurse_does_not_reach_training(trained: str, browser: Browser, product: Product) -> None:
    with browsing(browser, product) as page:
        sign_in(page, "nurse@northeast.demo.local")
        assert menu(page) == ["Overview", "Patients", "Predict", "History", "Model card"]
        page.goto("/training")
        expect(page.get_by_text("Your role does not include this.")).to_be_visible(timeout=20_000)
        expect(page.get_by_role("button", name="Start round")).to_have_count(0)
        expect(page.get_by_text("This run made model version")).to_have_count(0)


def test_after_signing_out_the_back_button_does_not_bring_the_page_back(
    trained: str, browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, "doctor@northeast.demo.local")
        go_to(page, "Patients")
        expect(page.get_by_text("334 patients")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        _only_the_form(page)
        picture(page, "sign_in_1280_light")
        page.go_back()
        page.wait_for_timeout(1500)
        _only_the_form(page)
        page.goto("/patients")
        _only_the_form(page)
        with browsing(browser, product, width=NARROW, scheme="dark") as phone:
            phone.goto("/")
            _only_the_form(phone)
            picture(phone, "sign_in_390_dark")


def _doctor_has_no_model_yet(browser: Browser, product: Product) -> None:
    with browsing(browser, product) as page:
        sign_in(page, "doctor@northeast.demo.local")
        page.goto("/predict")
        sentence = (
            "No model has been trained yet. An administrator starts the first training on the Training page."
        )
        expect(page.get_by_text(sentence)).to_be_visible(timeout=20_000)
        expect(page.get_by_label("Age (years)", exact=True)).to_have_count(0)
        picture(page, "predict_empty_1280_light")


def _watch_the_run(page: Page, phone: Page) -> None:
    """See the steps go by and the lines grow in two browsers, and choose what to see while it happens."""
    steps: list[str] = []
    lengths: list[int] = []
    live_on_the_phone = pictured = False
    zoomed: tuple[float, float] | None = None
    deadline = time.monotonic() + RUN_LIMIT
    while time.monotonic() < deadline:
        step = " ".join(
            page.locator("ol[aria-label='Progress of the run'] [aria-current] .label").all_inner_texts()
        )
        if step and step not in steps:
            steps.append(step)
        drawn = charts(page)
        points = len(drawn[0].get(ALL, [])) if drawn else 0
        if points and points not in lengths:
            lengths.append(points)
        if points and zoomed is None:
            _look_closer(page)
            zoomed = _zoom_in(page)
            points_then = points
        if points >= 2 and not pictured and step:
            page.screenshot(path=ARTIFACTS / "training_live_1280_light.png")
            pictured = True
        live_on_the_phone = (
            live_on_the_phone or phone.get_by_text(re.compile(rf"Round \d+ of {ROUNDS}")).count() > 0
        )
        if page.get_by_text("This run made model version").count():
            break
        assert page.get_by_text("Failed at").count() == 0, page.get_by_role("alert").all_inner_texts()
        page.wait_for_timeout(100)
    assert steps, "no step was seen"
    assert any(re.fullmatch(rf"Round \d+ of {ROUNDS}", step) for step in steps), steps
    assert len(lengths) >= 2 and lengths == sorted(lengths), lengths
    assert live_on_the_phone
    page.wait_for_timeout(1500)
    drawn, work = charts(page)[:3], charts(page)[3:]
    assert all(len(values) == ROUNDS - 1 for chart in drawn for values in chart.values())
    assert drawn[0][ALL][-1] < drawn[0][ALL][0], "the loss did not fall"
    assert rounds_drawn(page) == (0.5, ROUNDS - 0.5), "the rounds shown did not survive the redraws"
    assert lengths[-1] > points_then and rounds_drawn(page, ZOOMED) == zoomed, (
        "the zoom did not survive the redraws"
    )
    page.locator(".js-plotly-plot").nth(ZOOMED).locator("[data-title='Show all rounds']").click()
    page.wait_for_timeout(400)
    assert rounds_drawn(page, ZOOMED) == (0.5, ROUNDS - 0.5)
    assert [set(chart) for chart in drawn] == [{ALL, *HOSPITALS} - {HIDDEN}] * 3, "a hidden line came back"
    assert [set(chart) for chart in work] == [{*HOSPITALS} - {HIDDEN}] * 2


def _look_closer(page: Page) -> None:
    """Leave out the last Round and one hospital while the Run goes on."""
    page.get_by_role("slider", name="Rounds shown").last.press("ArrowLeft")
    page.get_by_role("button", name=HIDDEN).click()


def _zoom_in(page: Page) -> tuple[float, float]:
    """Draw a box over the middle of a chart with the mouse; return the Rounds that it shows from then on."""
    for _ in range(TRIES):  # a box that is being drawn when the next Round comes is drawn again
        left, width, height = page.evaluate(_PLOT, ZOOMED)
        page.mouse.move(left + width * 0.3, height)
        page.mouse.down()
        page.mouse.move(left + width * 0.7, height, steps=5)
        page.mouse.up()
        page.wait_for_timeout(500)
        first, last = rounds_drawn(page, ZOOMED)
        if first > 0.5:
            break
    assert 0.5 < first < last < ROUNDS - 0.5, (first, last)
    return first, last


def _who_took_part(page: Page) -> None:
    expect(page.get_by_role("heading", name="Who took part")).to_be_visible()
    for hospital in HOSPITALS:
        row = page.locator(".st-key-run_participation tr").filter(has_text=hospital)
        expect(row).to_contain_text(f"Yes, all {ROUNDS} rounds")
        assert all(int(cell) > 20 for cell in row.locator("td").all_inner_texts()[2:4])


def _rows(page: Page) -> list[str]:
    """Return what stands in each row of the list, without its headings."""
    return page.get_by_role("row").all_inner_texts()[1:]


def _enter_patient(page: Page) -> None:
    page.get_by_label("Age (years)", exact=True).fill("45")
    page.get_by_label("BMI (kg/m²)", exact=True).fill("31.5")
    page.get_by_label("Children", exact=True).fill("2")
    page.get_by_role("radio", name="Male", exact=True).click()
    page.get_by_role("radio", name="No", exact=True).click()
    page.get_by_label("Region", exact=True).click()
    page.get_by_role("option", name="Northeast").click()


def _only_the_form(page: Page) -> None:
    expect(page.get_by_label("E-mail")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("334 patients")).to_have_count(0)
    expect(page.get_by_test_id("stDataFrame")).to_have_count(0)
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    expect(page.get_by_test_id("stSidebarNavLink")).to_have_count(0)
