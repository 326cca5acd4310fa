"""How the product is at this moment: what is wrong and what to do, and one card for each part."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from app.components.figure import Figure, show_cards
from app.components.formats import NOT_KNOWN, count, percent, plain, when
from app.services.system import RECENT
from app.services.system_rules import Finding
from app.services.system_state import SystemState

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def show_findings(state: SystemState, found: list[Finding]) -> None:
    """Say what is wrong and what to do, the worst first; or that everything works."""
    if not found:
        with st.container(border=True, key="system_calm"):
            st.markdown("**:green[:material/check_circle:] Everything works.**")
            st.caption(f"Looked at {plain(when(state.now))}; this page looks again every five seconds.")
        return
    for finding in found:
        show = st.error if finding.severity == "error" else st.warning
        icon = ":material/error:" if finding.severity == "error" else ":material/warning:"
        show(f"**{plain(finding.what)}** {plain(finding.todo)}", icon=icon)


def show_state(state: SystemState) -> None:
    """Show one card for each part of the product."""
    show_cards(
        [
            _database(state),
            _federation(state),
            _requests(state),
            _last_error(state),
            _model(state),
            _disk(state),
            _backup(state),
            _audit(state),
            _process(state),
        ],
        key="system_card",
    )


def _database(state: SystemState) -> Figure:
    found = state.database
    replica = "" if found.replica_lag is None else f" The read replica is {found.replica_lag:.0f} s behind."
    return Figure(
        "Database",
        "Up",
        f"PostgreSQL {found.version}, {written_bytes(found.size)}, {found.connections} of "
        f"{found.connections_limit} connections. Since {when(found.since)}.{replica}",
    )


def _federation(state: SystemState) -> Figure:
    online = [site for site in state.sites if site.online_since is not None]
    if state.supervisor is None:
        return Figure("Federation", "Not started", "No supervisor has been heard of yet.")
    silent = state.now - state.supervisor.heartbeat_at
    heard = "just now" if silent < timedelta(seconds=10) else f"{age(silent)} ago"
    waiting = f" {count(state.queue_length, 'run')} waiting." if state.queue_length else ""
    since = max((site.online_since for site in online if site.online_since), default=None)
    connected = f" All connected since {when(since)}." if since and len(online) == len(state.sites) else ""
    return Figure(
        "Federation",
        "Up" if state.federation_up else "Down",
        f"Supervisor {state.supervisor.leader}, heard of {heard}.{connected}{waiting}",
        "institutions",
        "See the hospitals",
    )


def _requests(state: SystemState) -> Figure:
    minutes = int(RECENT.total_seconds() // 60)
    recent = state.recent
    if recent is None:
        return Figure(f"Requests in {minutes} minutes", "0", "Nobody has asked for anything lately.")
    slowest = (
        "" if recent.request_p95 is None else f" 95 of 100 took less than {latency(recent.request_p95)}."
    )
    errors = (
        "None failed by a mistake of the program."
        if not recent.server_errors
        else f"{count(recent.server_errors)} failed by a mistake of the program."
    )
    refused = f" {count(state.failed_sign_ins, 'sign-in')} refused." if state.failed_sign_ins else ""
    return Figure(f"Requests in {minutes} minutes", count(recent.requests), f"{errors}{slowest}{refused}")


def _last_error(state: SystemState) -> Figure:
    fault = state.fault
    if fault is None:
        return Figure("Last error", "None", "The program has made no mistake that is on record.")
    request = f" Request {fault.request_id}." if fault.request_id else ""
    return Figure(
        "Last error",
        fault.reference,
        f"{fault.kind} at {fault.place}, {when(fault.occurred_at)}.{request} The log has the stack.",
    )


def _model(state: SystemState) -> Figure:
    if state.champion_since is None:
        return Figure(
            "Model in use", "None yet", "The first training makes one.", "training", "Open training"
        )
    return Figure(
        "Model in use",
        f"For {age(state.now - state.champion_since)}",
        f"Since {when(state.champion_since)}.",
        "models",
        "See the versions",
    )


def _disk(state: SystemState) -> Figure:
    if state.disk is None:
        return Figure("Disk", NOT_KNOWN, "The data folder cannot be read.")
    free, total = written_bytes(state.disk.free), written_bytes(state.disk.total)
    return Figure(
        "Disk", f"{percent(state.disk.free_share)} free", f"{free} of {total}, where the data folder lies."
    )


def _backup(state: SystemState) -> Figure:
    if state.backup is None:
        return Figure("Last backup", "None yet", "None was made; make backup makes one.")
    if state.backup.finished_at is None:
        return Figure("Last backup", "None yet", "Make one before real patients are entered.")
    size = "" if state.backup.size is None else f", {written_bytes(state.backup.size)}"
    return Figure(
        "Last backup",
        f"{age(state.now - state.backup.finished_at)} ago",
        f"{when(state.backup.finished_at)}{size}.",
    )


def _audit(state: SystemState) -> Figure:
    audit = state.audit
    value = "Sealed" if not audit.unsealed else f"{count(audit.unsealed, 'event')} waiting"
    if audit.problem:
        return Figure("Audit trail", "Tampered with", f"{audit.problem} Found {when(audit.verified_at)}.")
    verified = (
        f"Verified {when(audit.verified_at)}." if audit.verified_at else "It was not verified as a whole yet."
    )
    return Figure("Audit trail", value, f"New events get their seal within seconds. {verified}")


def _process(state: SystemState) -> Figure:
    found = state.database
    waits = f" Somebody waited for one {count(found.pool_waits, 'time')}." if found.pool_waits else ""
    return Figure(
        "This web process",
        f"Up for {age(state.now - state.web_since)}",
        f"Since {when(state.web_since)}. {found.pool_in_use} of {found.pool_size} database connections in use.{waits}",
    )


def written_bytes(size: float) -> str:
    """Write a size: `23 MB`, `1.4 GB`."""
    for unit, word in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {word}" if size < 10 * unit else f"{size / unit:.0f} {word}"
    return f"{size:.0f} bytes"


def latency(seconds: float) -> str:
    """Write how long something took: `3.2 ms`, `240 ms`, `1.8 s`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1000 * seconds:.1f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"


def age(span: timedelta) -> str:
    """Write a length of time by its largest unit: `3 days`, `1 hour`, `12 seconds`."""
    seconds = max(int(span.total_seconds()), 0)
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return count(seconds // size, word)
    return count(seconds, "second")
