"""Starts the demonstration on this machine and keeps it running: `python -m app.launch`, or `make run`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from app.data_folder import claimed, erase
from app.demo import BadDemoFile, OtherDataLoaded, demo_accounts, read_demo_file, seed_demo
from app.demo_people import HOSPITALS
from app.launch_options import LaunchOptions, LaunchRefused, read_options
from app.settings import DEMO_PASSWORD
from app.web_process import WebDidNotStart, WebProcess
from db.embedded import EmbeddedPostgres, PostgresFailed
from db.logs import configure_logs
from db.ports import port_is_free
from db.provision import DatabaseUrls, provision_all
from db.site_urls import SiteUrlFile

WEB_START_LIMIT = 120.0  # seconds; a cold disk makes the first import slow
LOOK_EVERY = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds between two attempts to start something again
STEADY_AFTER = 60.0  # seconds; what ran so long begins again with a short pause

logger = logging.getLogger(__name__)


class StopAsked(BaseException):
    """Ctrl-C, a closed terminal or a request to end; not an error, so nothing may swallow it."""


def main(arguments: list[str]) -> int:
    """Run until asked to stop; returns the exit code."""
    # Streamlit, imported for its password hashing, warns that no page is running.
    logging.disable(logging.WARNING)
    _stop_with_make()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ask_to_stop)
    try:
        options = read_options()
        if arguments == ["--erase"]:
            erase(options)
            return 0
        if options.data is not None:
            read_demo_file(options.data)
        with claimed(options), _log_of(options):
            _run(options)
    except (LaunchRefused, BadDemoFile, OtherDataLoaded) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except (PostgresFailed, WebDidNotStart) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except StopAsked:
        _say("Stopped. The data are kept; make run starts again with them.")
    return 0


@contextmanager
def _log_of(options: LaunchOptions) -> Iterator[None]:
    """Keep what a person reads here also as a log; libraries are heard there and not in the terminal."""
    path = options.data_dir / "logs" / "launcher.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        configure_logs("launcher", stream=stream)
        logging.disable(logging.NOTSET)
        try:
            yield
        except Exception as error:
            logger.error("the launcher ends", exc_info=error)
            raise
        finally:
            logger.info("stopped")
            logging.disable(logging.CRITICAL)  # the file is closed


def _run(options: LaunchOptions) -> None:
    server = EmbeddedPostgres(options.data_dir)
    with ExitStack() as running:
        running.callback(_undisturbed, server.stop)
        with _step("Starting PostgreSQL"):
            server.start()
        with _step("Preparing the central database and one for each hospital"):
            urls = provision_all(server, tuple(HOSPITALS))
            SiteUrlFile(options.data_dir).clear()
        sentences: list[str] = []
        with _step("Looking after the demonstration data"):
            seed_demo(urls, options.data, report=sentences.append)
        web = WebProcess(options)
        web.end_leftovers()
        if not port_is_free(options.port, options.host):
            raise LaunchRefused(
                f"Port {options.port} is in use by another program. Choose another: "
                f"make run PORT={options.port + 1}"
            )
        running.callback(_undisturbed, web.stop)
        with _step("Starting the web application"):
            web.start(urls)
            web.wait_until_it_answers(WEB_START_LIMIT)
        _say(_welcome(options, sentences))
        running.callback(_say, "\nStopping ...")
        _keep_running(options, server, web, urls)


def _keep_running(
    options: LaunchOptions, server: EmbeddedPostgres, web: WebProcess, urls: DatabaseUrls
) -> None:
    """Start again whatever dies; ends only by `StopAsked`."""
    postgres_pause, web_pause = Pause(), Pause()
    had_terminal = _has_terminal()
    while True:
        time.sleep(LOOK_EVERY)
        # Where make is the first process of a terminal, the hang-up signal goes to it alone.
        if had_terminal and not _has_terminal():
            raise StopAsked
        if server.pid is None:
            postgres_pause.wait("PostgreSQL has ended; starting it again.")
            try:
                server.start()
            except PostgresFailed as failure:
                _say(str(failure))
                continue
            moved = provision_all(server, tuple(urls.sites))
            if moved.central != urls.central:  # somebody took its port in between
                urls = moved
                SiteUrlFile(options.data_dir).clear()
                web.stop()
                web.start(urls)
        elif not web.running:
            web_pause.wait("The web application has ended; starting it again.")
            web.stop()
            web.start(urls)


def _has_terminal() -> bool:
    return os.isatty(0)


class Pause:
    """Waits before each attempt, twice as long each time that the last one did not hold."""

    def __init__(self) -> None:
        self._seconds = 0.5
        self._last = 0.0

    def wait(self, sentence: str) -> None:
        """Say what happened and wait."""
        logger.warning(sentence)
        held = time.monotonic() - self._last > STEADY_AFTER
        self._seconds = 0.5 if held else min(self._seconds * 2, LONGEST_PAUSE)
        _say(sentence)
        time.sleep(self._seconds)
        self._last = time.monotonic()


@contextmanager
def _step(sentence: str) -> Iterator[None]:
    """Show a step as it begins, and how long it took."""
    begun = time.monotonic()
    logger.info(sentence)
    _say(f"{sentence} ...", end="")
    try:
        yield
    except BaseException:
        _say("")
        raise
    _say(f" {time.monotonic() - begun:.1f} s")


def _say(sentence: str, *, end: str = "\n") -> None:
    # The terminal may be gone; what was started must be stopped all the same.
    with contextlib.suppress(OSError):
        print(sentence, end=end, flush=True)


def _welcome(options: LaunchOptions, sentences: list[str]) -> str:
    width = max(len(email) for email, _, _ in demo_accounts())
    accounts = "\n".join(
        f"  {email:<{width}}  {role.replace('_', ' '):<17}  {name}" for email, name, role in demo_accounts()
    )
    federation = (
        "The federation of hospitals starts in the background; the Training page shows when it is up.\n"
        if options.federation
        else ""
    )
    return (
        f"\nFedcost is ready:  {options.address}\n\n"
        f"{' '.join(sentences)} Hospitals and people are invented.\n"
        f"Everybody's password is {DEMO_PASSWORD}\n{accounts}\n\n"
        f"{federation}Ctrl-C stops everything.\n"
    )


def _ask_to_stop(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the stopping that the first has begun.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise StopAsked


def _undisturbed(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop()


def _stop_with_make() -> None:
    """End like at Ctrl-C if `make` is killed: nobody would be left to press it."""
    if sys.platform == "linux" and "MAKELEVEL" in os.environ:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
