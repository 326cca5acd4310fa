"""Opens pages as a browser of a signed-in person would, and reads what they say."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.auth.sessions import open_session
from app.databases import central_session
from app.settings import PROJECT_ROOT
from tests.integration.conftest import Consortium

_TEXTS = ("title", "header", "subheader", "markdown", "caption", "error", "warning", "info", "success")


def opened(consortium: Consortium, person: str | None, script: str = "app/ui.py") -> AppTest:
    """Return a script, not run yet, in a browser where `person` has a session in the database."""
    app = AppTest.from_file(str(PROJECT_ROOT / script), default_timeout=30)
    if person is not None:
        with central_session() as central:
            session, _ = open_session(central, worker=consortium.workers[person])
        app.session_state["auth_session_id"] = session.id
    return app


def page_of(consortium: Consortium, person: str, name: str) -> AppTest:
    """Open the whole app as `person` and go to the page called `name`."""
    app = opened(consortium, person).run()
    return app.switch_page(f"../pages/{name}.py").run()


def words(app: AppTest) -> str:
    """Return everything that page and sidebar say, as one text without escapes."""
    said = [str(element.value) for kind in _TEXTS for element in app.get(kind)]
    said += [str(element.body) for element in app.html]
    return "\n".join(said).replace("\\", "")


def has_key(app: AppTest, key: str) -> bool:
    """Tell whether a button of that key is drawn."""
    return any(button.key == key for button in app.button)
