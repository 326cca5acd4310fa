"""When a cron expression comes up in a time zone, over the changes between summer and winter time."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, CroniterError, croniter

EXAMPLE = "Example: 0 3 * * 1 is every Monday at 03:00 (minute, hour, day of month, month, day of week)."
LONGEST_CRON = 100  # characters
# Names of months and days; croniter knows further letters that mean a random or a hashed time.
_FIELD = re.compile(
    r"(?:\d+|\*|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat|[-,/])+", re.I
)


def check_cron(expression: str) -> str | None:
    """Return what is wrong with a cron expression as a sentence; None if it comes up some day."""
    parts = expression.split()
    if len(expression) > LONGEST_CRON or len(parts) != 5:
        count = "none" if not parts else str(len(parts))
        return f"A schedule has five parts with spaces between them, this one has {count}. {EXAMPLE}"
    for name, part in zip(("minute", "hour", "day of month", "month", "day of week"), parts, strict=True):
        if not _FIELD.fullmatch(part):
            return f"The part for the {name}, {part[:20]!r}, cannot be read. {EXAMPLE}"
    try:
        croniter(expression, datetime(2024, 1, 1)).get_next(datetime)
    except CroniterBadDateError:
        return f"There is no such day in any year, so this schedule would never come up. {EXAMPLE}"
    except (CroniterError, ValueError):
        limits = "Minutes are 0 to 59, hours 0 to 23, days 1 to 31, months 1 to 12, days of the week 0 to 7."
        return f"This schedule has a number that cannot be. {limits} {EXAMPLE}"
    return None


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    """Return the time zones to choose from: UTC, then continent and city by name."""
    cities = (name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return ("UTC", *sorted(cities))


def check_zone(name: str) -> str | None:
    """Return what is wrong with the name of a time zone; None if there is such a zone."""
    if name in zone_names():
        return None
    return f"There is no time zone {name[:40]!r}. Example: Europe/Berlin."


def next_firings(expression: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """Return the next times after a moment at which the schedule comes up, in its own zone.

    A time that does not exist because clocks go forward comes up at the first minute that does. A time that exists
    twice because clocks go back comes up once, the first time, unless the schedule is for every hour.

    Parameters
    ----------
    after
        A moment with its zone; a firing at exactly this moment is not among them.
    """
    local = ZoneInfo(zone)
    every_hour = expression.split()[1].startswith("*")
    upcoming = croniter(expression, after.astimezone(local))
    firings: list[datetime] = []
    last = after
    while len(firings) < count:
        moment: datetime = upcoming.get_next(datetime)
        second_time = moment.fold == 1 and moment.utcoffset() != moment.replace(fold=0).utcoffset()
        # Moments of one zone compare by what the clock says, which may repeat: by seconds since 1970 none does.
        if moment.timestamp() <= last.timestamp() or (second_time and not every_hour):
            continue
        firings.append(moment)
        last = moment
    return firings


def written(moment: datetime, zone: str) -> str:
    """Write a moment in a zone for people: `24 Nov 2026, 03:00 CET`."""
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y, %H:%M %Z}"
