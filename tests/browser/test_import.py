"""Importing in a browser: a file with errors, the same corrected, and once more; a large file with its progress."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from app.services.tabular import write_csv, write_excel
from tests.browser.at_work import NARROW, browsing, go_to, picture, rows_of_table, sign_in
from tests.browser.conftest import Product

HEADINGS = (
    "Surname",
    "Given name",
    "Age (years)",
    "Sex (M/F)",
    "BMI [kg/m2]",
    "Kids",
    "Smoking status",
    "Region",
)
DOCTOR = "doctor@southeast.demo.local"
MANY = 5_000


def _file(page: Page, name: str, content: bytes) -> None:
    page.locator("[data-testid=stFileUploaderDropzone] input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def _rows(count: int, age: int = 40) -> list[list[object]]:
    return [
        [f"Tester{row}", "Ida", age, "F", round(20 + row / 1000, 3), row % 4, "never", "SE", 1000 + row]
        for row in range(count)
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (NARROW, "dark")])
def test_a_file_with_errors_is_refused_and_corrected_it_is_imported(
    browser: Browser, product: Product, width: int, scheme: str
) -> None:
    headings = (*HEADINGS, "charges")
    good = _rows(12, age=30 + len(scheme))
    bad = [[*row] for row in good]
    bad[3][2], bad[5][4], bad[5][6], bad[9][8] = 140, "heavy", "sometimes", "€ 1.000"
    with browsing(browser, product, width=width, scheme=scheme) as page:
        sign_in(page, DOCTOR)
        if width == NARROW:
            page.get_by_role("button", name="Expand sidebar").click()
        go_to(page, "Import")
        page.get_by_text("What the file must look like").click()
        expect(page.get_by_role("button", name="Empty Excel file")).to_be_visible()
        picture(page, f"import_file_{width}_{scheme}")
        _file(page, "ward.csv", write_csv(headings, bad))
        expect(page.get_by_text("4 problems in 3 of 12 rows")).to_be_visible()
        # A table draws its rows when it comes into view.
        page.get_by_role("button", name="Download all problems (CSV)").scroll_into_view_if_needed()
        assert [row[:2] for row in rows_of_table(page, 1)] == [
            ["5", "Age (years)"],
            ["7", "BMI [kg/m2]"],
            ["7", "Smoking status"],
            ["11", "charges"],
        ]
        picture(page, f"import_problems_{width}_{scheme}")
        with page.expect_download() as kept:
            page.get_by_role("button", name="Download all problems (CSV)").click()
        assert kept.value.suggested_filename == "problems.csv"
        assert "sometimes" in kept.value.path().read_text(encoding="utf-8-sig")
        page.get_by_role("button", name="Choose another file").click()
        _file(page, "ward.xlsx", write_excel(headings, good, sheet="Ward"))
        expect(page.get_by_text("The file is in order: 12 patients, 12 of them")).to_be_visible()
        picture(page, f"import_in_order_{width}_{scheme}")
        page.get_by_role("button", name="Import 12 patients").click()
        expect(page.get_by_text("12 patients added.")).to_be_visible()
        picture(page, f"import_done_{width}_{scheme}")
        page.get_by_role("button", name="Import another file").click()
        _file(page, "ward.csv", write_csv(headings, good))
        expect(page.get_by_text("there is nothing to import")).to_be_visible()


def test_a_large_file_shows_its_progress_and_survives_a_look_at_another_page(
    browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        go_to(page, "Import")
        _file(page, "all.csv", write_csv((*HEADINGS, "charges"), _rows(MANY)))
        expect(page.get_by_text(f"The file is in order: {MANY:,} patients")).to_be_visible(timeout=60_000)
        go_to(page, "Model card")
        go_to(page, "Import")
        expect(page.get_by_text(f"The file is in order: {MANY:,} patients")).to_be_visible()
        page.get_by_role("button", name=f"Import {MANY:,} patients").click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_text("leaving it stops the import")).to_be_visible()
        expect(page.get_by_text(re.compile(rf"{MANY:,} patients added\."))).to_be_visible(timeout=60_000)
        page.get_by_role("link", name="Open the patients").click()
        expect(page.get_by_role("heading", name="Patients", exact=True)).to_be_visible()
