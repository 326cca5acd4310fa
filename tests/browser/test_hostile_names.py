"""Names that are markup, scripts and directives, in every page that shows them: text as typed, and nothing more."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import create_engine, text

from db.embedded import EmbeddedPostgres
from tests.browser.at_work import browsing, settle, sign_in
from tests.browser.conftest import Product, started_product
from tests.browser.demonstration import ADMIN, SCIENTIST, Caller, conduct

# Each begins with a mark of its own: where a page shows the mark, it must show all of it.
HOSTILE = {
    "Zq1": 'Zq1<img src="/canary-1" onerror="window.__pwned=1">',
    "Zq2": "Zq2<script>window.__pwned=2</script>",
    "Zq3": "Zq3[x](javascript:window.__pwned=3)![y](/canary-3)",
    "Zq4": "Zq4:red[r] :material/delete: :smile: $x^2$",
    "Zq5": "Zq5**b** `c` _i_ ~~s~~ {{7*7}} ${7*7} &lt;b&gt;",
    "Zq6": 'Zq6"\'><svg/onload=window.__pwned=6>"}]}',
    "Zq7": 'Zq7<a href="javascript:window.__pwned=7">k</a><b>B</b>%{x}<extra>',
    "Zq8": "Zq8\u202egpj.exe\u202c",
    "Zq9": "Zq9" + "W" * 252,
}
CODE = "northwest"
DOCTOR, NURSE, MANAGER = (f"{who}@{CODE}.demo.local" for who in ("doctor", "nurse", "manager"))
ROUNDS = 2

# A page cannot take these back: they stand before its first script.
_WATCH = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', event =>
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
_FOUND = """() => ({
  pwned: window.__pwned ?? null,
  violations: window.__violations,
  elements: [...document.querySelectorAll('img[src*=canary], [onerror], [onload], a[href^="javascript:" i], a')]
    .filter(found => !found.matches('a') || /__pwned|canary/.test(found.getAttribute('href') || '')
      || /__pwned|canary/.test(found.getAttribute('xlink:href') || ''))
    .map(found => found.outerHTML.slice(0, 200)),
  scripts: [...document.querySelectorAll('script')].filter(found => found.text.includes('__pwned')).length,
  // Shown in the page, and in the labels of its charts.
  said: document.body.innerText + '\\n'
    + [...document.querySelectorAll('svg text')].map(label => label.textContent).join('\\n'),
})"""


@dataclass
class Seen:
    """What was found wrong, as sentences, and which names were seen at all."""

    wrong: list[str] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A consortium of its own, in which people, a hospital, patients, a trigger and reasons have such names."""
    with started_product(tmp_path_factory.mktemp("hostile")) as product:
        conduct(product, num_rounds=ROUNDS)
        conduct(product, kind="cohort")
        _name_everything(product)
        yield product


def _name_everything(product: Product) -> None:
    server = EmbeddedPostgres(product.data_dir)
    names = list(HOSTILE.values())
    central = create_engine(server.url("central"), isolation_level="AUTOCOMMIT")
    with central.connect() as connection:
        for code, name in zip(
            ("northwest", "northeast", "southeast", "southwest"),
            (names[0], names[2], names[6], names[3]),
            strict=True,
        ):
            connection.execute(
                text("UPDATE institutions SET name = :name, address = :name WHERE code = :code"),
                {"name": name, "code": code},
            )
        for email, name in ((DOCTOR, names[5]), (NURSE, names[1]), (MANAGER, names[4]), (ADMIN, names[6])):
            connection.execute(
                text("UPDATE medical_workers SET name = :name WHERE email = :email"),
                {"name": name, "email": email},
            )
        connection.execute(
            text(
                "INSERT INTO audit_events (action, target, outcome, details) "
                "VALUES ('run_started', :name, 'refused', '{}')"
            ),
            {"name": names[0]},
        )
        connection.execute(
            text(
                "INSERT INTO training_runs (idempotency_key, kind, status, num_rounds, strategy, settings, seed, "
                "current_round, error, finished_at) SELECT 'hostile', kind, 'failed', num_rounds, strategy, "
                "settings, seed, 1, :name, now() FROM training_runs WHERE id = 1"
            ),
            {"name": names[2]},
        )
        connection.execute(
            text(
                "INSERT INTO run_events (run_id, severity, message) SELECT id, 'error', :name FROM training_runs "
                "WHERE idempotency_key = 'hostile'"
            ),
            {"name": names[0]},
        )
        connection.execute(
            text(
                "INSERT INTO promotions (model_version_id, action, worker_id, reason) SELECT v.id, 'propose', w.id, "
                ":reason FROM model_versions v, medical_workers w WHERE w.email = :email"
            ),
            {"reason": names[0], "email": ADMIN},
        )
    central.dispose()
    site = create_engine(server.url(f"site_{CODE}"), isolation_level="AUTOCOMMIT")
    with site.connect() as connection:
        ids = connection.scalars(
            text("SELECT id FROM patients WHERE deleted_at IS NULL ORDER BY last_name, first_name LIMIT 9")
        )
        for patient, name in zip(ids.all(), names, strict=True):
            connection.execute(
                text("UPDATE patients SET last_name = :last, first_name = :name WHERE id = :id"),
                {"last": f" {name}"[:255], "name": name, "id": patient},
            )
    site.dispose()
    doctor, admin = Caller(product, DOCTOR), Caller(product, ADMIN)
    for patient in doctor.call("GET", "/patients?search=Zq&limit=9")["items"]:
        inputs = {name: patient[name] for name in ("age", "sex", "children", "smoker", "region")}
        doctor.call(
            "POST", "/predictions", {**inputs, "bmi": float(patient["bmi"]), "patient_id": patient["id"]}
        )
    schedule = {"kind": "schedule", "cron": "0 3 * * 1", "timezone": "UTC"}
    for name in (names[2], names[6]):
        admin.call("POST", "/triggers", {"name": name[:100], **schedule})


