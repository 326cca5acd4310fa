"""The whole product as `make run` starts it, and a real browser to look at it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from app.settings import PROJECT_ROOT
from db.ports import free_port

ARTIFACTS = PROJECT_ROOT / "artifacts"
START_LIMIT = 180.0  # seconds; the first start makes databases and patients
STOP_LIMIT = 30.0
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A browser under test neither phones home nor asks anything.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the main job before all other browser tests: it begins with a consortium that has no model yet."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if item.path.parent == here]
    ordered = sorted(
        (items[place] for place in places), key=lambda item: item.path.name != "test_main_job.py"
    )
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@dataclass(frozen=True)
class Product:
    """A running product: where it answers, and where its logs are."""

    address: str
    data_dir: Path


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Start everything for real, on a spare port and in a folder of its own; stop and erase it afterwards."""
    with started_product(tmp_path_factory.mktemp("browser")) as running:
        yield running


@contextmanager
def started_product(folder: Path) -> Iterator[Product]:
    """Start the product with its data in `folder`; stop it and erase them afterwards."""
    data_dir = folder / "data"
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "HOST": "127.0.0.1", "DATA_DIR": str(data_dir)}
    environment["PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "app.launch"]
    said = data_dir.parent / "launch.out"  # no log: the accounts of the demonstration are printed there
    with said.open("w") as output:
        launcher = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            running = Product(f"http://127.0.0.1:{port}", data_dir)
            _wait_until_it_answers(running, launcher, said)
            yield running
        finally:
            launcher.terminate()
            launcher.wait(STOP_LIMIT)
            for log in (said, *data_dir.parent.rglob("*.log")):
                kept = ARTIFACTS / "logs" / log.name
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, kept)
            subprocess.run([*command, "--erase"], cwd=PROJECT_ROOT, env=environment, check=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium, wherever this machine has one."""
    with started_browser() as launched:
        yield launched


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start a headless Chromium; where there is none, the test that wants it is skipped, on CI it fails."""
    with sync_playwright() as playwright:
        found = _chromium(playwright)
        if found is None:
            sentence = (
                "No Chromium was found and none could be installed. Install one, for example with "
                "'.venv/bin/playwright install --with-deps chromium', or name it in CHROMIUM."
            )
            if os.environ.get("CI"):
                pytest.fail(sentence)
            pytest.skip(sentence)
        launched = playwright.chromium.launch(executable_path=found, args=CHROMIUM_ARGUMENTS, headless=True)
        yield launched
        launched.close()


def _chromium(playwright: Playwright) -> str | None:
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    for name in CHROMIUM_NAMES:
        path = shutil.which(name)
        if path:
            return path
    own = playwright.chromium.executable_path
    if not Path(own).exists():
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(command, check=False, timeout=600)
    return own if Path(own).exists() else None


def _wait_until_it_answers(product: Product, launcher: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if launcher.poll() is not None:
            pytest.fail(f"The product ended while starting:\n{said.read_text()}")
        try:
            with urllib.request.urlopen(f"{product.address}/api/health", timeout=5) as answer:  # noqa: S310
                if json.load(answer)["database"] == "up":
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"The product did not answer within {START_LIMIT:.0f} s:\n{said.read_text()}")
