"""Every page, for a role that opens it, light and dark, on a laptop and a telephone: by axe-core and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.at_work import NARROW, WIDE, browsing, settle, sign_in
from tests.browser.conftest import Product
from tests.browser.demonstration import ADMIN, DOCTOR, MANAGER, Caller, conduct, train, work_at_a_hospital

ROUNDS = 3
# The rules that depend on colours; the others say the same in both variants.
RULES_OF_COLOUR = ("color-contrast", "link-in-text-block")
# Rule and part of the page that Streamlit makes, with what is wrong there; see docs/decisions.md.
STREAMLITS_OWN = {
    # A menu with sections is a <ul> of <div>s with a heading and <li>s; there is no parameter for its markup.
    "list": "[data-testid=stSidebarNavItems]",
    "listitem": "[data-testid=stSidebarNavItems]",
    # A wide table scrolls sideways on a telephone. Chromium reaches what scrolls by keyboard, which axe does not know.
    "scrollable-region-focusable": "[data-testid=stTable]",
}
_SIDEWAYS = """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
  .some(part => part && part.scrollWidth > part.clientWidth + 1)"""
_WITHIN = "([target, part]) => !!document.querySelector(target)?.closest(part)"


@dataclass(frozen=True)
class Places:
    """Who looks at which addresses: e-mail -> paths; and the cookies by which they are signed in."""

    paths: dict[str, list[str]]
    states: dict[str, Any]


@pytest.fixture(scope="module")
def places(browser: Browser, product: Product) -> Iterator[Places]:
    """A consortium with a model and a hospital that has worked with it; everybody signed in once."""
    if not Caller(product, ADMIN).call("GET", "/model/status")["has_model"]:
        train(product, ROUNDS)
    work_at_a_hospital(product)
    conduct(product, kind="cohort")
    trigger = {"name": "Every Monday", "kind": "schedule", "cron": "0 3 * * 1", "timezone": "Europe/Berlin"}
    Caller(product, ADMIN).call("POST", "/triggers", trigger)
    doctor = Caller(product, DOCTOR)
    predicted = doctor.call("GET", "/predictions/history?limit=1")["items"][0]["patient_id"]
    paths = {
        DOCTOR: [
            "/overview",
            "/patients",
            f"/patient?patient={predicted}",
            "/patient?new=yes",
            "/patient_import",
            f"/predict?patient={predicted}",
            "/batch",
            "/history",
            "/model_card",
            "/training",  # what a role may not open is a page too
        ],
        ADMIN: [
            "/overview",
            "/training?run=1",
            "/compare?runs=1",
            "/cohort",
            "/triggers",
            "/models",
            "/institutions",
            "/workers",
            "/account",
            "/audit",
            "/system",
        ],
        MANAGER: ["/overview", "/participation", "/workers", "/audit", "/retention"],
    }
    states = {}
    for email in paths:
        with browsing(browser, product) as page:
            sign_in(page, email)
            states[email] = page.context.storage_state()
    yield Places(paths, states)


def violations(page: Page, rules: tuple[str, ...] = ()) -> list[str]:
    """Return what axe-core calls serious or critical, but for what `STREAMLITS_OWN` lists."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = []
    for violation in Axe().run(page, options=options).response["violations"]:
        if violation["impact"] not in ("serious", "critical"):
            continue
        own = STREAMLITS_OWN.get(violation["id"])
        for node in violation["nodes"]:
            if own is None or not page.evaluate(_WITHIN, [node["target"][-1], own]):
                found.append(f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}")
    return found


def look(page: Page, path: str) -> list[str]:
    """Open a page and return what is wrong with it at any width."""
    page.goto(path)
    heading = page.get_by_role("heading", level=1)
    expect(heading.first).to_be_visible(timeout=20_000)
    settle(page)
    wrong = [] if heading.count() == 1 else [f"{heading.count()} headings of the first level"]
    said = page.get_by_test_id("stMain").inner_text()
    if "Traceback" in said or "Something went wrong" in said or page.get_by_test_id("stException").count():
        wrong.append(f"an error: {said[:300]}")
    return wrong


def layout(page: Page) -> list[str]:
    """Return what is wrong with the page at its present width."""
    return ["the page scrolls sideways"] if page.evaluate(_SIDEWAYS) else []


@pytest.mark.parametrize(
    ("scheme", "widths", "rules"),
    # Narrow pages have no colours of their own.
    [("light", (WIDE, NARROW), ()), ("dark", (WIDE,), RULES_OF_COLOUR)],
    ids=["light", "dark"],
)
def test_every_page_is_readable_and_has_one_heading(
    places: Places,
    browser: Browser,
    product: Product,
    scheme: str,
    widths: tuple[int, ...],
    rules: tuple[str, ...],
) -> None:
    wrong: dict[str, list[str]] = {}
    for email, paths in places.paths.items():
        with browsing(browser, product, scheme=scheme, state=places.states[email]) as page:
            for path in paths:
                page.set_viewport_size({"width": WIDE, "height": 900})
                wrong[f"{email} {path}"] = look(page, path)
                for width in widths:
                    page.set_viewport_size({"width": width, "height": 900})
                    settle(page)
                    wrong[f"{email} {path} {width}"] = layout(page) + violations(page, rules)
    assert not any(wrong.values()), _told(wrong)


def test_the_busiest_page_is_readable_on_a_telephone_in_the_dark(
    places: Places, browser: Browser, product: Product
) -> None:
    state = places.states[DOCTOR]
    with browsing(browser, product, width=NARROW, scheme="dark", state=state) as page:
        assert look(page, "/patients") + layout(page) + violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sign_in_form_is_readable(browser: Browser, product: Product, scheme: str) -> None:
    with browsing(browser, product, width=NARROW, scheme=scheme) as page:
        page.goto("/")
        expect(page.get_by_label("E-mail")).to_be_visible(timeout=20_000)
        settle(page)
        assert violations(page) == []
        assert not page.evaluate(_SIDEWAYS)


@pytest.mark.parametrize(
    ("email", "controls"),
    [
        (
            DOCTOR,
            {
                "/patients": ["Search by name", "Add patient", "Export"],
                "/predict": ["Age (years)", "Male", "Region"],
                "/overview": ["See who they are", "Read the model card"],
            },
        ),
        (ADMIN, {"/training": ["Start round"]}),
    ],
    ids=["doctor", "admin"],
)
def test_the_keyboard_reaches_the_main_controls(
    places: Places, browser: Browser, product: Product, email: str, controls: dict[str, list[str]]
) -> None:
    with browsing(browser, product, state=places.states[email]) as page:
        for path, names in controls.items():
            page.goto(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=20_000)
            settle(page)
            reached = _tabbed_through(page)
            for name in names:
                assert any(name in stop for stop in reached), (path, name, reached)


def _tabbed_through(page: Page) -> list[str]:
    """Press Tab until the focus is back where it began; returns what each stop is called."""
    name = """() => { const at = document.activeElement;
      return [at.getAttribute('aria-label'), ...[...(at.labels || [])].map(label => label.innerText), at.innerText,
        at.closest('label')?.innerText].filter(Boolean).join(' ') }"""
    stops: list[str] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        stop = page.evaluate(name)
        if page.evaluate("document.activeElement === document.body"):
            break
        stops.append(stop)
    return stops


def _told(wrong: dict[str, list[str]]) -> str:
    return "\n".join(f"{where}\n    " + "\n    ".join(what) for where, what in wrong.items() if what)
