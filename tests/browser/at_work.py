"""What a person does in the browser: sign in, look, and keep a picture of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect

from app.settings import DEMO_PASSWORD
from tests.browser.conftest import ARTIFACTS, Product

WIDE, NARROW = 1280, 390  # pixels: a small laptop, a telephone
SETTLED_LIMIT = 60_000  # milliseconds; other work may slow this machine
ZONE = "America/New_York"
TELEPHONE = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"

# What stands in each chart: line name -> its y values.
_CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(
  chart => Object.fromEntries((chart.data || []).map(line => [line.name, [...line.y]])))"""
_AXIS = """place => [...document.querySelectorAll('.js-plotly-plot')][place]._fullLayout.xaxis.range"""
_HEIGHT = """() => Math.max(...[...document.querySelectorAll(
  '[data-testid=stMainBlockContainer],[role=dialog]')].map(part => part.scrollHeight))"""

# Nothing is being computed, and no part of the page waits for its code or its data.
_SETTLED = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'
  && !document.querySelector('[data-testid=stSkeleton]')"""


@contextmanager
def browsing(
    browser: Browser, product: Product, *, width: int = WIDE, scheme: str = "light", state: Any = None
) -> Iterator[Page]:
    """Open a browser window of its own, with nobody's cookies unless `state` brings some."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        timezone_id=ZONE,
        base_url=product.address,
        storage_state=state,
        user_agent=TELEPHONE if width == NARROW else None,
    )
    try:
        yield context.new_page()
    finally:
        context.close()


def sign_in(page: Page, email: str) -> None:
    """Sign in through the form and wait for the first page."""
    page.goto("/")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_attached(timeout=20_000)
    # The browser gets its cookie a moment after the page; an address opened before that asks to sign in again.
    for _ in range(200):
        if any("fedcost_session" in cookie["name"] for cookie in page.context.cookies()):
            return
        page.wait_for_timeout(100)
    raise AssertionError("the browser was given no session cookie")


def settle(page: Page) -> None:
    """Wait until the page has drawn all that it has."""
    page.wait_for_function(_SETTLED, timeout=SETTLED_LIMIT)
    page.wait_for_timeout(150)
    page.wait_for_function(_SETTLED, timeout=SETTLED_LIMIT)


def go_to(page: Page, title: str) -> None:
    """Open a page from the menu."""
    page.get_by_test_id("stSidebarNavLink").get_by_text(title, exact=True).click()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()


def menu(page: Page) -> list[str]:
    """Return what the menu lists."""
    # The icon is a word of an icon font, on a line of its own before the title.
    return [text.split("\n")[-1] for text in page.get_by_test_id("stSidebarNavLink").all_inner_texts()]


def charts(page: Page) -> list[dict[str, list[float]]]:
    """Return what the charts draw: for each chart, line name -> y values."""
    drawn: list[dict[str, list[float]]] = page.evaluate(_CHARTS)
    return drawn


def rounds_drawn(page: Page, place: int = 0) -> tuple[float, float]:
    """Return where the axis of a chart, the first unless `place` says which, begins and ends, in Rounds."""
    first, last = page.evaluate(_AXIS, place)
    return first, last


def rows_of_table(page: Page, place: int = 0) -> list[list[str]]:
    """Return the cells of an interactive table, the first unless `place` says which, from the rows that it draws."""
    table = page.get_by_test_id("stDataFrame").nth(place)
    expect(table.locator("[role=gridcell]").first).to_be_attached()
    rows: list[list[str]] = table.evaluate(
        """table => [...table.querySelectorAll('tbody [role=row]')].map(
             row => [...row.querySelectorAll('[role=gridcell]')].map(cell => cell.textContent))"""
    )
    return rows


def picture(page: Page, name: str) -> None:
    """Keep a picture of the whole page, if PICTURES is set: whoever changed a page wants to see it."""
    if not os.environ.get("PICTURES"):
        return
    size = page.viewport_size
    assert size is not None
    settle(page)
    height = min(max(900, int(page.evaluate(_HEIGHT)) + 80), 4000)
    page.set_viewport_size({"width": size["width"], "height": height})
    page.wait_for_timeout(700)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")
    page.set_viewport_size(size)


def pictures(browser: Browser, product: Product, page: Page, pages: dict[str, str]) -> None:
    """Keep pictures of pages (path -> name) as their reader sees them on a laptop and a telephone, light and dark."""
    if not os.environ.get("PICTURES"):
        return
    state = page.context.storage_state()
    for width in (WIDE, NARROW):
        for scheme in ("light", "dark"):
            with browsing(browser, product, width=width, scheme=scheme, state=state) as other:
                for path, name in pages.items():
                    other.goto(path)
                    heading = other.get_by_test_id("stMain").get_by_role("heading", level=1)
                    expect(heading).to_be_visible(timeout=20_000)
                    settle(other)
                    picture(other, f"{name}_{width}_{scheme}")


def usd(text: str) -> int:
    """Read an amount such as `$13,270`."""
    found = re.search(r"\$([\d,]+)", text)
    assert found is not None, text
    return int(found.group(1).replace(",", ""))