def _paths(product: Product) -> dict[str, list[str]]:
    patients = Caller(product, DOCTOR).call("GET", "/patients?search=Zq&limit=9")["items"]
    patients = [patient["id"] for patient in patients]
    run = Caller(product, ADMIN).call("GET", "/training/runs?limit=1")["items"][0]["id"]
    clinic = ["/overview", "/patients", "/patients?q=Zq", "/history", "/model_card"]
    return {
        DOCTOR: [
            *clinic,
            *(f"/patient?patient={patient}" for patient in patients),
            f"/predict?patient={patients[0]}",
            "/batch",
            "/patient_import",
        ],
        NURSE: ["/overview", "/patients?q=Zq", f"/predict?patient={patients[6]}"],
        SCIENTIST: ["/overview", "/training?run=1", "/compare?runs=1", "/cohort", "/models", "/model_card"],
        ADMIN: [
            "/overview",
            "/training?run=1",
            "/compare?runs=1",
            "/cohort",
            "/models",
            "/triggers",
            "/institutions",
            "/training",
            f"/training?run={run}",
            f"/compare?runs=1,{run}",
            "/workers",
            "/account",
            "/audit",
            "/system",
        ],
        MANAGER: [
            "/overview",
            "/participation",
            "/model_card",
            "/workers",
            "/audit",
            "/retention",
            "/account",
        ],
    }


def _bring_a_file(page: Page, path: str, who: str, seen: Seen) -> None:
    """Choose a file whose name, headings and cells are hostile."""
    page.goto(path)
    chooser = page.locator("[data-testid=stFileUploaderDropzone] input[type=file]")
    expect(chooser).to_be_attached(timeout=30_000)
    names = [HOSTILE[mark] for mark in ("Zq1", "Zq3", "Zq5", "Zq7")]
    content = io.StringIO()
    csv.writer(content).writerows([names, names, names])
    name = "Zf<img src=x onerror=window.__pwned=8>.csv"
    chooser.set_input_files({"name": name, "mimeType": "text/csv", "buffer": content.getvalue().encode()})
    expect(page.get_by_text("Zf<").first).to_be_visible(timeout=30_000)
    wanting = re.compile("Choose the column of|The columns are not complete")
    expect(page.get_by_text(wanting).first).to_be_visible(timeout=30_000)
    for choice in page.get_by_test_id("stSelectbox").all()[:1]:
        choice.click()
    settle(page)
    _judge(page.evaluate(_FOUND), f"{who} {path} with a file", seen)


def _look(page: Page, path: str, who: str, seen: Seen) -> None:
    page.goto(path)
    expect(page.get_by_test_id("stMain").get_by_role("heading", level=1)).to_be_visible(timeout=30_000)
    settle(page)
    for tab in page.get_by_role("tab").all():
        tab.click()
    for folded in page.get_by_test_id("stExpander").locator("summary").all():
        folded.click()
    page.wait_for_timeout(200)
    settle(page)
    _judge(page.evaluate(_FOUND), f"{who} {path}", seen)


def _judge(found: dict[str, Any], where: str, seen: Seen) -> None:
    if found["pwned"] is not None or found["scripts"]:
        seen.wrong.append(f"{where}: a script ran: {found['pwned']}")
    seen.wrong += [f"{where}: markup became {element}" for element in found["elements"]]
    seen.wrong += [f"{where}: the policy stopped {violation}" for violation in found["violations"]]
    # A letter of no width keeps an icon's name from becoming the icon.
    said = re.sub(r"\s+", " ", found["said"].replace("\u2060", ""))
    for mark, name in HOSTILE.items():
        if mark not in said:
            continue
        seen.marks.add(mark)
        for shown in re.findall(rf"{mark}.{{0,{len(name)}}}", said):
            typed = name if len(name) < 200 else name[:100]
            if not (shown.startswith(typed) or shown[:100] == name[:100]):
                seen.wrong.append(f"{where}: {name[:60]!r} is shown as {shown[:80]!r}")
                break


def test_hostile_names_are_shown_as_typed_on_every_page_to_every_role(
    browser: Browser, hostile: Product
) -> None:
    seen = Seen()
    for who, paths in _paths(hostile).items():
        with browsing(browser, hostile) as page:
            asked: list[str] = []
            dialogs: list[str] = []
            page.add_init_script(_WATCH)
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on(
                "dialog", lambda dialog, dialogs=dialogs: (dialogs.append(dialog.message), dialog.dismiss())
            )
            sign_in(page, who)
            for path in paths:
                _look(page, path, who, seen)
                if path in ("/batch", "/patient_import"):
                    _bring_a_file(page, path, who, seen)
            strays = {
                url
                for url in asked
                if "canary" in url or not url.startswith((hostile.address, "ws", "data:", "blob:"))
            }
            seen.wrong += [f"{who}: the browser asked for {url}" for url in sorted(strays)]
            seen.wrong += [f"{who}: a dialog said {message}" for message in dialogs]
    assert not seen.wrong, "\n".join(seen.wrong)
    assert seen.marks == set(HOSTILE), f"never seen: {sorted(set(HOSTILE) - seen.marks)}"
