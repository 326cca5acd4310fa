"""Makes the pictures of docs/images from the running app with the demonstration's data: `make pictures`."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.services.tabular import write_csv
from app.settings import PROJECT_ROOT
from tests.browser.at_work import NARROW, WIDE, browsing, settle, sign_in
from tests.browser.conftest import Product, started_browser, started_product
from tests.browser.demonstration import (
    ADMIN,
    DOCTOR,
    MANAGER,
    SCIENTIST,
    Caller,
    steer,
    train,
    work_at_a_hospital,
)

IMAGES = PROJECT_ROOT / "docs" / "images"
LARGEST = 150_000  # bytes
ROUNDS = 10
COLOURS = 128
_HEIGHT = """() => Math.max(...[...document.querySelectorAll(
  '[data-testid=stMainBlockContainer],[role=dialog]')].map(part => part.scrollHeight))"""
_FILE = write_csv(
    (
        "Surname",
        "Given name",
        "Age",
        "Sex (M/F)",
        "BMI [kg/m2]",
        "Kids",
        "Smoking status",
        "Region",
        "charges",
    ),
    [
        ["Example", "Ada", 34, "F", 27.4, 1, "never", "NE", "4,870.50"],
        ["Example", "Ben", 340, "M", 31.0, 0, "yes", "NE", ""],
        ["Example", "Cleo", 51, "F", "heavy", 2, "no", "NE", "11,020"],
    ],
)


@dataclass(frozen=True)
class Picture:
    """One picture: its file name without ending, who sees it, where, what is done first, and its largest height.

    In the path, `{costly}` is the patient with the highest predicted cost and `{known}` one whose cost came later;
    `{run}` and `{other}` are two trainings.
    """

    name: str
    email: str | None
    path: str
    act: Callable[[Page], object] = lambda page: None
    width: int = WIDE
    height: int = 1100  # pixels; what is below is cut off


def _wrong_age(page: Page) -> None:
    page.get_by_label("First name").fill("Ada")
    page.get_by_label("Last name").fill("Example")
    age = page.get_by_label("Age (years)", exact=True)
    age.fill("340")
    age.press("Tab")


def _file_with_errors(page: Page) -> None:
    page.locator("[data-testid=stFileUploaderDropzone] input[type=file]").set_input_files(
        {"name": "ward.csv", "mimeType": "text/csv", "buffer": _FILE}
    )
    expect(page.get_by_text("2 problems in 2 of 3 rows")).to_be_visible()


def _predict_all(page: Page) -> None:
    page.get_by_role("button", name="Predict and save").click()
    expect(page.get_by_role("button", name="Predict again")).to_be_visible()


def _accuracy(page: Page) -> None:
    page.get_by_role("tab", name="How right the model was").click()
    page.wait_for_selector(".js-plotly-plot")


def _ask_for_rounds(page: Page) -> None:
    page.get_by_role("button", name="Start round").click()
    expect(page.get_by_label("Number of rounds", exact=True)).to_be_visible(timeout=20_000)


PICTURES: tuple[Picture, ...] = (
    Picture("sign-in", None, "/", height=700),
    Picture("overview", DOCTOR, "/overview", height=1000),
    Picture("patients", DOCTOR, "/patients?smoker=yes&age=30-45", height=900),
    Picture("patient", DOCTOR, "/patient?patient={known}"),
    Picture("patient-form", DOCTOR, "/patient?new=yes", _wrong_age),
    Picture("import", DOCTOR, "/patient_import", _file_with_errors, height=1500),
    Picture("predict", DOCTOR, "/predict?patient={costly}", height=1250),
    Picture("predict-telephone", DOCTOR, "/predict?patient={costly}", width=NARROW, height=1050),
    Picture("history", DOCTOR, "/history", height=850),
    Picture("accuracy", DOCTOR, "/history", _accuracy),
    Picture("batch", DOCTOR, "/batch?cost=unknown", _predict_all),
    Picture("model-card", DOCTOR, "/model_card", height=1100),
    Picture("overview-consortium", SCIENTIST, "/overview"),
    Picture("training-start", ADMIN, "/overview", _ask_for_rounds, height=900),
    Picture("training", ADMIN, "/training?run={run}", height=1500),
    Picture("compare", SCIENTIST, "/compare?runs={other},{run}"),
    Picture("cohort", SCIENTIST, "/cohort", height=1000),
    Picture("triggers", ADMIN, "/triggers", height=1000),
    Picture("models", SCIENTIST, "/models"),
    Picture("institutions", ADMIN, "/institutions", height=900),
    Picture("participation", MANAGER, "/participation", height=900),
    Picture("retention", MANAGER, "/retention", height=1000),
    Picture("audit", MANAGER, "/audit", height=1000),
    Picture("people", ADMIN, "/workers", height=900),
    Picture("system", ADMIN, "/system", height=1300),
    Picture("account", DOCTOR, "/account", height=900),
)


def make_pictures(browser: Browser, product: Product) -> None:
    """Bring the demonstration to where there is something to see, and take every picture; all or none are written."""
    taken = {PICTURES[0].name: _take(browser, product, PICTURES[0], {})}
    run = train(product, ROUNDS)
    work_at_a_hospital(product)
    places = {"run": str(run), "other": str(steer(product))}
    predicted = Caller(product, DOCTOR).call("GET", "/predictions/history?limit=50")["items"]
    places["costly"] = max(predicted, key=lambda each: float(each["predicted_cost"]))["patient_id"]
    places["known"] = next(each["patient_id"] for each in predicted if each["actual_cost"] is not None)
    states: dict[str, object] = {}
    for picture in PICTURES[1:]:
        taken[picture.name] = _take(browser, product, picture, states, **places)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, content in taken.items():
        (IMAGES / f"{name}.png").write_bytes(content)


def _take(
    browser: Browser, product: Product, picture: Picture, states: dict[str, object], **places: str
) -> bytes:
    email = picture.email
    if email is not None and email not in states:
        with browsing(browser, product) as page:
            sign_in(page, email)
            states[email] = page.context.storage_state()
    with browsing(browser, product, width=picture.width, state=states.get(email or "")) as page:
        page.goto(picture.path.format(**places))
        shown = page.get_by_label("E-mail") if email is None else page.get_by_role("heading", level=1)
        expect(shown).to_be_visible(timeout=20_000)
        settle(page)
        picture.act(page)
        settle(page)
        height = min(int(page.evaluate(_HEIGHT)), picture.height)
        page.set_viewport_size({"width": picture.width, "height": height})
        page.wait_for_timeout(800)  # charts follow the new size
        settle(page)
        content = _with_few_colours(page.screenshot())
        print(f"{picture.name}.png: {picture.width} x {height}, {len(content):,} bytes")
        assert len(content) <= LARGEST
        return content


def _with_few_colours(screenshot: bytes) -> bytes:
    """Return a screenshot as a PNG of few colours, which is a third as large."""
    content = io.BytesIO()
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as temporary,
        started_product(Path(temporary)) as running,
        started_browser() as chromium,
    ):
        make_pictures(chromium, running)
