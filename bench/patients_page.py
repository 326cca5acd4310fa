"""The Patients page in a real browser: how long from an action until the page shows its answer."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

from bench.hospital import EMAIL, Hospital
from bench.served import HOST, serving

TURNS, OPENINGS = 30, 10
TYPING_PAUSE = (
    250.0  # milliseconds for which `text_input(live=True)` waits for the typist before it asks the page
)
HEADINGS = ("Age", "Known cost", "Last change", "Name")
WARM_UP_ACTIONS = 3
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

# Everything that the page says of its list; the table lies in a shadow tree, which locators enter and this does not.
_SHOWN = """() => {
  const seen = []
  const look = node => {
    if (node.shadowRoot) look(node.shadowRoot)
    for (const child of node.children) look(child)
    if (node.matches?.('table')) seen.push(node.innerText)
  }
  look(document.querySelector('[data-testid=stMain]'))
  const count = document.querySelector('.st-key-patients_actions')
  return seen.length && count ? seen.join() + count.innerText : null
}"""
# From the first press or input event on until the page shows something else and nothing is being computed.
_CLOCK = f"""() => new Promise((done, failed) => {{
  const shown = {_SHOWN}
  const before = shown()  // null on another page
  let started = null
  const begin = () => {{ started ??= performance.now() }}
  for (const name of ['pointerdown', 'input']) document.addEventListener(name, begin, {{ capture: true, once: true }})
  const limit = performance.now() + 30000
  const look = () => {{
    const now = performance.now()
    const state = document.querySelector('[data-testid=stApp]').dataset.testScriptState
    if (started !== null && state === 'notRunning' && ![null, before].includes(shown())) return done(now - started)
    if (now > limit) return failed(new Error('nothing changed'))
    requestAnimationFrame(look)
  }}
  look()
}})"""


def page_milliseconds(place: Hospital, folder: Path, *, searches: Sequence[str]) -> dict[str, list[float]]:
    """Drive the page as a doctor would, and return how long each action took, by its kind.

    Measured in the browser, from the event until a frame in which the whole answer stands and the application
    says that it computes nothing more. Typing is measured from where the field sends what was typed, a fixed pause
    after the last letter.
    """
    with serving("app.main:app", place, folder) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=CHROMIUM_ARGUMENTS)
        try:
            page = browser.new_page(base_url=f"http://{HOST}:{port}", viewport={"width": 1280, "height": 900})
            _sign_in(page, place.password)
            return {
                "open": _openings(page),
                "turn": _turns(page),
                "sort": _sorts(page),
                "filter": _filters(page),
                "search": _searches(page, searches),
            }
        finally:
            browser.close()


def _sign_in(page: Page, password: str) -> None:
    page.goto("/")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()
    _menu(page, "Patients").click()
    page.get_by_role("button", name="Next").wait_for()
    page.wait_for_timeout(2000)


def _openings(page: Page) -> list[float]:
    """Come back to the list from another page."""
    took = []
    for _ in range(OPENINGS + 1):
        _menu(page, "Overview").click()
        page.get_by_role("heading", name="Overview").wait_for()
        page.wait_for_timeout(1000)
        took.append(_timed_click(page, _menu(page, "Patients")))
    return took[1:]


def _menu(page: Page, title: str) -> Locator:
    return page.get_by_test_id("stSidebarNavLink").get_by_text(title, exact=True)


def _turns(page: Page) -> list[float]:
    following = page.get_by_role("button", name="Next")
    return [_timed_click(page, following) for _ in range(TURNS + WARM_UP_ACTIONS)][WARM_UP_ACTIONS:]


def _sorts(page: Page) -> list[float]:
    """Order by each heading, both ways, three times."""
    took = []
    for heading in HEADINGS * 3:
        button = page.locator("th button", has_text=heading)
        took += [_timed_click(page, button), _timed_click(page, button)]
    return took


def _filters(page: Page) -> list[float]:
    """Choose smokers and sexes, and let them go again."""
    took = []
    for answer in ("Yes", "No", "Female", "Male") * 4:
        page.get_by_role("button", name="Filters").first.click()
        choice = page.get_by_test_id("stPopoverBody").get_by_role("radio", name=answer, exact=True)
        choice.wait_for()
        page.wait_for_timeout(300)
        took.append(_timed_click(page, choice))
        page.keyboard.press("Escape")
        took.append(_timed_click(page, page.get_by_role("button", name="Clear all")))
    return took


def _searches(page: Page, searches: Sequence[str]) -> list[float]:
    field = page.get_by_label("Search by name")
    took = []
    for letters in searches:
        field.select_text()
        page.evaluate(f"void (window.answered = ({_CLOCK})())")
        page.keyboard.insert_text(letters)
        took.append(float(page.evaluate("window.answered")) - TYPING_PAUSE)
        page.wait_for_timeout(200)
    return took


def _timed_click(page: Page, target: Locator) -> float:
    target.scroll_into_view_if_needed()
    page.evaluate(f"void (window.answered = ({_CLOCK})())")
    target.click()
    milliseconds = float(page.evaluate("window.answered"))
    page.wait_for_timeout(200)
    return milliseconds


def _chromium() -> str:
    named = os.environ.get("CHROMIUM")
    found = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), named)
    if named or found:
        return str(named or found)
    sys.exit("This benchmark drives Chromium: install one, or name it in CHROMIUM.")
