"""When schedules come up, by hand, over both changes of the clock in Berlin in 2026 (29 March, 25 October)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fl.cron import EXAMPLE, check_cron, check_zone, next_firings, written, zone_names

BERLIN = "Europe/Berlin"


def firings(expression: str, after: str, count: int = 3, zone: str = BERLIN) -> list[str]:
    return [
        moment.isoformat() for moment in next_firings(expression, zone, datetime.fromisoformat(after), count)
    ]


def test_a_time_that_does_not_exist_comes_up_at_the_first_minute_that_does() -> None:
    assert firings("30 2 * * *", "2026-03-28T12:00:00+01:00") == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]


def test_a_time_that_exists_twice_comes_up_once() -> None:
    expected = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"]
    assert firings("30 2 * * *", "2026-10-24T12:00:00+02:00") == expected
    for between in ("2026-10-25T02:30:00+02:00", "2026-10-25T02:10:00+01:00", "2026-10-25T02:30:00+01:00"):
        assert firings("30 2 * * *", between, 2) == expected[1:], between


def test_a_schedule_of_every_hour_comes_up_in_both_of_them() -> None:
    assert firings("30 * * * *", "2026-10-25T01:45:00+02:00") == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:30:00+01:00",
    ]
    assert firings("30 * * * *", "2026-03-29T01:15:00+01:00", 2) == [
        "2026-03-29T01:30:00+01:00",
        "2026-03-29T03:30:00+02:00",
    ]


def test_the_change_is_that_of_the_schedules_zone_whatever_zone_the_moment_is_in() -> None:
    assert firings("0 3 * * 1", "2026-03-28T12:00:00+00:00", 2) == [
        "2026-03-30T03:00:00+02:00",
        "2026-04-06T03:00:00+02:00",
    ]
    assert firings("30 2 * * *", "2026-03-28T12:00:00+00:00", 1, "UTC") == ["2026-03-29T02:30:00+00:00"]
    assert firings("30 2 * * *", "2026-03-07T12:00:00-05:00", 1, "America/New_York") == [
        "2026-03-08T03:00:00-04:00"
    ]


def test_days_of_month_and_of_week_are_alternatives_as_in_cron() -> None:
    assert firings("0 3 31 * 1", "2026-03-28T12:00:00+01:00") == [
        "2026-03-30T03:00:00+02:00",
        "2026-03-31T03:00:00+02:00",
        "2026-04-06T03:00:00+02:00",
    ]
    assert firings("0 0 29 2 *", "2026-03-28T12:00:00+01:00", 1) == ["2028-02-29T00:00:00+01:00"]


def test_a_firing_at_the_very_moment_is_past() -> None:
    assert firings("0 3 * * *", "2026-06-01T03:00:00+02:00", 1) == ["2026-06-02T03:00:00+02:00"]
    assert firings("0 3 * * *", "2026-06-01T02:59:59+02:00", 1) == ["2026-06-01T03:00:00+02:00"]


@pytest.mark.parametrize("expression", ["0 3 * * *", "*/15 8-17 * * mon-fri", "0 3 1 jan,jul *", "0 3 * * 7"])
def test_a_schedule_of_five_parts_is_kept(expression: str) -> None:
    assert check_cron(expression) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "this one has none"),
        ("@daily", "this one has 1"),
        ("0 3 * * * *", "this one has 6"),
        ("* " * 300, "five parts"),
        ("61 * * * *", "Minutes are 0 to 59"),
        ("0 24 * * *", "hours 0 to 23"),
        ("*/0 * * * *", "a number that cannot be"),
        ("0 0 30 2 *", "never come up"),
        ("0 0 31 2,4 *", "never come up"),
        ("R 3 * * *", "The part for the minute, 'R', cannot be read"),
        ("0 H * * *", "The part for the hour"),
        ("0 3 * * Montag", "The part for the day of week"),
        ("0 3 * * <b>", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(expression: str, words: str) -> None:
    said = check_cron(expression)
    assert said is not None and words in said and said.endswith(EXAMPLE)


def test_zones_are_those_of_the_iana_database() -> None:
    assert zone_names()[0] == "UTC" and BERLIN in zone_names() and len(zone_names()) > 400
    assert check_zone(BERLIN) is None
    assert check_zone("Berlin") == "There is no time zone 'Berlin'. Example: Europe/Berlin."
    assert check_zone("../../etc/passwd") is not None


def test_a_moment_is_written_in_the_zone_of_the_schedule() -> None:
    assert written(datetime(2026, 11, 24, 2, tzinfo=UTC), BERLIN) == "24 Nov 2026, 03:00 CET"
    assert written(datetime(2026, 7, 4, 2, tzinfo=ZoneInfo("UTC")), BERLIN) == "4 Jul 2026, 04:00 CEST"
