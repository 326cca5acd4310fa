"""How every process of the product writes its log: one JSON object a line, and never the text of an exception.

It lies in `db` because that is what the web application, the federation and the bundle that Flower runs may all import.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

# Libraries that tell of every call; what goes wrong in them is still heard.
QUIET = ("httpx", "httpcore", "urllib3", "websockets", "watchdog", "matplotlib", "absl", "numexpr")
# What a caller may add to a line with `extra=`; anything else would be a way for a row to get into the log.
EXTRAS = (
    "address",
    "at",
    "exception",
    "institution",
    "method",
    "milliseconds",
    "phase",
    "reference",
    "request_id",
    "round",
    "route",
    "run_id",
    "status",
    "worker_id",
)
# `scheme://user:password@host`, and what follows `Bearer`.
_SECRETS = re.compile(r"(?<=://)[^\s/:@]*:[^\s@/]+(?=@)|(?<=Bearer )[\w.~+/=-]+")
_MOST_FRAMES = 40
_TRACEBACK = "Traceback (most recent call last):"

Context = Callable[[], Mapping[str, Any]]


def configure_logs(process: str, *, stream: TextIO | None = None, context: Context | None = None) -> None:
    """Send everything that this process logs, by whichever library, through one formatter.

    Parameters
    ----------
    process
        What this process is, such as `web` or `supernode`; stands in every line.
    stream
        Where to; standard error if not given.
    context
        Asked at every line for what it belongs to, such as the request that is being answered.

    The variable LOG_FORMAT chooses `json` or `text`. Without it a terminal gets text and everything else JSON.
    """
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(process, context, as_json=_wants_json(target)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    take_over_handlers()
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def take_over_handlers() -> None:
    """Have every logger that brought a handler of its own hand its lines to ours."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and (logger.handlers or not logger.propagate):
            logger.handlers.clear()
            logger.propagate = True


@contextmanager
def belonging_to(**values: Any) -> Iterator[None]:
    """Add values, such as `run_id`, to every line that this thread logs inside."""
    with structlog.contextvars.bound_contextvars(**values):
        yield


def described(error: BaseException) -> dict[str, Any]:
    """Return an exception's class, where it came from and what caused it, without any of their texts.

    A database's text quotes the row that it refused, and the row may be a patient's.
    """
    fault: dict[str, Any] = {
        "class": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        "frames": _frames(error.__traceback__),
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        fault["cause"] = described(cause)
    return fault


def in_words(fault: Mapping[str, Any]) -> str:
    """Write what `described` returned for a reader: the class, then the frames, then what caused it."""
    lines = [str(fault["class"]), *(f"  {frame}" for frame in fault["frames"])]
    if "cause" in fault:
        lines.append(f"caused by {in_words(fault['cause'])}")
    return "\n".join(lines)


def _frames(trace: TracebackType | None) -> list[str]:
    """Return file, line and function of each frame; no source, which may hold a literal."""
    found = traceback.extract_tb(trace, limit=-_MOST_FRAMES)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in found]


def _wants_json(target: TextIO) -> bool:
    asked = os.environ.get("LOG_FORMAT", "")
    if asked not in ("", "json", "text"):
        raise SystemExit(f"LOG_FORMAT must be json or text, not {asked!r}.")
    return asked == "json" or (not asked and not target.isatty())


def _formatter(process: str, context: Context | None, *, as_json: bool) -> logging.Formatter:
    def place(logger: Any, method: str, event: EventDict) -> EventDict:
        event["process"] = process
        event["pid"] = os.getpid()
        for name, value in (context() if context else {}).items():
            event.setdefault(name, value)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(allow=EXTRAS),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        place,
        _without_exception_text,
        _without_secrets,
    ]
    end: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        end += [_in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        end += [_as_text]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=end)


def _without_exception_text(logger: Any, method: str, event: EventDict) -> EventDict:
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = described(error)
    message = str(event["event"])
    if _TRACEBACK in message:
        event["event"] = _frames_of(message)
    if event.get("logger") == "asyncio":
        # It writes tasks and futures into its message, and those write their exceptions.
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _frames_of(message: str) -> str:
    """Keep of a message that a library made of a traceback what precedes it, its frames and the class."""
    before, _, trace = message.partition(_TRACEBACK)
    frames = [line.strip() for line in trace.splitlines() if line.startswith("  File ")]
    found = re.findall(r"^([A-Za-z_][\w.]*)(?=:|$)", trace, re.MULTILINE)
    return "\n".join([before.strip(), *frames, *found[-1:]]).strip()


def _without_secrets(logger: Any, method: str, event: EventDict) -> EventDict:
    event["event"] = _SECRETS.sub("…", str(event["event"]).strip())
    return event


def _in_order(logger: Any, method: str, event: EventDict) -> EventDict:
    """Put first what a reader looks for first."""
    first: MutableMapping[str, Any] = {
        name: event.pop(name) for name in ("time", "level", "process", "logger") if name in event
    }
    first["message"] = event.pop("event")
    return {**first, **event}


def _as_text(logger: Any, method: str, event: EventDict) -> str:
    event = _in_order(logger, method, event)
    words = [str(event.pop(name)) for name in ("time", "level", "logger", "message")]
    event.pop("pid")
    fault = event.pop("exception", None)
    words += [f"{name}={value}" for name, value in event.items()]
    return " ".join(words) + (f"\n{in_words(fault)}" if fault else "")


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger(__name__).critical("the process ends by an exception", exc_info=error)


def _log_uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
        logging.getLogger(__name__).critical("a thread ended by an exception", exc_info=told.exc_value)
