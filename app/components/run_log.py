"""The log of a Run as people read it: the newest event first, warnings marked by sign and word."""

from __future__ import annotations

from html import escape

import streamlit as st
from sqlalchemy.orm import Session

from app.actor import Actor
from app.components.browser import browser_zone, theme_colour
from app.components.formats import count
from app.services.run_log import LogLine, run_log
from db.states import EventSeverity

FEW, MANY = 50, 1000
_WORDS = {
    EventSeverity.INFO: ("", ""),
    EventSeverity.WARNING: ("▲", "Warning"),
    EventSeverity.ERROR: ("✕", "Error"),
}
_COLOURS = {
    EventSeverity.INFO: "textColor",
    EventSeverity.WARNING: "yellowTextColor",
    EventSeverity.ERROR: "redTextColor",
}
_STYLE = """<style>
.fc-log{list-style:none!important;margin:0!important;padding:0!important;font-size:.875rem}
.fc-log li{display:flex;gap:.75rem;margin:0!important;padding:.25rem 0;border-bottom:1px solid
  color-mix(in srgb,currentColor 12%,transparent)}
.fc-log time{font-variant-numeric:tabular-nums;opacity:.8;white-space:nowrap}
.fc-log b{font-weight:650}
.fc-log .what{overflow-wrap:anywhere}
</style>"""


def show_log(central: Session, actor: Actor, run_id: int) -> None:
    """Show what happened in a Run; nothing if nothing was written down."""
    only, every = f"training_log_only_{run_id}", f"training_log_all_{run_id}"
    log = run_log(
        central=central,
        actor=actor,
        run_id=run_id,
        limit=MANY if st.session_state.get(every) else FEW,
        only_troubles=bool(st.session_state.get(only)),
    )
    if not log.total:
        return
    st.header("Log", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        troubles = (
            f", {count(log.troubles, 'warning or error', 'warnings and errors')}" if log.troubles else ""
        )
        st.caption(f"{count(log.total, 'event')}{troubles}. The newest is first.", width="content")
        if log.troubles:
            st.toggle("Only warnings and errors", key=only)
        if log.total > FEW:
            st.toggle(f"Show up to {MANY:,}", key=every)
    with st.container(height=260 if len(log.lines) > 6 else "content", key="training_log"):
        st.html(log_html(log.lines))


def log_html(lines: list[LogLine]) -> str:
    """Return the events as an HTML list."""
    zone = browser_zone()
    return (
        _STYLE
        + '<ol class="fc-log" aria-label="Log of the run">'
        + "".join(_line(line, f"{line.occurred_at.astimezone(zone):%H:%M:%S}") for line in lines)
        + "</ol>"
    )


def _line(line: LogLine, time: str) -> str:
    severity = EventSeverity(line.severity)
    sign, word = _WORDS[severity]
    mark = (
        f'<b style="color:{theme_colour(_COLOURS[severity])}"><span aria-hidden="true">{sign} </span>{word}:</b> '
        if word
        else ""
    )
    where = [f"Round {line.round_number}"] if line.round_number else []
    where += [line.institution] if line.institution and line.institution not in line.message else []
    about = f"{escape(', '.join(where))}: " if where and not line.message.startswith(tuple(where)) else ""
    return (
        f'<li><time datetime="{line.occurred_at.isoformat()}">{time}</time>'
        f'<span class="what">{mark}{about}{escape(line.message)}</span></li>'
    )
