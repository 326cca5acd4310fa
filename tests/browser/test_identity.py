"""Who somebody is, in a real browser: live pages that stop, cookies that are worth nothing, links, a provider."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.at_work import browsing, picture, settle, sign_in
from tests.browser.conftest import Product, started_product
from tests.browser.demonstration import ADMIN, Caller
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, started_provider

MANAGER, NURSE = "manager@southeast.demo.local", "nurse@southeast.demo.local"
WAIT = 40_000  # milliseconds; other work may slow this machine


@pytest.fixture(scope="module")
def with_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Provider]]:
    """A product without a federation, whose people may also sign in through a provider on this machine."""
    with started_provider() as provider:
        environment = {
            "FEDERATION": "false",
            "OPENID_METADATA_URL": provider.metadata_url,
            "OPENID_CLIENT_ID": CLIENT_ID,
            "OPENID_CLIENT_SECRET": CLIENT_SECRET,
            "OPENID_NAME": "Hospital ID",
        }
        with (
            patch.dict(os.environ, environment),
            started_product(tmp_path_factory.mktemp("openid")) as running,
        ):
            yield running, provider


def _form(page: Page) -> None:
    expect(page.get_by_label("E-mail")).to_be_visible(timeout=WAIT)


def _worker(admin: Caller, email: str) -> int:
    return int(admin.call("GET", f"/workers?search={email}")["items"][0]["id"])


def test_a_live_page_stops_by_itself_when_its_session_is_ended(
    browser: Browser, with_provider: tuple[Product, Provider]
) -> None:
    product, _ = with_provider
    with browsing(browser, product) as page:
        sign_in(page, MANAGER)
        page.goto("/participation")
        expect(page.get_by_role("heading", name="Taking part")).to_be_visible(timeout=WAIT)
        admin = Caller(product, ADMIN)
        assert admin.call("POST", f"/workers/{_worker(admin, MANAGER)}/end-sessions")["ended"] >= 1
        # Nobody touches the page: its own timer finds out.
        _form(page)
        expect(page.get_by_role("heading", name="Taking part")).not_to_be_visible()


def test_cookies_of_before_signing_out_open_nothing_and_a_link_from_elsewhere_stays_signed_in(
    browser: Browser, with_provider: tuple[Product, Provider]
) -> None:
    product, _ = with_provider
    with browsing(browser, product) as page:
        sign_in(page, NURSE)
        [session] = [each for each in page.context.cookies() if each["name"] == "fedcost_session"]
        assert session["httpOnly"] and session["sameSite"] == "Strict"
        assert "fedcost" not in page.evaluate("document.cookie")
        page.goto(f'data:text/html,<a href="{product.address}/account">there</a>')
        page.get_by_text("there").click()
        expect(page.get_by_role("heading", name="Your account")).to_be_visible(timeout=WAIT)
        kept = page.context.storage_state()
        page.get_by_role("button", name="Sign out").click()
        _form(page)
    with browsing(browser, product, state=kept) as thief:
        thief.goto("/account")
        _form(thief)


def test_a_one_time_link_leaves_the_address_at_once_and_sets_the_password(
    browser: Browser, with_provider: tuple[Product, Provider]
) -> None:
    product, _ = with_provider
    admin = Caller(product, ADMIN)
    new = {
        "name": "Nora New",
        "email": "nora@southeast.demo.local",
        "role": "nurse",
        "institution": "southeast",
    }
    link = admin.call("POST", "/workers", new)["link"]["link"]
    secret = link.partition("#")[2]
    with browsing(browser, product) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))
        page.goto(link)
        expect(page.get_by_text("who signs in as")).to_be_visible(timeout=WAIT)
        assert page.url == f"{product.address}/set_password"
        picture(page, "set_password_1280_light")
        page.get_by_label("New password").fill("seven otters juggle")
        page.get_by_label("The same again").fill("seven otters juggle")
        page.get_by_role("button", name="Set the password").click()
        expect(page.get_by_text("Your password is set")).to_be_visible(timeout=WAIT)
        page.get_by_label("E-mail").fill(new["email"])
        page.get_by_label("Password", exact=True).fill("seven otters juggle")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("button", name="Sign out")).to_be_attached(timeout=WAIT)
        page.goto(link)
        expect(page.get_by_text("does not work any more")).to_be_visible(timeout=WAIT)
        assert secret not in "".join(asked)
    for log in product.data_dir.rglob("*.log"):
        assert secret not in log.read_text()


def test_somebody_signs_in_and_out_through_the_provider(
    browser: Browser, with_provider: tuple[Product, Provider]
) -> None:
    product, provider = with_provider
    with browsing(browser, product) as page:
        provider.behave("stranger@elsewhere.example")
        _through_the_provider(page)
        expect(page.get_by_text("no active account here")).to_be_visible(timeout=WAIT)
        picture(page, "sign_in_openid_1280_light")
        provider.behave(NURSE)
        _through_the_provider(page)
        expect(page.get_by_role("button", name="Sign out")).to_be_attached(timeout=WAIT)
        settle(page)
        admin = Caller(product, ADMIN)
        admin.call("POST", f"/workers/{_worker(admin, NURSE)}/end-sessions")
        page.reload()
        _form(page)
        expect(page.get_by_role("button", name="Sign out")).not_to_be_attached()
        _through_the_provider(page)
        expect(page.get_by_role("button", name="Sign out")).to_be_attached(timeout=WAIT)
        settle(page)
        page.get_by_role("button", name="Sign out").click()
        _form(page)
        page.wait_for_timeout(2000)
        _form(page)
        assert len(provider.ended) == 1 and provider.ended[0].count(".") == 2
        assert not [each for each in page.context.cookies() if each["name"].startswith("_streamlit_user")]


def _through_the_provider(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Sign in with Hospital ID").click(timeout=WAIT)
