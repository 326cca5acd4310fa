"""The grid of hospitals by Rounds: what each did in each, as colour, sign and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

from app.components.browser import is_telephone, theme_colour
from app.components.formats import count, duration
from app.components.participation import OUTCOME_NAMES
from app.services.monitoring import RunProgress
from app.services.run_answers import GridCell, grid_pages
from db.states import Phase, SiteOutcome

ROUNDS_SHOWN, ROUNDS_ON_A_TELEPHONE = 25, 10


@dataclass(frozen=True)
class _Kind:
    """How one outcome looks: its sign, what it is called, and the theme's colour of its ground and sign."""

    sign: str
    name: str
    colour: str


_KINDS: dict[str, _Kind] = {
    SiteOutcome.OK: _Kind("✓", OUTCOME_NAMES[SiteOutcome.OK], "green"),
    "evaluated": _Kind("○", "Only evaluated", "blue"),
    SiteOutcome.EXCLUDED: _Kind("–", OUTCOME_NAMES[SiteOutcome.EXCLUDED], "gray"),
    SiteOutcome.LATE: _Kind("…", OUTCOME_NAMES[SiteOutcome.LATE], "yellow"),
    SiteOutcome.FAILED: _Kind("✕", OUTCOME_NAMES[SiteOutcome.FAILED], "red"),
    "": _Kind("·", "Not asked, or not answered yet", ""),
}
_CLASSES = {kind: f"k{at}" for at, kind in enumerate(_KINDS)}

_STYLE = """<style>
.fc-grid{overflow-x:auto;position:relative}
.fc-grid table{border-collapse:separate;border-spacing:2px;font-size:.8125rem;margin:0!important;width:auto!important}
.fc-grid th,.fc-grid td{border:0!important;padding:.1rem .25rem!important;text-align:center!important;
  min-width:1.6rem;border-radius:.25rem;font-weight:400}
.fc-grid th.site{text-align:left!important;position:sticky;left:0;background:var(--fc-ground);white-space:nowrap;
  max-width:11rem;overflow:hidden;text-overflow:ellipsis}
.fc-grid td{font-weight:650!important;cursor:default}
.fc-grid caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.fc-grid i{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.fc-legend{list-style:none!important;display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.35rem 0 0!important;
  padding:0!important;font-size:.8125rem}
.fc-legend li{margin:0!important}
.fc-legend span{display:inline-block;min-width:1.5rem;text-align:center;border-radius:.25rem;font-weight:650;
  margin-right:.35rem}
"""


def rounds_on_a_page() -> int:
    """Return how many Rounds the reader's screen has room for."""
    return ROUNDS_ON_A_TELEPHONE if is_telephone() else ROUNDS_SHOWN


def choose_page(progress: RunProgress) -> int:
    """Let the reader turn to earlier Rounds; returns the page, 0 ends with the newest Round and follows it."""
    pages = grid_pages(progress.run.current_round, rounds_on_a_page())
    key = f"training_grid_page_{progress.run.id}"
    at: int = min(st.session_state.get(key, 0), pages - 1)
    if pages == 1:
        return 0
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Earlier rounds",
            icon=":material/chevron_left:",
            key="training_grid_earlier",
            disabled=at == pages - 1,
            on_click=_turn,
            args=(key, at + 1),
        )
        st.button(
            "Later rounds",
            icon=":material/chevron_right:",
            icon_position="right",
            key="training_grid_later",
            disabled=at == 0,
            on_click=_turn,
            args=(key, at - 1),
        )
    return at


def _turn(key: str, page: int) -> None:
    st.session_state[key] = page


def show_grid(cells: Sequence[GridCell], names: Mapping[str, str], rounds: tuple[int, int]) -> None:
    """Draw the grid of some Rounds.

    Parameters
    ----------
    names
        Institution code -> name, of everyone who was asked in the Run.
    rounds
        First and last Round; 0 is the statistics.
    """
    st.html(grid_html(cells, names, rounds))


def grid_html(cells: Sequence[GridCell], names: Mapping[str, str], rounds: tuple[int, int]) -> str:
    """Return the grid as HTML; every cell has its words for the ear and, under the mouse, its reason."""
    numbers = range(rounds[0], rounds[1] + 1)
    by_place: dict[tuple[str, int], dict[str, GridCell]] = {}
    for cell in cells:
        by_place.setdefault((cell.code, cell.round_number), {})[cell.phase] = cell
    head = "".join(f'<th scope="col">{number or "Start"}</th>' for number in numbers)
    rows = "".join(
        f'<tr><th scope="row" class="site" title="{escape(names[code])}">{escape(names[code])}</th>'
        + "".join(_cell(by_place.get((code, number), {}), names[code], number) for number in numbers)
        + "</tr>"
        for code in sorted(names)
    )
    used = {_kind_of(phases) for phases in by_place.values()}
    if len(by_place) < len(names) * len(numbers):
        used.add("")
    legend = "".join(
        f'<li><span class="{_CLASSES[kind]}" aria-hidden="true">{look.sign}</span>{escape(look.name)}</li>'
        for kind, look in _KINDS.items()
        if kind in used
    )
    colours = "".join(
        f".fc-grid .{_CLASSES[kind]},.fc-legend .{_CLASSES[kind]}{{"
        f"background:{theme_colour(f'{look.colour}BackgroundColor')};"
        f"color:{theme_colour(f'{look.colour}TextColor')}}}"
        for kind, look in _KINDS.items()
        if look.colour
    )
    return (
        f"{_STYLE}{colours}</style>"
        f'<div class="fc-grid" role="region" tabindex="0" aria-label="Hospitals by rounds" '
        f'style="--fc-ground:{theme_colour("backgroundColor")}"><table>'
        f"<caption>What every hospital did in every round</caption>"
        f'<thead><tr><th scope="col" class="site">Round</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<ul class="fc-legend" aria-label="Signs of the grid">{legend}</ul>'
    )


def _kind_of(phases: Mapping[str, GridCell]) -> str:
    if Phase.TRAIN in phases:
        return phases[Phase.TRAIN].outcome
    if Phase.EVALUATE in phases:
        evaluated = phases[Phase.EVALUATE].outcome
        return "evaluated" if evaluated == SiteOutcome.OK else evaluated
    return next(iter(phases.values())).outcome if phases else ""


def _cell(phases: Mapping[str, GridCell], name: str, number: int) -> str:
    kind = _kind_of(phases)
    look = _KINDS[kind]
    where = f"round {number}" if number else "statistics"
    said = [f"{name}, {where}: {look.name}."]
    said += list(dict.fromkeys(each.reason for each in phases.values() if each.reason))
    about = phases.get(Phase.TRAIN) or phases.get(Phase.STATISTICS)
    if about is not None and about.outcome == SiteOutcome.OK:
        facts = []
        if about.num_examples is not None:
            facts.append(count(about.num_examples, "patient"))
        if about.seconds is not None:
            facts.append(duration(about.seconds))
        if facts:
            said.append(f"{', '.join(facts)}.")
    return f'<td class="{_CLASSES[kind]}" title="{escape(" ".join(said))}">{look.sign}<i>{escape(look.name)}</i></td>'
