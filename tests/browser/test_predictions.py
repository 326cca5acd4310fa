"""Predictions in a browser: an answer that follows every edit, a file of many, and costs that came in later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.services.tabular import read_table
from fl.features import FEATURES
from tests.browser.at_work import browsing, go_to, picture, settle, sign_in, usd
from tests.browser.conftest import Product
from tests.browser.demonstration import Caller, train

DOCTOR = "doctor@southeast.demo.local"
ROUNDS = 2
FILE = (
    "{heading};Gender;BMI;Kids;Smoking;Area\n"
    "40;F;27,5;1;no;southeast\n"
    "40;F;27,5;1;yes;southeast\n"
    "{age};M;31,0;0;N;southwest\n"
)


@pytest.fixture(scope="module")
def clinic(product: Product) -> Iterator[Caller]:
    """A doctor over the API, in a consortium that has a model."""
    caller = Caller(product, DOCTOR)
    if not caller.call("GET", "/model/status")["has_model"]:
        train(product, ROUNDS)
    yield caller


def _amount(page: Page) -> int:
    settle(page)
    return usd(page.get_by_test_id("amount").inner_text())


def test_the_answer_follows_every_edit_and_an_unusual_value_has_its_caution(
    clinic: Caller, browser: Browser, product: Product
) -> None:
    patient = clinic.call("GET", "/patients?smoker=no&age_to=40&limit=1")["items"][0]
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        page.goto(f"/predict?patient={patient['id']}")
        expect(page.get_by_test_id("amount")).to_be_visible(timeout=20_000)
        before = _amount(page)
        page.get_by_role("radio", name="Yes", exact=True).click()
        expect(page.get_by_text("stops smoking", exact=True)).to_be_visible()
        smoking = _amount(page)
        assert smoking > before + 5_000
        age = page.get_by_label("Age (years)", exact=True)
        age.fill("95")
        expect(page.get_by_text("Age 95 is outside")).to_be_visible()
        assert _amount(page) != smoking
        picture(page, "predict_caution_1280_light")
        age.fill("950")
        expect(page.get_by_text("Age is '950'")).to_be_visible()
        expect(page.get_by_test_id("amount")).to_have_count(0)


def test_a_file_is_refused_by_row_and_column_and_predicted_when_it_is_right(
    clinic: Caller, browser: Browser, product: Product, tmp_path: Path
) -> None:
    wrong, right, result = (tmp_path / name for name in ("wrong.csv", "right.csv", "result.csv"))
    wrong.write_text(FILE.format(heading="Years", age=140), encoding="utf-8")
    right.write_text(FILE.format(heading="Age", age=52), encoding="utf-8")
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        go_to(page, "Batch")
        chooser = page.locator("input[type=file]")
        expect(chooser).to_be_attached(timeout=20_000)
        chooser.set_input_files(wrong)
        expect(page.get_by_text("Choose the column of: Age (years).")).to_be_visible(timeout=20_000)
        page.get_by_label("Age (years)", exact=True).click()
        page.get_by_role("option", name="Years", exact=True).click()
        expect(page.get_by_text("Nothing was predicted: 1 problem in 1 of 3 rows.")).to_be_visible(
            timeout=20_000
        )
        # The table of problems is drawn on a canvas; its cells are in the page for those who cannot see it.
        problems = page.get_by_test_id("stDataFrame").last
        problems.scroll_into_view_if_needed()
        cells = problems.get_by_role("gridcell", include_hidden=True)
        expect(cells).to_have_text(["4", "Years", re.compile("^Age is '140'")], timeout=20_000)
        expect(page.get_by_role("button", name="Predict 3 patients")).to_have_count(0)
        chooser.set_input_files(right)
        page.get_by_role("button", name="Predict 3 patients").click(timeout=20_000)
        expect(page.get_by_text("3 patients predicted with model version")).to_be_visible(timeout=20_000)
        settle(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        download.value.save_as(result)
    table = read_table(result.read_bytes(), result.name)
    cost = table.header.index("Predicted cost (USD a year)")
    first, second, _ = (float(cells[cost]) for _, cells in table.rows)
    assert second > first + 5_000, "the second patient is the first one as a smoker"
    assert "Model version" in table.header


def test_a_cost_that_came_in_later_stands_beside_its_prediction(
    clinic: Caller, browser: Browser, product: Product
) -> None:
    patient = clinic.call("GET", "/patients?cost_unknown=true&limit=1")["items"][0]
    inputs = {feature.name: patient[feature.name] for feature in FEATURES}
    inputs["bmi"] = float(inputs["bmi"])
    made = clinic.call("POST", "/predictions", {**inputs, "patient_id": patient["id"]})
    cost = round(float(made["predicted_cost"])) + 1_000
    names = {name: patient[name] for name in ("first_name", "last_name")}
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        go_to(page, "History")
        page.get_by_label("Patient", exact=True).press_sequentially(patient["last_name"], delay=30)
        expect(page).to_have_url(re.compile(r"/history\?.*="))
        row = page.get_by_role("row").nth(1)
        expect(row).to_contain_text(f"{patient['last_name']}, {patient['first_name']}")
        expect(row).not_to_contain_text("1,000")
        known = {**names, **inputs, "insurance_cost": cost}
        clinic.call("PUT", f"/patients/{patient['id']}", known, seen=patient["row_version"])
        page.reload()
        row = page.get_by_role("row").nth(1)
        expect(row).to_contain_text(f"${cost:,}", timeout=20_000)
        expect(row).to_contain_text("1,000")
        picture(page, "history_filtered_1280_light")
