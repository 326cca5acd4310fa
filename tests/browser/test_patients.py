"""Patients in a browser: found and ordered by the address; two editors; deleting; exporting; what is not saved yet."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, Dialog, Page, expect

from app.services.tabular import read_table
from tests.browser.at_work import NARROW, browsing, picture, settle, sign_in
from tests.browser.conftest import Product

DOCTOR, NURSE = "doctor@northwest.demo.local", "nurse@northwest.demo.local"


def _names(page: Page) -> list[str]:
    """Return the names in the table, from the top, once it is drawn."""
    links = page.get_by_role("table").get_by_role("link")
    expect(links.first).to_be_visible(timeout=20_000)
    settle(page)
    return links.all_inner_texts()


def _asks(page: Page, **query: str) -> None:
    """Wait until the address asks for exactly this."""
    expected = "&".join(f"{name}={value}" for name, value in query.items())
    expect(page).to_have_url(re.compile(f"/patients{re.escape('?' + expected) if expected else ''}$"))


def _shows(page: Page, names: list[str]) -> None:
    """Wait until the table holds exactly these patients, in this order."""
    expect(page.get_by_role("table").get_by_role("link")).to_have_text(names, timeout=20_000)


def _open_first(page: Page, search: str) -> str:
    """Open the first patient that a search finds and return the name."""
    page.goto(f"/patients?q={search}")
    link = page.get_by_role("table").get_by_role("link").first
    expect(link).to_be_visible(timeout=20_000)
    name = link.inner_text()
    link.click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    return name


def test_search_filters_and_order_stand_in_the_address(browser: Browser, product: Product) -> None:
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        page.goto("/patients")
        expect(page.get_by_text("334 patients")).to_be_visible(timeout=20_000)
        field = page.get_by_label("Search by name", exact=True)
        field.press_sequentially("che", delay=40)
        expect(page.get_by_text("patients match")).to_be_visible()
        _asks(page, q="che")
        found = _names(page)
        assert found and all("che" in name.lower() for name in found)
        expect(field).to_be_focused()

        page.get_by_role("button", name="Filters", exact=True).click()
        chosen = page.get_by_test_id("stPopoverBody")
        chosen.get_by_role("radio", name="No", exact=True).click()
        _asks(page, q="che", smoker="no")
        chosen.get_by_label("Age (years), from").fill("30")
        _asks(page, q="che", smoker="no", age="30-")
        page.keyboard.press("Escape")
        expect(page.get_by_text("Filters active: 2")).to_be_visible()
        page.get_by_role("button", name="Age", exact=True).click()
        _asks(page, q="che", smoker="no", age="30-", sort="age")
        page.get_by_role("button", name="Age", exact=True).click()
        _asks(page, q="che", smoker="no", age="30-", sort="-age")
        shown = _names(page)
        assert shown != found
        ages = page.get_by_role("row").get_by_role("cell").nth(1)
        assert int(ages.inner_text()) >= 30
        expect(page.get_by_role("columnheader", name="Age")).to_have_attribute("aria-sort", "descending")
        picture(page, "patients_filtered_1280_light")


def test_a_copied_address_and_the_back_button_bring_a_view_back(browser: Browser, product: Product) -> None:
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        page.goto("/patients?q=che")
        expect(page.get_by_text("patients match")).to_be_visible(timeout=20_000)
        found = _names(page)
        page.get_by_role("button", name="Filters", exact=True).click()
        page.get_by_test_id("stPopoverBody").get_by_role("radio", name="No", exact=True).click()
        expect(page.get_by_text("Filters active: 1")).to_be_attached()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Age", exact=True).click()
        age = page.get_by_role("columnheader", name="Age")
        expect(age).to_have_attribute("aria-sort", "ascending")
        _asks(page, q="che", smoker="no", sort="age")
        shown = _names(page)
        assert shown != found

        with browsing(browser, product, state=page.context.storage_state()) as other:
            other.goto(page.url)
            _shows(other, shown)
            expect(other.get_by_text("Filters active: 1")).to_be_visible()

        page.go_back()
        expect(age).to_have_attribute("aria-sort", "none")
        _asks(page, q="che", smoker="no")
        page.go_back()
        _shows(page, found)
        _asks(page, q="che")
        expect(page.get_by_text("Filters active")).to_have_count(0)
        page.go_forward()
        expect(page.get_by_text("Filters active: 1")).to_be_visible()
        page.get_by_role("button", name="Clear all").click()
        expect(page.get_by_text("334 patients")).to_be_visible()
        expect(page.get_by_label("Search by name", exact=True)).to_have_value("")

        page.goto("/patients?age=abc&q=che")
        expect(page.get_by_text("Age: “abc” is not a range such as 30-45.")).to_be_visible(timeout=20_000)
        _shows(page, found)


def test_a_row_opens_its_patient_and_the_way_back_leads_to_the_same_page(
    browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, NURSE)
        page.goto("/patients?sort=-name")
        page.get_by_role("button", name="Next").click(timeout=20_000)
        expect(page.get_by_text("Page 2 of 14")).to_be_visible()
        names = _names(page)
        page.get_by_role("row").nth(3).get_by_role("cell").nth(2).click()  # anywhere on the row
        expect(page.get_by_role("heading", name=names[2], exact=True)).to_be_visible()
        page.get_by_role("link", name="All patients").click()
        expect(page.get_by_text("Page 2 of 14")).to_be_visible()
        _shows(page, names)


def test_the_second_of_two_editors_is_shown_both_versions(browser: Browser, product: Product) -> None:
    with (
        browsing(browser, product) as doctor,
        browsing(browser, product, width=NARROW, scheme="dark") as nurse,
    ):
        sign_in(doctor, DOCTOR)
        sign_in(nurse, NURSE)
        name = _open_first(doctor, "novak")
        doctor.get_by_role("button", name="Edit").click()
        expect(doctor.get_by_role("heading", name=f"Edit {name}")).to_be_visible()
        nurse.goto(doctor.url)
        for page, age in ((nurse, "71"), (doctor, "72")):
            page.get_by_label("Age (years)", exact=True).fill(age, timeout=20_000)
        nurse.get_by_label("Children", exact=True).fill("7")
        expect(nurse.get_by_role("button", name="Discard changes")).to_be_visible()
        nurse.get_by_role("button", name="Save").click()
        expect(nurse.get_by_text(f"{name} is saved.")).to_be_visible()

        doctor.get_by_role("button", name="Save").click()
        expect(doctor.get_by_text("changed this patient while you were editing")).to_be_visible()
        expect(doctor.get_by_text("Grace Whitfield")).to_be_visible()
        picture(doctor, "patient_conflict_1280_light")
        expect(doctor.get_by_role("button", name="Save these choices")).to_be_disabled()
        expect(doctor.get_by_role("radio", name="Theirs: 7", exact=True)).to_be_checked()
        doctor.get_by_role("radio", name="Yours: 72 years").click()
        doctor.get_by_role("button", name="Save these choices").click()
        expect(doctor.get_by_text(f"{name} is saved.")).to_be_visible()
        record = doctor.get_by_test_id("stTable").first
        expect(record).to_contain_text("72 years")
        expect(record.get_by_role("row").filter(has_text="Children")).to_contain_text("7")
        history = doctor.get_by_test_id("stTable").nth(1)
        expect(history).to_contain_text(re.compile(r"Age: 71 years\s*→\s*72 years"))
        expect(history).to_contain_text("Grace Whitfield")


def test_a_deleted_patient_comes_back_by_undo_and_from_the_deleted_ones(
    browser: Browser, product: Product
) -> None:
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        name = _open_first(page, "meyer")
        for way_back in ("Undo", "Restore"):
            page.get_by_role("button", name="Delete", exact=True).click()
            page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
            expect(page.get_by_text(f"{name} was deleted.")).to_be_visible()
            _asks(page, q="meyer")
            expect(page.get_by_role("table").get_by_role("link", name=name, exact=True)).to_have_count(0)
            if way_back == "Restore":
                page.get_by_role("button", name="Recently deleted patients").click()
                expect(page.get_by_role("heading", name="Recently deleted")).to_be_visible()
                picture(page, "patients_deleted_1280_light")
            page.get_by_role("button", name=way_back).click()
            expect(page.get_by_text(f"{name} is restored.")).to_be_visible()
            if way_back == "Restore":
                page.get_by_role("button", name="Back to the patients").click()
            page.get_by_role("link", name=name, exact=True).click()
            expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def test_the_present_view_is_exported(browser: Browser, product: Product, tmp_path: Path) -> None:
    with browsing(browser, product) as page:
        sign_in(page, DOCTOR)
        page.goto("/patients?q=lopez&sort=-age")
        expect(page.get_by_role("table")).to_be_visible(timeout=20_000)
        names = _names(page)
        page.get_by_role("button", name="Export").click()
        for kind in ("CSV", "Excel"):
            with page.expect_download() as download:
                page.get_by_test_id("stPopoverBody").get_by_role("button", name=kind).click()
            download.value.save_as(tmp_path / kind)
            exported = read_table((tmp_path / kind).read_bytes(), download.value.suggested_filename)
            assert [f"{cells[0]}, {cells[1]}" for _, cells in exported.rows] == names


def test_what_is_not_saved_is_kept_within_the_session_and_asked_about_at_a_reload(
    browser: Browser, product: Product
) -> None:
    with browsing(browser, product, width=NARROW) as page:
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", stay)
        sign_in(page, NURSE)
        page.goto("/patients")
        page.get_by_role("button", name="Add patient").click(timeout=20_000)
        page.get_by_label("First name").fill("Ada")
        page.get_by_label("Last name").fill("Quill")
        page.get_by_label("Age (years)", exact=True).press_sequentially("333")
        expect(page.get_by_text("Age is '333'; expected a whole number")).to_be_visible()
        expect(page.get_by_text("is missing")).to_have_count(0)
        picture(page, "patient_problem_390_light")
        page.evaluate("setTimeout(() => location.reload(), 0)")
        for _ in range(100):
            if asked:
                break
            page.wait_for_timeout(100)
        assert asked == ["beforeunload"]
        page.get_by_role("link", name="All patients").click()
        expect(page.get_by_text("You have not yet added Quill, Ada.")).to_be_visible()
        picture(page, "patients_unsaved_390_light")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_label("Age (years)", exact=True)).to_have_value("333")
        page.get_by_role("button", name="Discard changes").click()
        expect(page.get_by_role("table")).to_be_visible()
        settle(page)  # the warning is taken back with the last of the page
        page.reload()
        expect(page.get_by_role("table")).to_be_visible(timeout=20_000)
        assert asked == ["beforeunload"]
