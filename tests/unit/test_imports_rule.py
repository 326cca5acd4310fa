"""Imports go one way; read from the syntax trees, so an import inside a function counts too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("api", "app", "db", "fl", "pages")

# The features and a Run's settings are data that forms and schemas follow from; models are what services return.
SHOWN = ("fl.features", "fl.settings", "db.central", "db.federation", "db.site", "db.states")

# Part of the project -> what of ours it may import. The longest name that fits a module counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "db": ("db",),
    "fl": ("fl", "db"),
    "api": ("api", "app.services", "app.auth", *SHOWN),
    "pages": ("app.services", "app.auth", "app.components", *SHOWN),
    "app.components": ("app.services", "app.auth", "app.components", "app.plotly_library", *SHOWN),
    "app.components.demonstration": ("app.demo", "app.components", "db.states"),
    "app.services": (
        "app.services",
        "db",
        "fl.features",
        "fl.model",
        "fl.settings",
        "fl.cohort_summary",
        "fl.cron",
        "fl.run_queue",
        "fl.triggers",
        "fl.explanation",
        "fl.groups",
        "fl.intervals",
        "fl.keras_shape",
        "fl.node_keys",
        "fl.onnx_file",
        "fl.sequential",
    ),
    "app.auth": ("app.services", "app.auth", "db", "fl.features"),
    "app.main": (
        "api",
        "app.auth",
        "app.client_address",
        "app.components",
        "app.headers",
        "app.federation_child",
        "app.housekeeping",
        "app.own_origin",
        "app.plotly_library",
        "app.metrics_endpoint",
        "app.operations_record",
        "app.request_log",
        "app.web_log",
    ),
    "app.housekeeping": ("app.services",),
    "app.ui": ("app.auth", "app.components"),
    "app": ("db", "fl.features"),
    "app.operations_record": ("app.services", "db"),
    "app.metrics_endpoint": ("app.services", "db"),
    # The launcher and what only it uses.
    "app.launch": (
        "app.launch_options",
        "app.data_folder",
        "app.demo",
        "app.demo_people",
        "app.web_process",
        "db",
    ),
    "app.web_process": ("app.launch_options", "app.data_folder", "db", "fl.runtime.children"),
    "app.data_folder": ("app.launch_options", "db"),
    "app.first_account": ("app.services", "db"),
    "app.verify_run": ("app.launch_options", "db", "fl.runtime.flower_private", "fl.verify_run"),
    "app.backup": ("app.launch_options", "app.services", "db"),
    "app.restore": ("app.backup", "app.launch_options", "app.services", "db"),
    "app.verify_audit": ("app.launch_options", "app.services.audit_chain", "app.verify_run", "db"),
    "app.demo": ("app.demo_people", "app.services", "app.auth.passwords", "db"),
}
# What everything under app, api and pages may use.
COMMON = (
    "app.actor",
    "app.databases",
    "app.errors",
    "app.log_privacy",
    "app.measures",
    "app.permissions",
    "app.read_replica",
    "app.request_id",
    "app.request_keys",
    "app.settings",
    "app.version",
    "app.waiting",
)

# Library -> the only parts that may import it.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "streamlit": ("app.ui", "app.main", "app.web_log", "app.auth", "app.components", "pages"),
    "streamlit_authenticator": ("app.auth",),
    "flwr": (
        "fl.client_app",
        "fl.server_app",
        "fl.scaffold",
        "fl.strategies",
        "fl.rounds",
        "fl.run_federated",
        "fl.run_least_squares",
        "fl.shadow_comparison",
        "fl.version_evaluation",
        "fl.exchange",
        "fl.messages",
        "fl.presence",
        "fl.roster",
        "fl.runtime",
    ),
    "keras": (
        "fl.training",
        "fl.keras_file",
    ),
    "tensorflow": ("fl.training",),
    "onnx": ("fl.onnx_file",),
    "fastapi": ("api",),
    "croniter": ("fl.cron",),
}
# Pages and routes parse, call one service and show the result.
NEVER_IN_PAGES = ("sqlalchemy", "psycopg2", "numpy", "db.engines")


def _modules() -> dict[str, Path]:
    modules = {}
    for folder in OURS:
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py")):
            parts = path.relative_to(PROJECT_ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = _modules()


@cache
def _imports(path: Path) -> frozenset[str]:
    """Return every imported module; `from app.services import models` is app.services.models."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def _within(module: str, parts: tuple[str, ...]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def _allowed(module: str) -> tuple[str, ...]:
    part = max((part for part in MAY_IMPORT if _within(module, (part,))), key=len)
    common = COMMON if module.split(".")[0] in ("app", "api", "pages") else ()
    return (*MAY_IMPORT[part], *common, module)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    for imported in _imports(MODULES[module]):
        if imported.split(".")[0] in OURS and imported not in OURS:
            assert _within(imported, _allowed(module)), f"{module} must not import {imported}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_where_it_belongs(library: str) -> None:
    users = [
        module
        for module, path in MODULES.items()
        if any(_within(imported, (library,)) for imported in _imports(path))
    ]
    assert users, f"nothing imports {library}: is the rule out of date?"
    assert [module for module in users if not _within(module, ONLY_IN[library])] == []


def test_pages_neither_query_nor_compute() -> None:
    for module, path in MODULES.items():
        if module.startswith("pages"):
            assert [name for name in _imports(path) if _within(name, NEVER_IN_PAGES)] == [], module


def test_nothing_imports_a_page_and_the_bundle_holds_no_application() -> None:
    for module, path in MODULES.items():
        imported = _imports(path)
        assert not [name for name in imported if _within(name, ("pages", "tests"))], module
        if module.split(".")[0] in ("fl", "db"):
            assert not [name for name in imported if _within(name, ("app", "api"))], module


def test_no_module_of_app_hides_a_package() -> None:
    """`streamlit run app/main.py` puts app/ first on the path."""
    assert not {"app.db", "app.fl", "app.api", "app.pages"} & set(MODULES)


def test_no_module_is_too_long_or_named_for_nothing() -> None:
    for module, path in MODULES.items():
        assert len(path.read_text().splitlines()) <= 400, f"{module} is two modules"
        assert not {"utils", "helpers", "manager", "common", "misc"} & set(module.split(".")), module
